"""Tests of the loaders: which record goes where is a function of seed, stage, iteration and slot."""

import pytest

from nightlab.config import load_config
from nightlab.data import loader
from nightlab.errors import InputError

RECORDS = [{"image_id": str(i)} for i in range(7)]


def dataset(batch_size=4, seed=1, stage=0):
    return loader.SlotDataset(
        RECORDS, lambda record, key: (record["image_id"], key), batch_size=batch_size, seed=seed, stage=stage
    )


def positions(batch_size, iterations):
    return [(i, s) for i in range(iterations) for s in range(batch_size)]


def test_every_epoch_is_a_permutation():
    data = dataset()
    drawn = [data[p][0] for p in positions(4, 7)]  # 28 samples are four epochs of 7
    epochs = [drawn[i : i + 7] for i in range(0, 28, 7)]
    assert all(sorted(epoch) == sorted(r["image_id"] for r in RECORDS) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_order_depends_on_seed_and_stage_and_not_on_history():
    data = dataset()
    forward = {p: data[p] for p in positions(4, 5)}
    assert all(dataset()[p] == forward[p] for p in reversed(positions(4, 5)))
    assert [dataset(seed=2)[p][0] for p in positions(4, 5)] != [v[0] for v in forward.values()]
    assert [dataset(stage=1)[p][0] for p in positions(4, 5)] != [v[0] for v in forward.values()]
    assert forward[(3, 2)][1] == (1, 0, 3, 2), "the mapper gets (seed, stage, iteration, slot)"


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_share_the_slots_of_an_iteration(monkeypatch, processes):
    seen = []
    monkeypatch.setattr(loader.comm, "get_world_size", lambda: processes)
    for rank in range(processes):
        monkeypatch.setattr(loader.comm, "get_rank", lambda rank=rank: rank)
        sampler = loader.SlotSampler(4)
        sampler.start_iter = 5
        batches = iter(sampler)
        seen += next(batches)
        assert all(iteration == 6 for iteration, _ in next(batches))
    assert sorted(seen) == [(5, 0), (5, 1), (5, 2), (5, 3)]


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch):
    monkeypatch.setattr(loader.comm, "get_world_size", lambda: 3)
    with pytest.raises(InputError, match="IMS_PER_BATCH"):
        loader.SlotSampler(4)


@pytest.fixture
def cfg(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text('DATASETS:\n  TRAIN: ("nightstreet_night_val",)\n  VAL_FRACTION: 0.25\nVERSION: 2\n')
    return load_config(path)


def test_held_out_images_are_drawn_from_train_by_the_seed(cfg):
    train, held_out = loader.split_records(cfg)
    ids = [{r["image_id"] for r in part} for part in (train, held_out)]
    assert len(held_out) == 25 and len(train) == 75 and not ids[0] & ids[1]
    assert [r["image_id"] for r in loader.split_records(cfg)[1]] == [r["image_id"] for r in held_out]
    cfg.SEED = 2
    assert [r["image_id"] for r in loader.split_records(cfg)[1]] != [r["image_id"] for r in held_out]


def test_a_named_val_set_leaves_train_whole(cfg):
    cfg.DATASETS.VAL = ("nightstreet_day_val",)
    train, held_out = loader.split_records(cfg)
    assert len(train) == len(held_out) == 100


def test_whole_drives_are_held_out(cfg, monkeypatch):
    """Ten frames of each of five drives, and fifty more of another, which is never held out: it is most of the data."""
    ids = [f"{drive}_{n}" for drive in "abcde" for n in range(10)] + [f"long_{n}" for n in range(60)]
    records = [{"image_id": i, "file_name": f"{i}.png"} for i in ids]
    monkeypatch.setattr(loader.catalog, "load", lambda names: records)
    cfg.DATASETS.VAL_GROUPS = "^[^_]+"
    seen = set()
    for cfg.SEED in range(6):
        train, held_out = loader.split_records(cfg)
        assert len(train) == 80 and len(held_out) == 30, "a quarter of 110 takes three drives"
        drives = [{r["image_id"].split("_")[0] for r in part} for part in (train, held_out)]
        assert not drives[0] & drives[1] and "long" in drives[0]
        seen.add(frozenset(drives[1]))
    assert len(seen) > 1, "the seed draws them"


@pytest.mark.parametrize(
    "expression, message", [("^x", "finds nothing in the id"), ("(", "no regular expression"), ("night", "one group")]
)
def test_drives_that_cannot_be_told(cfg, monkeypatch, expression, message):
    records = [{"image_id": f"night_{n}", "file_name": f"night_{n}.png"} for n in range(10)]
    monkeypatch.setattr(loader.catalog, "load", lambda names: records)
    cfg.DATASETS.VAL_GROUPS = expression
    with pytest.raises(InputError, match=rf"DATASETS\.VAL_GROUPS: .*{message}"):
        loader.split_records(cfg)


def test_everything_held_out_is_refused(cfg):
    cfg.DATASETS.VAL_FRACTION = 1.0
    with pytest.raises(InputError, match="VAL_FRACTION"):
        loader.split_records(cfg)
