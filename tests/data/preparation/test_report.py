"""What a preparation says it left out: ten files of a kind on the screen, all in the report beside the data."""

from pathlib import Path

from nightlab.data.preparation.convert import Outcome
from nightlab.data.preparation.report import PartReport, write_reports


def test_ten_of_a_kind_are_shown_and_all_are_written(tmp_path: Path) -> None:
    report = PartReport("NightCity", {})
    for n in range(13):
        report.add("train", f"train/{n}", Outcome(fault=f"{n}.png: the file is empty"))
    report.unpaired += [f"{n}.png: an image without a label map" for n in range(10)]
    lines = str(report).splitlines()
    assert sum("the file is empty" in line for line in lines) == 10
    assert lines[-1] == "  fault: and 3 more, which prepared.txt names, in the prepared folder"
    assert not any("unpaired: and" in line for line in lines), "of ten, none is left to name"
    write_reports([report, PartReport("a name in no encoding: \udcff", {})], tmp_path)
    written = (tmp_path / "prepared.txt").read_text(encoding="utf-8")
    assert all(f"  fault: {n}.png: the file is empty" in written.splitlines() for n in range(13))
    assert "more" not in written and "in no encoding: \\udcff" in written
