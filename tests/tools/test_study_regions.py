"""The command line of the study: what it cannot mean is said in one line."""

from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.mark.parametrize("option", ["--beside", "--detectors"])
@pytest.mark.parametrize("named", [["A=a.pth", "SEED", "1"], ["A="], ["a.pth"]])
def test_what_is_no_name_of_a_file(
    load_tool: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str], option: str, named: list[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        load_tool("study_regions").main(["--config-file", "own.yaml", option, *named])
    assert end.value.code == 2
    assert f"{option}: {named[1 if len(named) > 1 else 0]!r} is no NAME=FILE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--limit", "-1"], "--limit: -1 is not a positive number"),
        (["--numbers", "0"], "--numbers: 0 is not a positive number"),
        (["--scales", "1.0", "0"], "--scales: 0 is not a number above 0"),
        (["--output", "study.npz"], "--output: study.npz: name a file that ends in .json"),
        (["--beside", "image level=a.pth"], "--beside: 'image level' is a row of its own"),
        (["--detectors", "grid=a.pth"], "--detectors: 'grid' is a row of its own"),
    ],
)
def test_options_that_would_spoil_the_table(
    load_tool: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as end:
        load_tool("study_regions").main(["--config-file", "own.yaml", *options])
    assert end.value.code == 2
    assert said in capsys.readouterr().err
