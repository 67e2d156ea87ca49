"""Strangers' files: those that are known to lie, and some damaged at random; run.py damages more, as long as asked."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from .damage import SECONDS, batches, prepare, tried
from .guard import bytes_a_pixel, watched
from .pictures import large
from .targets import KINDS, Target, no_files, targets

BATCH, ROUND = 10, 3
# A side in pixels.
LARGE = 3000
# Whole files that a reading is right to refuse.
REFUSED: dict[str, list[str]] = {
    "image": ["float.tif"],
    "demo": ["float.tif"],
    "card": [],
    "config": [],
    "list": [],
    "onnx": [],
    "video": [],
}


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    return targets(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def large_files() -> dict[str, bytes]:
    return large(LARGE)


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_are_known(every: dict[str, Target], tmp_path: Path, kind: str) -> None:
    target = every[kind]
    prepare(tmp_path)
    paths = []
    for name, data in (target.whole | target.bad).items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(data)
    outcomes = watched(paths, target.read, tmp_path / "out", seconds=SECONDS, megabytes=target.megabytes)
    assert not [outcome for outcome in outcomes if outcome.fault]
    if kind in REFUSED:  # of the others, some take few formats
        refused = {outcome.name for outcome in outcomes if outcome.message and outcome.name in target.whole}
        assert refused == set(REFUSED[kind])


@pytest.mark.parametrize("kind", ["image", "label", "color label", "frame"])
def test_memory_of_what_is_let_through(
    every: dict[str, Target], large_files: dict[str, bytes], tmp_path: Path, kind: str
) -> None:
    """At most so many bytes for each pixel, and some megabytes for decoders and tables."""
    prepare(tmp_path)
    for name, data in large_files.items():
        path = tmp_path / name
        path.write_bytes(data)
        bound = LARGE**2 * bytes_a_pixel(path) / 2**20 + 32
        # Each in a process of its own, since what is measured is the most that a process ever took.
        outcomes = watched([path], every[kind].read, tmp_path / "out", seconds=SECONDS, megabytes=bound)
        assert not [outcome for outcome in outcomes if outcome.fault]


def test_what_the_process_before_has_freed_is_no_memory_of_a_reading(every: dict[str, Target], tmp_path: Path) -> None:
    prepare(tmp_path)
    path = tmp_path / "a.txt"
    path.write_bytes(b"a\n")
    freed = [bytes(100_000) for _ in range(4000)]
    kept = bytes(100_000)  # behind them, so that they are not given back
    del freed
    (outcome,) = watched([path], every["list"].read, tmp_path / "out", seconds=SECONDS, megabytes=64)
    assert kept and not outcome.fault


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "upload"])  # which comes without a name
def test_names_that_are_no_files(every: dict[str, Target], tmp_path: Path, kind: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "in").mkdir()
    paths = no_files(tmp_path / "in")
    outcomes = watched(paths, every[kind].read, tmp_path / "out", seconds=SECONDS, megabytes=every[kind].megabytes)
    assert not [outcome for outcome in outcomes if outcome.fault]


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files(every: dict[str, Target], tmp_path: Path, kind: str) -> None:
    prepare(tmp_path)

    @settings(max_examples=ROUND, suppress_health_check=list(HealthCheck))
    @given(files=batches(every[kind], BATCH))
    def no_fault(files: list[tuple[str, bytes]]) -> None:
        assert not [outcome for outcome in tried(every[kind], files, tmp_path) if outcome.fault]

    no_fault()
