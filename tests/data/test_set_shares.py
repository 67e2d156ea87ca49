"""Joint training: shares of the sets are exact, epochs are whole, and a place follows from seed, stage and position."""

from collections import Counter

import pytest

from nightlab.config import load_config
from nightlab.data import held_out, loader
from nightlab.data.set_shares import BLOCK, SetShares, shares_of_block
from nightlab.errors import InputError

RECORDS = [{"train_set": 0}] * 3 + [{"train_set": 1}] * 20


@pytest.mark.parametrize(
    ("weights", "counts"), [([1, 1], [50, 50]), ([2, 1], [67, 33]), ([1, 1000], [1, 99]), ([1, 1, 1], [34, 33, 33])]
)
def test_shares_of_a_block(weights: list[float], counts: list[int]) -> None:
    assert shares_of_block(weights) == counts


def test_sets_get_their_shares_in_whole_epochs() -> None:
    shares = SetShares(RECORDS, [3, 1], (1, 0))
    drawn = [shares.record_index(position) for position in range(4 * BLOCK)]
    small, large = ([i for i in drawn if (i < 3) is first] for first in (True, False))
    assert (len(small), len(large)) == (300, 100)
    assert all(set(small[i : i + 3]) == {0, 1, 2} for i in range(0, 300, 3))
    assert set(Counter(large).values()) == {5}
    sets_of_slots = [i < 3 for i in drawn]
    assert sets_of_slots[:BLOCK] != sets_of_slots[BLOCK : 2 * BLOCK], "which slots they are is drawn"


def test_a_place_depends_on_seed_and_stage_and_not_on_history() -> None:
    forward = [SetShares(RECORDS, [1, 1], (1, 0)).record_index(p) for p in range(250)]
    shares = SetShares(RECORDS, [1, 1], (1, 0))
    assert [shares.record_index(p) for p in reversed(range(250))] == forward[::-1]
    for key in ((2, 0), (1, 1)):
        other = SetShares(RECORDS, [1, 1], key)
        assert [other.record_index(p) for p in range(250)] != forward


def test_a_set_without_records_gets_nothing() -> None:
    shares = SetShares(RECORDS[:3], [1, 1], (1, 0))
    assert {shares.record_index(p) for p in range(200)} == {0, 1, 2}


def test_the_loader_follows_train_weights() -> None:
    cfg = load_config("configs/Base-UPerNet.yaml")
    cfg.DATASETS.TRAIN = ("nightstreet_night_val", "nightstreet_day_val")
    cfg.DATASETS.VAL_FRACTION = 0.5
    cfg.DATASETS.TRAIN_WEIGHTS = [4, 1]
    cfg.DATALOADER.NUM_WORKERS = 0
    records, _ = held_out.split_records(cfg)
    drawn = loader.build_train_loader(cfg, records).dataset
    chosen = [records[drawn.record_index(i, s)] for i in range(25) for s in range(16)]
    assert Counter(r["train_set"] for r in chosen) == {0: 320, 1: 80}
    assert all("night" in str(r["image_id"]) for r in chosen if r["train_set"] == 0)


@pytest.mark.parametrize("weights", [[1], [1, 0], [1, -1], [1, 1, 1]])
def test_weights_that_do_not_fit_are_refused(weights: list[int]) -> None:
    cfg = load_config("configs/Base-UPerNet.yaml")
    cfg.DATASETS.TRAIN = ("nightstreet_night_val", "nightstreet_day_val")
    cfg.DATASETS.TRAIN_WEIGHTS = weights
    with pytest.raises(InputError, match=r"DATASETS.TRAIN_WEIGHTS: .* one number above 0 for each set"):
        held_out.split_records(cfg)
