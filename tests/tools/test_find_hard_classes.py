"""The command that ranks classes by held-out IoU."""

import json

import pytest

CONFIG = """
DATASETS: {TRAIN: [tiny_train], VAL: [tiny_val], TEST: [tiny_test], CARDS: []}
MODEL: {NIGHTLAB: {HARD_IOU: 0.6}}
"""


@pytest.fixture
def find(load_tool):
    return load_tool("find_hard_classes")


@pytest.fixture
def run_dir(tmp_path, tiny_card):
    """A run of which the first validation is the best; it has never seen the class bright."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    lines = []
    for iteration, grey in ((9, 55.0), (19, 65.0)):
        figures = {"mIoU": 99.0 - grey, "IoU-dark": 90.0, "IoU-grey": grey}
        lines.append({"iteration": iteration} | {f"val/sem_seg/{key}": value for key, value in figures.items()})
    (tmp_path / "metrics.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    evaluation = tmp_path / "evaluation" / "tiny_test" / "best.json"
    evaluation.parent.mkdir(parents=True)
    results = {"sem_seg": {"IoU-dark": 1.0, "IoU-grey": 2.0, "IoU-bright": 3.0}}
    document = {"dataset": "tiny_test", "classes": ["dark", "grey", "bright"], "results": results}
    evaluation.write_text(json.dumps(document))
    return tmp_path


def test_prints_and_draws_the_ranking(find, run_dir, capsys):
    chart = run_dir / "hard.svg"
    assert find.main([str(run_dir), "--output", str(chart)]) == 0
    out = capsys.readouterr().out
    assert "1 of 2 classes are hard (IoU < 60 %) on tiny_val" in out
    assert "grey *  55.00" in out and "dark  90.00" in out
    assert "never hard: bright" in out and str(chart) in out
    assert "tiny_val" in chart.read_text()


@pytest.mark.parametrize(
    "options, hard",
    [((), 1), (("--checkpoint", "last"), 0), (("--hard-iou", "0.5"), 0), (("--hard-iou", "0.95"), 2)],
)
def test_options(find, run_dir, capsys, options, hard):
    assert find.main([str(run_dir / "metrics.json"), *options]) == 0
    assert f"{hard} of 2 classes are hard" in capsys.readouterr().out


def test_seeds_are_ranked_by_their_mean(find, run_dir, capsys):
    assert find.main([str(run_dir), str(run_dir)]) == 0
    assert "mean of 2 runs" in capsys.readouterr().out


def test_test_images_are_refused_in_one_line(find, run_dir, capsys):
    path = run_dir / "evaluation" / "tiny_test" / "best.json"
    assert find.main([str(path), "--output", str(run_dir / "hard.svg")]) == 2
    output = capsys.readouterr()
    assert output.err.startswith(f"find_hard_classes.py: {path}: tiny_test is in DATASETS.TEST of its run")
    assert output.err.count("\n") == 1 and not output.out and not (run_dir / "hard.svg").exists()


@pytest.mark.parametrize("threshold", ["50", "-0.1", "half"])
def test_a_threshold_is_a_share(find, run_dir, capsys, threshold):
    with pytest.raises(SystemExit) as stopped:
        find.main([str(run_dir), f"--hard-iou={threshold}"])
    assert stopped.value.code == 2 and "--hard-iou" in capsys.readouterr().err
