"""Tests of the loaders: which record goes where is a function of seed, stage, iteration and slot."""

import numpy as np
import pytest

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


class Listed:
    """A source that no record may take along into detectron2's list, which pickles each."""

    def __reduce__(self):
        raise AssertionError("a card that lists its ids would be in each record, with all ids")

    def read_image(self, record):
        return np.full((2, 3, 3), int(record["image_id"]), np.uint8)

    def read_label(self, record):
        return np.zeros((2, 3), np.uint8)


def test_records_to_evaluate_are_kept_without_their_source(nano_cfg):
    nano_cfg.DATALOADER.NUM_WORKERS = 0
    source = Listed()
    records = [{"image_id": str(i), "file_name": f"{i}.png", "source": source} for i in range(3)]
    given = [item for batch in loader.build_test_loader(nano_cfg, records) for item in batch]
    assert [int(item["image"].max()) for item in given] == [0, 1, 2] and "source" not in given[0]
