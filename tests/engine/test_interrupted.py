"""A run that a signal stops: a checkpoint at the same iteration in every process, exit status 75, exact on resume."""

import errno
import os
import re
import signal
import subprocess
import sys
import time
from multiprocessing.resource_sharer import _resource_sharer

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torch.utils.data._utils import signal_handling

from nightlab.data import catalog
from nightlab.data.mapper import TestMapper as Mapper  # pytest would take it for a test
from nightlab.data.workers import death_of_worker, explained_death
from nightlab.engine.faults import BadFiles, DeadWorkers
from nightlab.engine.run import configured, run
from nightlab.engine.step import GuardedTrainer
from nightlab.engine.validation import held_out_figures
from nightlab.errors import InputError
from nightlab.evaluation.evaluator import NightLabEvaluator
from nightlab.signals import STOPPED

from ..torture.kill_resume import equal
from .test_run import arguments, config, weights  # noqa: F401 (config is a fixture)

BARE = ("DATASETS.TEST", "()", "SOLVER.CHECKPOINT_PERIOD", "100")


def disturbed_at(monkeypatch, iteration, act):
    """Makes training call `act` in the middle of a step."""
    step = GuardedTrainer._agree

    def agree(self, *args):
        if self.iter == iteration:
            act()
        return step(self, *args)

    monkeypatch.setattr(GuardedTrainer, "_agree", agree)


def test_a_signal_ends_a_run_with_a_checkpoint_and_resume_is_exact(config, tmp_path, monkeypatch):  # noqa: F811
    run(arguments(config, *BARE))
    stopped = tmp_path / "stopped"
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
        disturbed_at(patch, 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
        run(arguments(config, *BARE, "OUTPUT_DIR", str(stopped)))
    assert end.value.code == STOPPED
    assert (stopped / "last_checkpoint").read_text() == "model_0000002.pth" and not (
        stopped / "model_final.pth"
    ).exists()
    assert "run the same command with --resume" in (stopped / "log.txt").read_text()
    run(arguments(config, *BARE, "OUTPUT_DIR", str(stopped), resume=True))
    first, second = weights(tmp_path / "out" / "model_final.pth"), weights(stopped / "model_final.pth")
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_signal_right_after_the_first_line_of_the_log(config, monkeypatch):  # noqa: F811
    """The writers close at the iteration that they wrote, before the time of any step is known."""
    disturbed_at(monkeypatch, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit) as end:
        run(arguments(config, *BARE, "SOLVER.LOG_PERIOD", "1"))
    assert end.value.code == STOPPED


def test_a_signal_in_a_validation_does_not_wait_for_its_end(config, tmp_path, monkeypatch):  # noqa: F811
    """What was left is made up for, before the first step: every checkpoint is that of the undisturbed run."""
    given = [*BARE[:2], "SOLVER.CHECKPOINT_PERIOD", "1", "SOLVER.MAX_ITER", "3", "TEST.CALIBRATION_IMAGES", "0"]
    run(arguments(config, *given))
    stopped, process, seen = tmp_path / "stopped", NightLabEvaluator.process, []

    def signalled(self, *pair):
        seen.append(pair)
        os.kill(os.getpid(), signal.SIGTERM)
        return process(self, *pair)

    given += ["OUTPUT_DIR", str(stopped)]
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(NightLabEvaluator, "process", signalled)
        run(arguments(config, *given))
    assert end.value.code == STOPPED and len(seen) == 1, "the second of two images was not waited for"
    assert (stopped / "last_checkpoint").read_text() == "model_0000001.pth"
    assert not (stopped / "model_best.pth").exists()
    with monkeypatch.context() as patch, pytest.raises(SystemExit):  # and again, in what is made up for
        patch.setattr(NightLabEvaluator, "process", signalled)
        run(arguments(config, *given, resume=True))
    assert (stopped / "last_checkpoint").read_text() == "model_0000001.pth"
    run(arguments(config, *given, resume=True))
    for name in ("model_best.pth", "model_0000002.pth", "model_final.pth"):
        first, second = (torch.load(tmp_path / run_ / name, weights_only=True) for run_ in ("out", "stopped"))
        assert equal(first, second), name


def test_a_signal_in_the_evaluation_after_training(config, tmp_path, monkeypatch):  # noqa: F811
    out = tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr("nightlab.engine.run.evaluate_run", lambda *_: os.kill(os.getpid(), signal.SIGINT))
        run(arguments(config))
    assert end.value.code == STOPPED and "SIGINT: stopped, no step was under way" in (out / "log.txt").read_text()
    assert run(arguments(config, resume=True))
    assert "stage image: finished before, skipped" in (out / "log.txt").read_text()


def test_a_signal_to_the_parent_stops_all_processes(config, tmp_path, repository, tiny_root):  # noqa: F811
    out = tmp_path / "out"
    opts = [*BARE, "OUTPUT_DIR", str(out), "DATASETS.CARDS", f"['{tiny_root.parent / 'tiny.yaml'}']"]
    opts += ["SOLVER.MAX_ITER", "5000", "TEST.EVAL_PERIOD", "0"]
    command = [sys.executable, str(repository / "projects" / "NightLab" / "train_net.py"), "--num-gpus", "2"]
    command += ["--config-file", str(config), "--dist-url", "auto", *opts]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run_:
        deadline = time.monotonic() + 120
        metrics = out / "metrics.json"  # which has its first line in the middle of training
        while run_.poll() is None and time.monotonic() < deadline:
            if metrics.exists() and metrics.stat().st_size:
                break
            time.sleep(0.1)
        run_.send_signal(signal.SIGTERM)
        said = run_.communicate(timeout=60)[0]
    assert run_.returncode == STOPPED, said[-2000:]
    iteration = re.search(r"stopped after iteration (\d+)", said)[1]
    assert (out / "last_checkpoint").read_text() == f"model_{int(iteration):07d}.pth"
    logs = [(out / name).read_text() for name in ("log.txt", "log.txt.rank1")]
    assert all(f"stopped after iteration {iteration}" in log for log in logs)


def test_a_full_disk_gives_one_line(config, monkeypatch):  # noqa: F811
    def full():
        raise OSError(errno.ENOSPC, "No space left on device", "metrics.json")

    disturbed_at(monkeypatch, 1, full)
    with pytest.raises(InputError, match=r"^metrics\.json: cannot be written .No space left.*--resume"):
        run(arguments(config, *BARE))


def test_a_full_disk_in_the_evaluation_names_the_file(config, tmp_path):  # noqa: F811
    predictions = tmp_path / "out" / "evaluation" / "tiny_test" / "predictions" / "last"
    predictions.mkdir(parents=True)
    (predictions / ".c1.part.png").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"predictions/last/c1\.png: cannot be written .No space left.*--resume"):
        run(arguments(config, "SOLVER.MAX_ITER", "1", "DATASETS.VAL", "()", "TEST.PREDICTIONS", "True"))


def test_an_evaluation_leaves_no_handler_that_could_tear_a_step(config, monkeypatch):  # noqa: F811
    """Torch sets the one that raises wherever the program is with the first loader that has workers: the evaluation's,
    where a run begins with one, as to ask a given image level what is hard."""
    monkeypatch.setattr(signal_handling, "_SIGCHLD_handler_set", False)
    cfg = configured(arguments(config, "DATALOADER.NUM_WORKERS", "1"))
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        held_out_figures(cfg, build_model(cfg), catalog.load(cfg.DATASETS.VAL), "none")
        assert signal_handling._SIGCHLD_handler_set and signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.fixture
def validating(config):  # noqa: F811
    cfg = configured(arguments(config, "DATALOADER.NUM_WORKERS", "1"))
    model, records = build_model(cfg), catalog.load(cfg.DATASETS.VAL)
    return lambda records=records, **more: held_out_figures(cfg, model, records, "none", **more), records


def test_a_worker_that_dies_in_a_validation_is_replaced(validating, tmp_path, monkeypatch, caplog):
    figures, _ = validating
    undisturbed, mapped, times = figures(), Mapper.__call__, tmp_path / "times"

    def dying(self, record):
        if record["image_id"] == "b1" and (not times.exists() or times.read_text() == "always"):
            times.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return mapped(self, record)

    monkeypatch.setattr(Mapper, "__call__", dying)
    with caplog.at_level("WARNING", "nightlab"):
        assert figures(workers=DeadWorkers(1)) == pytest.approx(undisturbed, nan_ok=True)
    assert re.search(r"evaluation: DataLoader worker .* \(number 1\); going on with new workers", caplog.text)
    times.write_text("always")
    with pytest.raises(RuntimeError, match="DataLoader worker"):
        figures(workers=DeadWorkers(1))


def test_a_held_out_image_that_turns_bad_is_left_out_and_counted(validating, tiny_root, caplog):
    figures, records = validating
    first = figures(records[:1])
    (tiny_root / "labels" / "b1.png").unlink()
    with pytest.raises(InputError, match=r"b1\.png: no such file"):
        figures()
    bad = {}
    assert figures(bad=bad) == pytest.approx(first, nan_ok=True)
    files = BadFiles(1)
    with EventStorage() as storage, caplog.at_level("WARNING", "nightlab"):
        for _ in range(2):  # as in the next validation
            files.look_back(list(bad))
        assert storage.latest()["bad_files"] == (1, 0)
        assert caplog.text.count("left out of the held-out images (bad file 1)") == 1
        with pytest.raises(InputError, match="MAX_BAD_FILES: 2 files turned bad"):
            files.look_back(["another"])
    (tiny_root / "images" / "b0.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"no held-out image can be read: .*b0"):
        figures(bad={})


def test_a_worker_that_dies_while_it_hands_over_a_batch_is_a_dead_worker(tmp_path):
    """Fetching what it had begun to hand over then fails in a way of the system's."""
    with pytest.raises(FileNotFoundError) as gone:
        _resource_sharer.get_connection((str(tmp_path / "its socket"), 1))
    with pytest.raises(FileNotFoundError) as other:
        (tmp_path / "image.png").read_bytes()
    assert death_of_worker(gone.value).startswith("DataLoader worker has died") and not death_of_worker(other.value)
    workers = DeadWorkers(1)
    workers.died(gone.value, "iteration 3")
    for error in (gone.value, other.value):
        with pytest.raises(FileNotFoundError):
            workers.died(error, "iteration 4")
    with (
        pytest.raises(InputError, match=r"^DataLoader worker .* run the same command with --resume"),
        explained_death(),
    ):
        raise gone.value
    with pytest.raises(FileNotFoundError), explained_death():
        raise other.value


def test_workers_that_die_are_replaced_up_to_a_limit(config, tmp_path, monkeypatch, caplog):  # noqa: F811
    from nightlab.data.mapper import TrainMapper

    run(arguments(config, *BARE, "DATALOADER.NUM_WORKERS", "1"))
    undisturbed = weights(tmp_path / "out" / "model_final.pth")
    mapped, times = TrainMapper.__call__, tmp_path / "times"

    def dying(self, record, key):
        if key[2] == 1 and (not times.exists() or times.read_text() == "always"):
            times.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return mapped(self, record, key)

    monkeypatch.setattr(TrainMapper, "__call__", dying)
    given = [*BARE, "DATALOADER.NUM_WORKERS", "1", "OUTPUT_DIR", str(tmp_path / "disturbed")]
    with caplog.at_level("WARNING", "nightlab"):
        run(arguments(config, *given))
    assert "(number 1); going on with new workers" in caplog.text
    disturbed = weights(tmp_path / "disturbed" / "model_final.pth")
    assert all(torch.equal(disturbed[key], value) for key, value in undisturbed.items())

    times.write_text("always")
    with pytest.raises(InputError, match=r"^DataLoader worker .* run the same command with --resume .*NUM_WORKERS"):
        run(arguments(config, *given, "DATALOADER.MAX_DEAD_WORKERS", "1"))
