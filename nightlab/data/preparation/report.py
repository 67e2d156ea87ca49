"""What a preparation found, for the person who ran it: counts against those published, id spaces, what was left out."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nightlab.data.preparation.convert import Outcome
from nightlab.files import written_aside

SHOWN = 10
# Beside the state of the preparation, with every line.
REPORT = "prepared.txt"


@dataclass
class PartReport:
    """One part of a data set.

    Attributes:
        expected: published number of pairs of each split; never asserted, since copies differ by one or two.
        ids: the prepared ids of each split that the download has, sorted; none where all pairs were unusable.
        spaces: what the label maps of each split were written in.
        remarks: what the user should know.
        unpaired: a line for each file that has no partner.
        faults: a line for each pair that could not be used.
        luminance: mean luminance (Rec. 601, 0 to 255) of the images that were read this time.
    """

    title: str
    expected: dict[str, int]
    ids: dict[str, list[str]] = field(default_factory=dict)
    spaces: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    unpaired: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    luminance: dict[str, float] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    resized: Counter[str] = field(default_factory=Counter)

    @property
    def lost_splits(self) -> list[str]:
        """Published ones of which nothing is there."""
        return [split for split in self.expected if not self.ids.get(split)]

    def add(self, split: str, image_id: str, outcome: Outcome) -> None:
        """Takes down what came of one pair."""
        if outcome.fault:
            self.faults.append(outcome.fault)
            return
        self.ids.setdefault(split, []).append(image_id)
        self.done[outcome.done] += 1
        if outcome.resized:
            self.resized[outcome.resized] += 1
        if outcome.luminance is not None:
            self.luminance[image_id] = outcome.luminance

    def __str__(self) -> str:
        return self.text(SHOWN)

    def text(self, most: int = sys.maxsize) -> str:
        """The report, with at most so many files of each kind."""
        done = ", ".join(f"{n} {what}" for what, n in sorted(self.done.items()))
        lines = [f"{self.title}: {sum(map(len, self.ids.values()))} pairs ({done})"]
        for split in dict.fromkeys((*self.ids, *self.expected)):
            ids, expected = self.ids.get(split, []), self.expected.get(split)
            beside = f", {expected} published" if expected is not None else ""
            lines.append(f"  {split}: {len(ids)} pairs{beside}")
            if split in self.spaces and ids:
                lines[-1] += f"; label maps in {self.spaces[split]}"
            if expected and len(ids) < 0.95 * expected:
                lines.append(f"  {split}: {expected - len(ids)} fewer than published; is the archive extracted whole?")
        lines += [f"  label maps resized, nearest neighbour: {n} from {how}" for how, n in self.resized.items()]
        lines += [f"  {line}" for line in self.remarks]
        lines += _some("unpaired", self.unpaired, most) + _some("fault", self.faults, most)
        return "\n".join(lines)


def write_reports(reports: Sequence[PartReport], output: Path) -> None:
    """Writes the whole reports of a preparation into its folder, in place of those of an earlier one."""
    with written_aside(output / REPORT) as aside:  # names of files may be in no encoding
        aside.write_text("\n".join(r.text() for r in reports) + "\n", encoding="utf-8", errors="backslashreplace")


def _some(kind: str, entries: list[str], most: int) -> list[str]:
    more = len(entries) - most
    return [f"  {kind}: {line}" for line in entries[:most]] + (
        [f"  {kind}: and {more} more, which {REPORT} names, in the prepared folder"] if more > 0 else []
    )
