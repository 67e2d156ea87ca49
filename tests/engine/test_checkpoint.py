"""Tests of reading checkpoints: refused when unsafe, damaged or another model's; the best one is never resumed from."""

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from nightlab.engine.checkpoint import NightLabCheckpointer
from nightlab.errors import InputError


def model(classes=3):
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, classes, 1))


def saved(folder, classes=3, **extra):
    NightLabCheckpointer(model(classes), str(folder)).save("model", **extra)
    return str(folder / "model.pth")


def test_what_was_saved_is_loaded(tmp_path):
    first, second = model(), model()
    NightLabCheckpointer(first, str(tmp_path)).save("model", iteration=7)
    rest = NightLabCheckpointer(second).load(str(tmp_path / "model.pth"))
    assert rest["iteration"] == 7
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_another_number_of_classes_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"model\.pth.*number of classes.*\(5, 4, 1, 1\).*\(3, 4, 1, 1\)"):
        NightLabCheckpointer(model()).load(saved(tmp_path, classes=5))


def test_another_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"model\.pth.*another model"):
        NightLabCheckpointer(nn.Linear(2, 2)).load(saved(tmp_path))


def test_a_truncated_checkpoint_is_refused(tmp_path):
    path = saved(tmp_path)
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"model\.pth.*damaged"):
        NightLabCheckpointer(model()).load(path)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent\.pth"):
        NightLabCheckpointer(model()).load(str(tmp_path / "absent.pth"))


class RunsCode:
    def __reduce__(self):
        return open, ("executed", "w")


def test_code_in_a_checkpoint_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": model().state_dict(), "extra": RunsCode()}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match=r"evil\.pth"):
        NightLabCheckpointer(model()).load(str(tmp_path / "evil.pth"))
    assert not (tmp_path / "executed").exists()


def test_pickled_checkpoints_need_permission(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pkl"
    state = {key: value.numpy() for key, value in model().state_dict().items()}
    path.write_bytes(pickle.dumps({"model": state, "__author__": "test"}))
    with pytest.raises(InputError, match=r"model\.pkl.*ALLOW_PICKLE"):
        NightLabCheckpointer(model()).load(str(path))
    NightLabCheckpointer(model(), allow_pickle=True).load(str(path))


def test_the_best_checkpoint_is_not_the_one_to_resume_from(tmp_path):
    checkpointer = NightLabCheckpointer(model(), str(tmp_path))
    checkpointer.save("model_0000099")
    with checkpointer.untagged():
        checkpointer.save("model_best")
    assert checkpointer.get_checkpoint_file().endswith("model_0000099.pth")
