"""Run a study, a table of configurations times seeds, and write it as Markdown and a plot beside the paper's figures.

    python tools/ablation.py projects/NightLab/studies/table5_camvid.yaml
    python tools/ablation.py projects/NightLab/studies/table5_nightcity.yaml --num-gpus 8 --seeds 1
    python tools/ablation.py STUDY --collect             # the table of what is finished, without training

Finished runs are skipped and interrupted ones resumed, so that the same command goes on after a stop. ablation.md and
ablation.svg are written anew after every run. SIGTERM and Ctrl-C are passed on to the run under way, which ends with a
checkpoint. Exit status: 1 where a run failed, 2 where the study cannot be used, 75 where a signal stopped it.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from nightlab.engine.ablation import run_study
from nightlab.errors import exits_on_input_error
from nightlab.evaluation.ablation import Study, collect, read_study
from nightlab.evaluation.ablation_table import draw_study, study_table
from nightlab.files import written_aside
from nightlab.signals import STOPPED


@exits_on_input_error("ablation.py")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", metavar="STUDY", type=Path, help="a YAML file, as those of projects/NightLab/studies")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: output/studies/<name of the study>")
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of the study's")
    parser.add_argument("--num-gpus", type=int, default=0, help="for each training (default: 0)")
    parser.add_argument("--collect", action="store_true", help="train nothing, write the table of what is finished")
    options = parser.parse_args(arguments)
    study = read_study(options.study)
    if options.seeds:
        study = dataclasses.replace(study, seeds=tuple(options.seeds))
    output = options.output or Path("output", "studies", study.name)
    seen = set()
    for event in [] if options.collect else run_study(study, output, num_gpus=options.num_gpus):
        print(event, flush=True)
        seen.add(event.what)
        if event.what == "finished":
            write(study, output)
    print(write(study, output))
    return STOPPED if "stopped" in seen else int("failed" in seen)


def write(study: Study, output: Path) -> str:
    """Writes table and plot, and returns the table."""
    results = collect(study, output)
    table = study_table(study, results)
    output.mkdir(parents=True, exist_ok=True)
    draw_study(study, results, output / "ablation.svg")
    with written_aside(output / "ablation.md") as aside:
        aside.write_text(f"# {study.name}\n\n{table}\n\n![gains](ablation.svg)\n", encoding="utf-8")
    return table


if __name__ == "__main__":
    sys.exit(main())
