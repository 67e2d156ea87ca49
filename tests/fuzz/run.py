#!/usr/bin/env python
"""Reads damaged files for as long as one likes, and says what came of them.

python tests/fuzz/run.py --minutes 10

Each file is a whole one that was damaged at random; hypothesis draws the damage. A fault is anything but a file that is
read or refused in one line that names it: another error, a crash, a hang, too much memory, a file written elsewhere, a
program started, an address called. Exit status 1 if there was one. Ctrl-C ends it early, with what came until then.
"""

import argparse
import itertools
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.fuzz.damage import File, batches, prepare, tried
from tests.fuzz.guard import Outcome
from tests.fuzz.targets import Target, targets

BATCH, ROUND = 20, 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", metavar="KIND", help="of files (default: all)")
    parser.add_argument("--keep", type=Path, default=Path("output/fuzz"), help="where files with a fault are put")
    options = parser.parse_args(arguments)
    end = time.monotonic() + 60 * options.minutes
    seen: dict[str, list[Outcome]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        every = targets(folder)
        prepare(folder)
        kinds = options.kinds or list(every)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            for number, kind in ((number, kind) for number in itertools.count(options.seed) for kind in kinds):
                if time.monotonic() > end:
                    break
                one_round(kind, every[kind], number, folder, seen[kind], options.keep)
    for kind, outcomes in seen.items():
        print(summary(kind, outcomes) if outcomes else f"{kind}: none")
    return 1 if any(outcome.fault for outcomes in seen.values() for outcome in outcomes) else 0


def one_round(kind: str, target: Target, number: int, folder: Path, seen: list[Outcome], keep: Path) -> None:
    """Some batches of files; ends at the first fault, whose file is kept."""
    worst: list[tuple[File, Outcome]] = []

    # Without making damage smaller, which would take as long as the rest.
    @seed(f"{kind} {number}")
    @settings(
        max_examples=ROUND,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(files=batches(target, BATCH))
    def no_fault(files: list[File]) -> None:
        outcomes = tried(target, files, folder)
        seen.extend(outcomes)
        worst[:] = worst or [pair for pair in zip(files, outcomes, strict=False) if pair[1].fault]
        assert not worst

    try:
        no_fault()
    except AssertionError:
        (name, data), outcome = worst[0]
        keep.mkdir(parents=True, exist_ok=True)
        file = keep / f"{kind.replace(' ', '_')}_{number}_{name}"
        file.write_bytes(data)
        print(f"{kind}: {outcome.fault}: {file}", flush=True)


def summary(kind: str, outcomes: Sequence[Outcome]) -> str:
    ended = Counter("fault" if o.fault else "refused" if o.message else "read" for o in outcomes)
    slowest, most = max(o.seconds for o in outcomes), max(o.megabytes for o in outcomes)
    return (
        f"{kind}: {len(outcomes)} files: {ended['read']} read, {ended['refused']} refused, {ended['fault']} faults; "
        f"the slowest {slowest:.1f} s, the largest {most:.0f} MB"
    )


if __name__ == "__main__":
    sys.exit(main())
