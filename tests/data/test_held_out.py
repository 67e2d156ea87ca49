"""What is held out from training: by the seed, by name, and by whole drives."""

import pytest

from nightlab.config import load_config
from nightlab.data import held_out
from nightlab.errors import InputError


@pytest.fixture
def cfg(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text('DATASETS:\n  TRAIN: ("nightstreet_night_val",)\n  VAL_FRACTION: 0.25\nVERSION: 2\n')
    return load_config(path)


def test_held_out_images_are_drawn_from_train_by_the_seed(cfg):
    train, held = held_out.split_records(cfg)
    ids = [{r["image_id"] for r in part} for part in (train, held)]
    assert len(held) == 25 and len(train) == 75 and not ids[0] & ids[1]
    assert [r["image_id"] for r in held_out.split_records(cfg)[1]] == [r["image_id"] for r in held]
    cfg.SEED = 2
    assert [r["image_id"] for r in held_out.split_records(cfg)[1]] != [r["image_id"] for r in held]


def test_a_named_val_set_leaves_train_whole(cfg):
    cfg.DATASETS.VAL = ("nightstreet_day_val",)
    train, held = held_out.split_records(cfg)
    assert len(train) == len(held) == 100


def test_whole_drives_are_held_out(cfg, monkeypatch):
    """Ten frames of each of five drives, and sixty of another, which is never held out: it is most of the data."""
    ids = [f"{drive}_{n}" for drive in "abcde" for n in range(10)] + [f"long_{n}" for n in range(60)]
    records = [{"image_id": i, "file_name": f"{i}.png"} for i in ids]
    monkeypatch.setattr(held_out.catalog, "load", lambda names: records)
    cfg.DATASETS.VAL_GROUPS = "^[^_]+"
    seen = set()
    for cfg.SEED in range(6):
        train, held = held_out.split_records(cfg)
        assert len(train) == 80 and len(held) == 30, "a quarter of 110 takes three drives"
        drives = [{r["image_id"].split("_")[0] for r in part} for part in (train, held)]
        assert not drives[0] & drives[1] and "long" in drives[0]
        seen.add(frozenset(drives[1]))
    assert len(seen) > 1, "the seed draws them"


@pytest.mark.parametrize(
    "expression, message", [("^x", "finds nothing in the id"), ("(", "no regular expression"), ("night", "one group")]
)
def test_drives_that_cannot_be_told(cfg, monkeypatch, expression, message):
    records = [{"image_id": f"night_{n}", "file_name": f"night_{n}.png"} for n in range(10)]
    monkeypatch.setattr(held_out.catalog, "load", lambda names: records)
    cfg.DATASETS.VAL_GROUPS = expression
    with pytest.raises(InputError, match=rf"DATASETS\.VAL_GROUPS: .*{message}"):
        held_out.split_records(cfg)


def test_everything_held_out_is_refused(cfg):
    cfg.DATASETS.VAL_FRACTION = 1.0
    with pytest.raises(InputError, match="VAL_FRACTION"):
        held_out.split_records(cfg)
