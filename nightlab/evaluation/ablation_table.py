"""A study as one Markdown table and one plot: mean and spread over seeds, gains with intervals, the paper's beside."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tabulate import tabulate

from nightlab.evaluation.ablation import Result, Row, Study
from nightlab.evaluation.bootstrap import interval_of_mean
from nightlab.evaluation.plots import figure_file, spread

Results = Mapping[str, Sequence[Result]]
OURS, PAPERS = "#2468c8", "#c2570c"  # the report's


def study_table(study: Study, results: Results, *, resamples: int = 2000) -> str:
    """A Markdown table of all rows, and what to know when reading it."""
    base = base_row(study, results)
    lines = []
    for row in study.rows:
        found = results.get(row.name, [])
        gain, paper_gain = "", ""
        if base and row is not base:
            if found:
                ours, theirs = ([r.counts for r in results[name]] for name in (row.name, base.name))
                gain = str(interval_of_mean(ours, theirs, resamples=resamples))
            if row.paper is not None and base.paper is not None:
                paper_gain = f"{row.paper - base.paper:+.2f}"
        lines.append(
            [
                row.name,
                f"{len(found)} of {len(study.seeds)}",
                spread([r.figures.get("mIoU") for r in found]),
                spread([r.figures.get("mIoU-hard") for r in found]),
                gain or "-",
                "-" if row.paper is None else f"{row.paper:.2f}",
                paper_gain or "-",
            ]
        )
    base_name = base.name if base else "the first row"
    headers = ["", "seeds", "mIoU", "hard", f"minus {base_name} [95 %]", "paper", "paper, gain"]
    table = tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True)
    return "\n\n".join([table, *_remarks(study, results)])


def base_row(study: Study, results: Results) -> Row | None:
    """The row that gains are above, if it has figures: the study's `base`, or the first one that has some."""
    finished = [row for row in study.rows if row.name in results]
    return next((row for row in finished if study.base in ("", row.name)), None)


def draw_study(study: Study, results: Results, output: Path) -> None:
    """Gain over the base, ours (a dot for each seed, mean, deviation) beside the paper's; empty before that is done."""
    base = base_row(study, results)
    rows = [row for row in study.rows if row.name in results] if base else []
    with figure_file(output, (6.5, 1.2 + 0.45 * max(len(rows), 1))) as figure:
        axes = figure.subplots()
        axes.axvline(0, color="grey", linewidth=0.8)
        level = _mean(results[base.name]) if base else 0.0
        for place, row in enumerate(rows):
            gains = np.array([result.figures["mIoU"] for result in results[row.name]]) - level
            deviation = gains.std(ddof=1) if len(gains) > 1 else 0.0
            axes.errorbar(gains.mean(), place, xerr=deviation, fmt="o", color=OURS, capsize=3)
            axes.plot(gains, [place] * len(gains), "|", color=OURS, markersize=9)
            if row.paper is not None and base and base.paper is not None:
                axes.plot(row.paper - base.paper, place + 0.22, "D", color=PAPERS, markerfacecolor="none")
        axes.set_yticks(range(len(rows)), [row.name for row in rows])
        axes.margins(y=0.2)
        axes.invert_yaxis()
        axes.set_xlabel(f"mIoU minus that of {base.name if base else 'the first row'}, points")
        axes.plot([], [], "o", color=OURS, label=f"here, {study.dataset} (mean, deviation, seeds)")
        if any(row.paper is not None for row in rows):
            axes.plot([], [], "D", color=PAPERS, markerfacecolor="none", label="the paper, its data and model")
        figure.legend(loc="outside upper left", fontsize=8, ncols=2, frameon=False)


def _mean(results: Sequence[Result]) -> float:
    return float(np.mean([result.figures["mIoU"] for result in results]))


def _remarks(study: Study, results: Results) -> list[str]:
    """Paragraphs under the table."""
    images = next((len(found[0].counts) for found in results.values()), 0)
    remarks = [
        f"`{study.dataset}` ({images} images), {study.checkpoint} checkpoint; mean ± sample standard deviation over "
        "seeds; intervals are of the paired difference, by bootstrap over images. The paper's figures are of its own "
        "data and model."
    ]
    hard = {result.hard_classes for found in results.values() for result in found}
    if len(hard) > 1:
        numbers = sorted(map(len, hard))
        common = set.intersection(*map(set, hard))
        remarks.append(
            f"The runs differ in their hard classes ({numbers[0]} to {numbers[-1]} of them, {len(common)} in common), "
            "so the column *hard* compares unlike means; hard_classes in the study gives all one set."
        )
    missing = [row.name for row in study.rows if _short(study, row, results)]
    if missing:
        remarks.append(f"Not finished: {', '.join(missing)}.")
    return remarks


def _short(study: Study, row: Row, results: Results) -> bool:
    return len(results.get(row.name, ())) < len(study.seeds)
