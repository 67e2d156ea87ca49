"""Words and figures as HTML, alike on the whole page. All text is escaped here."""

from collections.abc import Iterable, Sequence
from html import escape


def percent(value: float | None) -> str:
    """Two decimals; a dash for what does not exist."""
    return "–" if value is None else f"{value:.2f}"


def signed(value: float | None, decimals: int = 2) -> str:
    """A difference with its sign; none where it rounds to zero, a dash for what does not exist."""
    if value is None:
        return "–"
    text = f"{abs(value):.{decimals}f}"
    if not float(text):
        return text
    return f"+{text}" if value > 0 else f"\N{MINUS SIGN}{text}"


def soft(text: str) -> str:
    """A paragraph of plain text, in the quiet colour."""
    return f'<p class="soft">{escape(text)}</p>'


def fold(summary: str, body: str, *, unfold: bool = False) -> str:
    """HTML under a summary that opens it."""
    return f"<details{' open' if unfold else ''}><summary>{escape(summary)}</summary>{body}</details>"


def as_text(value: object) -> str:
    """A setting as text; empty where it is not set."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of figures under their names, to be scrolled sideways where the page is narrow."""
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    table = f'<table class="figures"><thead><tr>{columns}</tr></thead><tbody>{lines}</tbody></table>'
    return f'<div class="wide">{table}</div>'
