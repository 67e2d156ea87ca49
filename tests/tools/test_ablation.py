"""A study with a training that is made up: what is run, skipped and refused, and what table and plot say."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from detectron2.config import CfgNode

from nightlab.config import load_config
from nightlab.engine import ablation as running
from nightlab.engine.plan import stages_of
from nightlab.errors import InputError
from nightlab.evaluation.ablation import Row, Study, collect, read_study
from nightlab.evaluation.ablation_table import draw_study, study_table
from nightlab.light_kinds import TRAINED
from nightlab.signals import STOPPED

from ..conftest import REPOSITORY

CONFIG = REPOSITORY / "configs" / "Base-UPerNet.yaml"
STUDIES = sorted((REPOSITORY / "projects" / "NightLab" / "studies").glob("*.yaml"))
STUDY = """
name: small
dataset: made_test
seeds: [1, 2]
opts: [SOLVER.MAX_ITER, 7, DATASETS.TEST, "('made_test',)"]
rows:
  - {name: plain, config: CONFIG, paper: 50}
  - {name: "better, by much", config: CONFIG, opts: [SOLVER.BASE_LR, 0.5], paper: 51.5, image_level: plain}
"""
LATER = """checkpoint: last
rows:
  - {name: first, config: CONFIG, stage: adapt}
  - {name: then, config: CONFIG, weights: first}
"""


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(STUDY.replace("CONFIG", str(CONFIG)))
    return path


def evaluation(folder: Path, right: int, ids: Sequence[str] = ("x", "y", "z"), name: str = "best") -> None:
    """Two classes of ten pixels an image, of which the first has `right` right ones, the second all."""
    file = folder / "evaluation" / "made_test" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    wrong = 10 - right
    counts = np.tile([[right, 10], [10, 10], [right, 10 + wrong]], (len(ids), 1, 1))
    counts_file = file.with_name(f"{name}_per_image.npz")
    np.savez(counts_file, image_ids=np.array(ids), sem_seg=counts)
    iou = 100 * (right / 10 + 10 / (10 + wrong)) / 2
    results = {"sem_seg": {"mIoU": iou, "mIoU-hard": 10.0 * right}}
    document = {"classes": ["a", "b"], "hard_classes": ["a"], "results": results, "per_image": counts_file.name}
    file.write_text(json.dumps(document))


class Trainings:
    """Stands for train_net.py: remembers what it was asked, and fails where it is told to."""

    def __init__(self, *failing: str, status: int = 1):
        self.asked: list[str] = []
        self.failing = failing
        self.status = status

    def __call__(self, row: Row, opts: Sequence[str], log: Path, num_gpus: int) -> int:
        given = dict(zip(opts[::2], opts[1::2], strict=True))
        assert given["SOLVER.MAX_ITER"] == "7" and log.parent == Path(given["OUTPUT_DIR"])
        run = "/".join(log.parent.parts[-2:])
        self.asked.append(run)
        if run in self.failing:
            log.write_text("step 1\nno such data set\n\n")
            return self.status
        if "better" in run:
            assert given["STAGES.IMAGE_LEVEL"].endswith(f"plain/seed{given['SEED']}/model_best.pth")
        (log.parent / "model_best.pth").touch()
        evaluation(log.parent, right=8 if "better" in run else 4 + int(given["SEED"]))
        return 0


def run(study: Study, output: Path, training: Trainings) -> list[str]:
    return [str(event) for event in running.run_study(study, output, training=training)]


def test_a_study_goes_on_where_it_stopped(study_file: Path, tmp_path: Path) -> None:
    study, output = read_study(study_file), tmp_path / "out"
    first = Trainings("plain/seed2")
    events = run(study, output, first)
    assert first.asked == ["plain/seed1", "better_by_much/seed1", "plain/seed2"]
    assert "plain, seed 2: failed (exit status 1: no such data set; see " in events[-2]
    assert "plain/seed2/model_best.pth to start from" in events[-1]
    assert "Not finished: plain, better, by much." in study_table(study, collect(study, output), resamples=50)

    second = Trainings()
    assert run(study, output, second)[:2] == [
        "plain, seed 1: finished before",
        "better, by much, seed 1: finished before",
    ]
    assert second.asked == ["plain/seed2", "better_by_much/seed2"]
    table = study_table(study, collect(study, output), resamples=50)
    # plain: (5/10 + 10/15) / 2 and (6/10 + 10/14) / 2; better: (8/10 + 10/12) / 2 both times
    plain = [100 * (5 / 10 + 10 / 15) / 2, 100 * (6 / 10 + 10 / 14) / 2]
    assert f"| {np.mean(plain):.2f} ± {np.std(plain, ddof=1):.2f} | 55.00 ± 7.07 |" in table
    gain = 100 * (8 / 10 + 10 / 12) / 2 - np.mean(plain)
    assert f"{gain:.2f} [{gain:.2f}, {gain:.2f}]" in table, "all images are alike, so the interval has no width"
    assert "51.50   | +1.50" in table
    assert "Not finished" not in table


def test_a_folder_of_other_settings_is_refused(study_file: Path, tmp_path: Path) -> None:
    run(read_study(study_file), tmp_path / "out", Trainings())
    study_file.write_text(study_file.read_text().replace("BASE_LR, 0.5", "BASE_LR, 0.25"))
    with pytest.raises(InputError, match=r"other settings \(SOLVER.BASE_LR: 0.5 is now 0.25\); delete the folder"):
        run(read_study(study_file), tmp_path / "out", Trainings())
    (tmp_path / "out" / "better_by_much" / "seed1" / "row.json").unlink()
    (tmp_path / "out" / "better_by_much" / "seed2" / "row.json").unlink()
    assert run(read_study(study_file), tmp_path / "out", Trainings())[0].endswith("finished before")


def test_a_key_that_is_new_is_no_difference_at_its_default(study_file: Path, tmp_path: Path) -> None:
    run(read_study(study_file), tmp_path / "out", Trainings("plain/seed1", "plain/seed2"))
    for path in (tmp_path / "out" / "plain").glob("*/row.json"):
        begun = json.loads(path.read_text())
        for key in ("MODEL.ADAPT.ENABLED", "MODEL.ADAPT.WEIGHT", "stage"):
            del begun[key]
        path.write_text(json.dumps(begun))
    assert run(read_study(study_file), tmp_path / "out", Trainings())[1].endswith("finished")
    for path in (tmp_path / "out" / "plain").glob("*/row.json"):
        path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "SOLVER.MAX_ITER"}))
    with pytest.raises(InputError, match=r"other settings \(SOLVER.MAX_ITER: 80000 is now 7\)"):
        run(read_study(study_file), tmp_path / "out", Trainings())


def test_gains_are_above_the_base_and_hard_classes_those_of_the_study(study_file: Path, tmp_path: Path) -> None:
    whole, output = study_file.read_text(), tmp_path / "out"

    def told(base: str, hard: str) -> Study:
        study_file.write_text(f'base: "{base}"\nhard_classes: {hard}\n{whole}')
        return read_study(study_file)

    study = told("better, by much", "[b]")
    run(study, output, Trainings("plain/seed2"))
    results = collect(study, output)
    assert results["plain"][0].figures["mIoU-hard"] == pytest.approx(100 * 10 / 15)
    table = study_table(study, results, resamples=50)
    assert "minus better, by much [95 %]" in table and "| -23.33 [" in table  # (5/10 + 10/15) / 2 - (8/10 + 10/12) / 2
    assert "-1.50" in table and "differ in their hard classes" not in table
    without = {"plain": results["plain"]}
    assert study_table(study, without, resamples=50).count("%]") == 1, "the heading alone: no gains without the base"
    for finished in (results, without):
        draw_study(study, finished, tmp_path / "gains.svg")
    with pytest.raises(InputError, match="hard_classes: c not among the classes a, b"):
        collect(told("plain", "[c]"), output)
    with pytest.raises(InputError, match="hard_classes is 'b'; list names"):
        told("plain", "b")
    with pytest.raises(InputError, match="base is 'plane', which is no row; did you mean 'plain'"):
        told("plane", "[b]")


def test_hdm_starts_from_the_row_with_rdn(study_file: Path, tmp_path: Path) -> None:
    row = "  - {name: hdm, config: CONFIG, detector: plain}\n".replace("CONFIG", str(CONFIG))
    study_file.write_text(study_file.read_text() + row)
    study, output = read_study(study_file), tmp_path / "out"
    given = running.options(study, output, study.rows[-1], 2)
    assert given[given.index("STAGES.DETECTOR") + 1] == str(output / "plain" / "seed2" / "model_best.pth")
    known = running.settings(study, output, study.rows[-1], 2)
    assert known["detector of"] == "plain" and "STAGES.DETECTOR" not in known


@pytest.mark.parametrize("status", [STOPPED, -signal.SIGTERM])
def test_a_signal_ends_the_study_until_it_is_run_again(
    study_file: Path,
    tmp_path: Path,
    load_tool: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
) -> None:
    tool, given = load_tool("ablation"), [str(study_file), "--output", str(tmp_path / "out")]
    stopped, again = Trainings("plain/seed2", status=status), Trainings()
    monkeypatch.setattr(running.run_study, "__kwdefaults__", {"num_gpus": 0, "training": stopped})
    assert tool.main(given) == STOPPED
    assert stopped.asked[-1] == "plain/seed2", "nothing is begun after it"
    monkeypatch.setattr(running.run_study, "__kwdefaults__", {"num_gpus": 0, "training": again})
    assert tool.main(given) == 0
    assert again.asked == ["plain/seed2", "better_by_much/seed2"]


WAITING = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
print(*sys.argv[1:], flush=True)
time.sleep(60)
"""


def test_a_signal_is_passed_on_to_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train_net.py").write_text(WAITING)
    monkeypatch.setattr(running, "TRAIN_NET", tmp_path / "train_net.py")
    log = tmp_path / "log"

    def send() -> None:
        while not log.is_file() or not log.read_text():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=send).start()
    assert running.train(Row("row", "some.yaml", stage="adapt"), ["SEED", "1"], log, 2) == STOPPED
    assert log.read_text().split() == [
        "--config-file",
        "some.yaml",
        "--stage",
        "adapt",
        "--num-gpus",
        "2",
        "--resume",
        "SEED",
        "1",
    ]


def test_a_row_starts_from_the_checkpoint_that_counts(study_file: Path, tmp_path: Path) -> None:
    head, config = STUDY.split("rows:")[0], str(CONFIG)
    study_file.write_text(head + LATER.replace("CONFIG", config))
    study = read_study(study_file)
    first, then = study.rows
    given = running.options(study, tmp_path, then, 2)
    assert given[given.index("MODEL.WEIGHTS") + 1] == str(tmp_path / "first" / "seed2" / "model_final.pth")
    known = running.settings(study, tmp_path, then, 2)
    assert known == running.settings(study, tmp_path / "moved", then, 2)
    assert running.settings(study, tmp_path, first, 2)["stage"] == "adapt"
    assert run(study, tmp_path / "out", Trainings("first/seed1", "first/seed2"))[-1].endswith("to start from)")
    study_file.write_text(study_file.read_text().replace("stage: adapt", "stage: adopt"))
    with pytest.raises(InputError, match="row 'first': stage 'adopt' is not one of all, adapt"):
        run(read_study(study_file), tmp_path / "out", Trainings())


def test_a_row_without_figures_for_the_table_is_refused_before_anything_is_trained(
    study_file: Path, tmp_path: Path
) -> None:
    whole, asked = study_file.read_text(), Trainings()
    study_file.write_text(whole.replace("dataset: made_test", "dataset: made_dusk"))
    with pytest.raises(InputError, match=r"row 'plain': is evaluated on made_test and not on made_dusk"):
        run(read_study(study_file), tmp_path / "out", asked)
    study_file.write_text(whole.replace("BASE_LR, 0.5]", "BASE_LR, 0.5], stage: light"))
    with pytest.raises(InputError, match="row 'better, by much': stage 'light' is not one of all, adapt"):
        run(read_study(study_file), tmp_path / "out", asked)
    assert not asked.asked


def test_a_row_at_several_scales_is_finished_by_figures_at_several(study_file: Path, tmp_path: Path) -> None:
    study_file.write_text(study_file.read_text().replace("BASE_LR, 0.5", "BASE_LR, 0.5, TEST.AUG.ENABLED, True"))
    study, output = read_study(study_file), tmp_path / "out"
    plain, better = output / "plain" / "seed1", output / "better_by_much" / "seed1"
    for folder, name in ((plain, "best"), (better, "best_multi_scale"), (better, "best")):
        evaluation(folder, right=2 if folder == better and name == "best" else 8, name=name)
    events = run(study, output, Trainings("plain/seed2"))
    assert events[:2] == ["plain, seed 1: finished before", "better, by much, seed 1: finished before"]
    found = collect(study, output)
    assert found["plain"][0].figures == found["better, by much"][0].figures, "those at one scale do not count"
    (better / "evaluation" / "made_test" / "best_multi_scale.json").unlink()
    assert list(collect(study, output)) == ["plain"]


def test_runs_on_different_images_are_not_compared(study_file: Path, tmp_path: Path) -> None:
    study = read_study(study_file)
    evaluation(tmp_path / "plain" / "seed1", 5)
    evaluation(tmp_path / "plain" / "seed2", 5, ids=("x", "y", "other"))
    with pytest.raises(InputError, match="other images or classes"):
        collect(study, tmp_path)


def test_the_command(
    study_file: Path,
    tmp_path: Path,
    load_tool: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tool, output = load_tool("ablation"), tmp_path / "out"
    monkeypatch.setattr(running.run_study, "__kwdefaults__", {"num_gpus": 0, "training": Trainings()})
    assert tool.main([str(study_file), "--output", str(output)]) == 0
    assert "better, by much, seed 2: finished" in capsys.readouterr().out
    drawn = (output / "ablation.svg").read_text()
    assert "![gains](ablation.svg)" in (output / "ablation.md").read_text()
    assert tool.main([str(study_file), "--output", str(output), "--collect"]) == 0
    assert (output / "ablation.svg").read_text() == drawn, "the same study is the same file"
    monkeypatch.setattr(running.run_study, "__kwdefaults__", {"num_gpus": 0, "training": Trainings("plain/seed3")})
    assert tool.main([str(study_file), "--output", str(output), "--seeds", "3"]) == 1
    assert tool.main([str(tmp_path / "absent.yaml")]) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("dataset:", "data_set:"), "unknown key 'data_set'; did you mean 'dataset'"),
        (("seeds: [1, 2]", "seeds: []"), "the key 'seeds' is missing"),
        (("seeds: [1, 2]", "seeds: 3"), "seeds is 3; list whole numbers"),
        (("paper: 50", "paper: '-'"), "row 'plain': paper is '-'; give a number, or leave it out"),
        (("image_level: plain", "image_level: plane"), "starts from 'plane', which is no row before it"),
        (("[SOLVER.MAX_ITER, 7,", "[SOLVER.MAX_ITER,"), "opts is .*; list keys and values in turn"),
        (('"better, by much"', '"Plain!"'), "two rows would use the folder 'plain'"),
        (("name: small", "name: [small"), "not a study"),
        (("dataset:", "checkpoint: best_multi_scale\ndataset:"), "checkpoint is 'best_multi_scale'; it can be best or"),
    ],
)
def test_faulty_studies(study_file: Path, change: tuple[str, str], message: str) -> None:
    study_file.write_text(study_file.read_text().replace(*change))
    with pytest.raises(InputError, match=f"small.yaml: .*{message}"):
        read_study(study_file)


def test_rows_that_are_no_list(study_file: Path) -> None:
    study_file.write_text(STUDY.split("rows:")[0] + "rows: 3\n")
    with pytest.raises(InputError, match=r"small\.yaml: rows is 3; list rows"):
        read_study(study_file)


def image_level(cfg: CfgNode) -> dict[str, Any]:
    """All settings that a configuration's image level depends on."""
    light, data, model = cfg.MODEL.LIGHT.clone(), cfg.DATASETS.clone(), cfg.MODEL
    levels, learns = light.pop("LEVELS"), light.NAME in TRAINED
    data.TEST, data.DAY, data.NIGHT = (), data.DAY if learns else (), data.NIGHT if learns else ()
    found = {"light": light if light.NAME and "image" in levels else "", "data": data, "input": cfg.INPUT}
    parts = (model.BACKBONE, model.TIMM, model.SEM_SEG_HEAD, model.AUX_HEAD, model.ADAPT)
    before = [cfg.STAGES[stage.upper()] for stage in stages_of(cfg) if stage in ("light", "adapt")]
    return found | {"solver": cfg.SOLVER, "parts": parts, "stages before it": before}


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.stem)
def test_the_studies_that_come_with_nightlab_can_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    study = read_study(path)
    assert study.name == path.stem and path.name in path.read_text().splitlines()[0]
    trained: dict[str, Any] = {}
    below: dict[str, Any] = {}  # what the stages before HDM are trained with
    for row in study.rows:
        cfg = load_config(row.config, running.options(study, Path("out"), row, study.seeds[0]))
        assert study.dataset in cfg.DATASETS.TEST
        own = (image_level(cfg), row.stage, row.weights)
        below[row.name] = (own, cfg.MODEL.REGION, cfg.MODEL.LIGHT, cfg.STAGES.REGION, cfg.STAGES.RDN)
        if row.detector:
            assert below[row.name] == below[row.detector], f"'{row.name}' goes on from other levels than its own"
        elif row.image_level:
            assert own[:2] == trained[row.image_level][:2], f"'{row.name}' starts from another image level than its own"
        else:
            assert own not in trained.values(), f"'{row.name}' trains an image level that an earlier row has"
            trained[row.name] = own
        if study.dataset in ("nightcity_plus_val", "bdd100k_night_val_night"):
            augmented = cfg.TEST.AUG
            assert augmented.ENABLED and augmented.FLIP and augmented.SCALES == [0.25, 0.5, 0.75, 1.0, 1.25]
