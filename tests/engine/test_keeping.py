"""Hooks that write checkpoints: none pile up, a damaged best one is replaced, the last validation counts in time."""

from types import SimpleNamespace

from detectron2.utils.events import EventStorage

from nightlab.engine.keeping import KeepBest, KeepPeriodic

from .test_checkpoint import run_folder, truncated


def test_checkpoints_of_interrupted_runs_do_not_pile_up(tmp_path):
    checkpointer = run_folder(tmp_path, 1, 2, 3, 8)
    (tmp_path / ".model_0000009.part.pth").write_bytes(b"killed while it was written")
    hook = KeepPeriodic(checkpointer, 2, max_to_keep=2)
    hook.trainer = SimpleNamespace(start_iter=4, max_iter=100)
    hook.before_train()
    assert sorted(path.name[6:] for path in tmp_path.glob("*.pth")) == ["0000002.pth", "0000003.pth", "0000008.pth"]
    assert not list(tmp_path.glob(".*.pth"))
    hook.step(5)
    assert not (tmp_path / "model_0000002.pth").exists() and (tmp_path / "model_0000003.pth").exists()


def test_no_checkpoint_while_steps_are_skipped(tmp_path):
    """The weights that make every loss bad would take the place of those to go on from; the final one is written."""
    hook, steps = KeepPeriodic(run_folder(tmp_path, 1), 2, max_to_keep=2), SimpleNamespace(in_a_row=0)
    written = []
    for iteration, in_a_row in ((3, 1), (5, 0), (9, 2)):
        steps.in_a_row = in_a_row
        hook.trainer = SimpleNamespace(start_iter=2, iter=iteration, max_iter=10, _trainer=SimpleNamespace(steps=steps))
        if not written:
            hook.before_train()
        hook.after_step()
        written.append((tmp_path / "last_checkpoint").read_text())
    assert written == ["model_0000001.pth", "model_0000005.pth", "model_final.pth"]


def test_a_damaged_best_checkpoint_is_forgotten(tmp_path, caplog):
    checkpointer = run_folder(tmp_path, 1)
    hook = KeepBest(2, checkpointer)
    hook.trainer = SimpleNamespace(storage=EventStorage())
    hook.load_state_dict({"best_metric": 50.0, "best_iter": 1})
    checkpointer.save("model_best")
    hook.before_train()
    assert hook.best_metric == 50.0
    truncated(tmp_path / "model_best.pth")
    with caplog.at_level("WARNING", "nightlab"):
        hook.before_train()
    assert hook.best_metric is None and "model_best.pth" in caplog.text


def test_the_best_checkpoint_is_written_before_the_final_one(tmp_path):
    """A kill between the two would leave a stage that counts as finished, without its best."""
    checkpointer = run_folder(tmp_path, 1)
    hook = KeepBest(2, checkpointer)
    with EventStorage(4) as storage:
        storage.put_scalar("val/sem_seg/mIoU", 50.0)
        hook.trainer = SimpleNamespace(iter=4, max_iter=5, storage=storage)
        hook.after_step()
    assert (tmp_path / "model_best.pth").is_file() and hook.state_dict() == {"best_metric": 50.0, "best_iter": 4}
    assert checkpointer.last_whole().name == "model_0000001.pth"
