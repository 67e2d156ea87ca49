"""Checkpoints: refused when unsafe or another model's, written aside; a damaged last one gives way to one before it."""

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from nightlab.engine.checkpoint import NightLabCheckpointer
from nightlab.errors import InputError
from nightlab.modeling.layers import conv_norm_relu


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


class Level(nn.Module):
    def __init__(self, light):
        super().__init__()
        self.head = nn.Linear(2, 3)
        self.light = nn.Linear(2, 2) if light else None


def test_training_may_start_from_plain_convolutions(tmp_path, caplog):
    plain, deformable = (conv_norm_relu(2, 3, 3, norm="", deformable=d) for d in (False, True))
    path = tmp_path / "plain.pth"
    torch.save({"model": plain.state_dict()}, path)
    with pytest.raises(InputError, match=r"plain\.pth: .*2 tensors are missing.*offset"):
        NightLabCheckpointer(deformable).load(str(path))
    with caplog.at_level("INFO", "nightlab"):
        NightLabCheckpointer(deformable, str(tmp_path)).resume_or_load(str(path), resume=False)
    assert "plain.pth: has no offsets" in caplog.text
    x = torch.randn(1, 2, 5, 6)
    assert torch.allclose(deformable(x), plain(x), atol=1e-6)


class OneLevel(nn.Module):
    def __init__(self, light):
        super().__init__()
        self.image_level = Level(light)


def test_training_may_start_from_weights_without_a_light_adaptation(tmp_path, caplog):
    plain, lit = OneLevel(False), OneLevel(True)
    path = tmp_path / "plain.pth"
    torch.save({"model": plain.state_dict()}, path)
    with pytest.raises(InputError, match=r"plain\.pth: .*2 tensors are missing.*image_level\.light"):
        NightLabCheckpointer(lit).load(str(path))  # as to evaluate it
    fresh = lit.image_level.light.weight.clone()
    with caplog.at_level("INFO", "nightlab"):
        NightLabCheckpointer(lit, str(tmp_path)).resume_or_load(str(path), resume=False)
    assert "plain.pth: has no light adaptation" in caplog.text
    assert torch.equal(lit.image_level.head.weight, plain.image_level.head.weight)
    assert torch.equal(lit.image_level.light.weight, fresh)
    torch.save({"model": lit.state_dict()}, path)
    with pytest.raises(InputError, match=r"plain\.pth: .*2 unknown"):  # the other way round it would lose something
        NightLabCheckpointer(plain, str(tmp_path)).resume_or_load(str(path), resume=False)


def test_an_image_level_alone_is_complete_only_as_a_whole(tmp_path):
    given = OneLevel(False).state_dict()
    path = tmp_path / "image.pth"
    torch.save({"model": given}, path)
    both = OneLevel(False)
    both.detector = nn.Linear(1, 1)
    NightLabCheckpointer(both, accept_image_level=True).load(str(path))
    torch.save({"model": {key: value for key, value in given.items() if "bias" not in key}}, path)
    with pytest.raises(InputError, match=r"image\.pth: .*1 tensors are missing.*image_level\.head\.bias"):
        NightLabCheckpointer(both, accept_image_level=True).load(str(path))


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


def run_folder(folder, *iterations):
    """A folder with a checkpoint of each iteration, the last one tagged."""
    checkpointer = NightLabCheckpointer(model(), str(folder))
    for iteration in iterations:
        checkpointer.save(f"model_{iteration:07d}", iteration=iteration)
    return NightLabCheckpointer(model(), str(folder))


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path):
    """One bit of a weight, which torch.load would not notice."""
    data = bytearray(path.read_bytes())
    data[data.index(torch.load(path, weights_only=True)["model"]["0.weight"].numpy().tobytes())] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [truncated, flipped, Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_damaged_last_checkpoint_gives_way_to_the_one_before(tmp_path, damage, caplog):
    checkpointer = run_folder(tmp_path, 99, 0, 1, 2)  # 99 is of an earlier run
    damage(tmp_path / "model_0000002.pth")
    with caplog.at_level("WARNING", "nightlab"):
        assert checkpointer.resume_or_load("", resume=True)["iteration"] == 1
    assert "model_0000002.pth: missing or damaged; going on from the one before it, model_0000001.pth" in caplog.text


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"model_000", b"m" * 5000, b"a\0b"])
def test_where_the_name_of_the_last_checkpoint_is_damaged_the_latest_is_taken(tmp_path, content, caplog):
    checkpointer = run_folder(tmp_path, 1, 2)
    (tmp_path / "last_checkpoint").write_bytes(content)
    with caplog.at_level("WARNING", "nightlab"):
        assert checkpointer.resume_or_load("", resume=True)["iteration"] == 2
    assert "missing or damaged; going on from the one before it, model_0000002.pth" in caplog.text


def test_without_a_whole_checkpoint_nothing_is_begun_anew(tmp_path):
    checkpointer = run_folder(tmp_path, 1)
    truncated(tmp_path / "model_0000001.pth")
    with pytest.raises(InputError, match=r"model_0000001\.pth.*none before it"):
        checkpointer.resume_or_load("", resume=True)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path):
    """A limit on the size of files stands in for the disk."""
    resource = pytest.importorskip("resource")
    checkpointer = run_folder(tmp_path, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(InputError, match=r"model_0000002\.pth: the checkpoint cannot be written.*MB are free"):
            checkpointer.save("model_0000002", iteration=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.glob("*.pth")] == ["model_0000001.pth"] and not list(tmp_path.glob(".*"))
    assert checkpointer.last_whole() == tmp_path / "model_0000001.pth"
