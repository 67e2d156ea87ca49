"""Joint training: how sets share the slots of training, as a function of seed, stage and position."""

from collections.abc import Sequence
from typing import Any

import numpy as np

# Slots are dealt out in blocks of this many, so that shares are exact to a hundredth.
BLOCK = 100


def shares_of_block(weights: Sequence[float]) -> list[int]:
    """Slots of a block for each set, in proportion to its weight: largest remainders, and at least one."""
    exact = BLOCK * np.asarray(weights, float) / sum(weights)
    counts = np.maximum(np.floor(exact).astype(int), 1)
    while counts.sum() != BLOCK:
        step = 1 if counts.sum() < BLOCK else -1
        counts[np.argmax(step * (exact - counts))] += step
    return [int(count) for count in counts]


class SetShares:
    """Maps a position in training (slots counted from its start) to a record.

    Within a set, an epoch is a permutation of its records, as it is without weights.
    """

    def __init__(self, records: Sequence[dict[str, Any]], weights: Sequence[float], key: tuple[int, int]):
        """
        Args:
            records: each with its number among the training sets as `train_set`.
            weights: one for each set; sets of which no record is left get nothing.
            key: (seed, stage).
        """
        of_set = np.array([record["train_set"] for record in records])
        members = [np.flatnonzero(of_set == n) for n in range(len(weights))]
        left = [n for n, member in enumerate(members) if len(member)]
        self.members = [members[n] for n in left]
        self.counts = shares_of_block([weights[n] for n in left])
        self.key = key
        self._block = -1
        self._sets = np.empty(0, int)
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    def record_index(self, position: int) -> int:
        block, place = divmod(position, BLOCK)
        if block != self._block:
            deck = np.repeat(np.arange(len(self.counts)), self.counts)
            self._block, self._sets = block, np.random.default_rng((*self.key, block, 1)).permutation(deck)
        number = int(self._sets[place])
        drawn_before = int((self._sets[:place] == number).sum())
        member = self.members[number]
        epoch, turn = divmod(block * self.counts[number] + drawn_before, len(member))
        return int(member[self._order(number, epoch)[turn]])

    def _order(self, number: int, epoch: int) -> np.ndarray:
        if number not in self._orders or self._orders[number][0] != epoch:
            order = np.random.default_rng((*self.key, epoch, 2 + number)).permutation(len(self.members[number]))
            self._orders[number] = (epoch, order)
        return self._orders[number][1]
