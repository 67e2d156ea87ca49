"""What is taken from metrics.json."""

import json

from nightlab.report.reading import read_run


def lines(*entries):
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def test_repeated_iterations_void_the_earlier_attempt(tmp_path):
    # Trained to 40, resumed from the checkpoint at 20: the second attempt counts from there.
    first = [{"iteration": i, "total_loss": 1.0} for i in (9, 19, 29, 39)]
    second = [{"iteration": i, "total_loss": 2.0} for i in (29, 39)]
    (tmp_path / "metrics.json").write_text(lines(*first, *second))
    assert read_run(tmp_path).series("total_loss") == ([10, 20, 30, 40], [1.0, 1.0, 2.0, 2.0])


def test_values_that_are_no_numbers_are_left_out(tmp_path):
    values = (float("nan"), float("inf"), "1", True, None, 2)
    (tmp_path / "metrics.json").write_text(lines(*({"iteration": i, "lr": lr} for i, lr in enumerate(values))))
    assert read_run(tmp_path).series("lr") == ([6], [2.0])


def test_entries_of_one_iteration_are_one(tmp_path):
    (tmp_path / "metrics.json").write_text(lines({"iteration": 4, "lr": 1}, {"iteration": 4, "val/sem_seg/mIoU": 30}))
    run = read_run(tmp_path)
    assert run.history == [{"iteration": 4, "lr": 1, "val/sem_seg/mIoU": 30}]


def test_settings_by_their_dotted_names(tmp_path):
    (tmp_path / "config.yaml").write_text("SOLVER: {BASE_LR: 0.1}\nSEED: 3\n")
    run = read_run(tmp_path)
    assert (run.setting("SOLVER.BASE_LR"), run.setting("SEED")) == (0.1, 3)
    assert run.setting("SOLVER.NONE") is None and run.setting("SEED.X") is None
