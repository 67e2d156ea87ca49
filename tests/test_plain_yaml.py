"""YAML within limits: what people write is read, what only strangers write is refused in one line."""

import pytest

from nightlab.errors import InputError
from nightlab.plain_yaml import MAX_BYTES, load_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("a: [1, 2.5, x, null]", {"a": [1, 2.5, "x", None]}),
        ("a: &here [1]\nb: *here", {"a": [1], "b": [1]}),
        ("a: &here {x: 1}\nb: {<<: *here, y: 2}", {"a": {"x": 1}, "b": {"x": 1, "y": 2}}),
        ("a: {b: 1}\nc: {b: 1}", {"a": {"b": 1}, "c": {"b": 1}}),
    ],
)
def test_what_people_write(tmp_path, text, value):
    (tmp_path / "a.yaml").write_text(text)
    assert load_yaml(tmp_path / "a.yaml", "card") == value


LEVELS = "".join(f"- &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 9))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"- &l0 [ha, ha]\n{LEVELS}", "more than 50000 values"),
        ("&a [*a]", "an alias stands inside"),
        ("[" * 51 + "]" * 51, "more than 50 levels"),
        ("a: 0x" + "f" * 101, "a number of more than 100 digits"),
        ("a: 1\nb: 2\na: 3", "key 'a' is given twice"),
        ("a: 2001-99-99", "month must be in 1..12"),
        ("a: !!int ''", "IndexError|index out of range"),
        ("!!map [a]", "expected a mapping"),
        ("!!python/name:os.system", "Python objects are refused"),
        ("a: \x00", "special characters"),
    ],
)
def test_what_only_strangers_write(tmp_path, text, reason):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InputError, match=f"a.yaml: not a plain YAML card.*({reason})") as caught:
        load_yaml(tmp_path / "a.yaml", "card")
    assert len(str(caught.value)) < 600


def test_what_is_no_text(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="a card is a UTF-8 text file"):
        load_yaml(tmp_path / "a.yaml", "card")
    (tmp_path / "b.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(InputError, match="give a smaller file"):
        load_yaml(tmp_path / "b.yaml", "card")
