"""Everyone's moments as questions: what had been met before, and what was met then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from intently.data import Histories
from intently.nn.packing import Bags
from intently.nn.past import Past, look_back
from intently.schema import BoolArray, DoubleArray, IntArray, LongArray

if TYPE_CHECKING:
    from intently.nn.next_moment import Asked

HELD_SHARE = 0.1
HELD_MOST = 2048
HELD_LEAST = 50
"""Users whose last moment is held back: a tenth, at most 2,048; none where that gives fewer than 50."""

EPOCH = 262_144
"""Moments of an epoch at most; a larger shop's are drawn anew for each."""


class Moments:
    """All moments of a shop's users.

    taught: the moments asked in training: all but users' first and the held-back ones. held: last
    moments that choose the epoch. vocabulary: the dense ids of the items that were met.
    """

    def __init__(self, histories: Histories, timed: bool, seed: int) -> None:
        n_items = int(histories.items.max(initial=-1)) + 1
        self.bags, self.moment_s = bags_of(histories, np.ones(n_items, bool), timed)
        self.vocabulary: IntArray = np.unique(self.bags.items).astype(np.int32)
        self.random = np.random.default_rng(seed)
        lengths = self.bags.lengths
        self.first: LongArray = np.repeat(self.bags.ends[:-1], lengths)  # of each bag, its user's first
        able = np.flatnonzero(lengths > 2)
        count = min(int(HELD_SHARE * len(able)), HELD_MOST)
        users = np.sort(self.random.permutation(able)[:count]) if count >= HELD_LEAST else able[:0]
        self.held: LongArray = self.bags.ends[users + 1] - 1
        ask = np.arange(len(self.first)) > self.first
        ask[self.held] = False
        self.taught: LongArray = np.flatnonzero(ask)

    def without_held(self, histories: Histories) -> Histories:
        """The histories that these moments were made of, without the held-back moments."""
        sizes = np.diff(self.bags.starts)
        kept = np.ones(len(sizes), bool)
        kept[self.held] = False
        events = np.repeat(kept, sizes)
        counts = np.bincount(histories.rows[events], minlength=len(histories))
        return replace(
            histories,
            indptr=np.append(0, np.cumsum(counts)).astype(np.int64),
            items=histories.items[events],
            time_s=histories.time_s[events],
            events=histories.events[events],
        )

    def asked_s(self, bags: LongArray) -> DoubleArray:
        """The seconds of these bags; zeros where there is no clock."""
        return self.moment_s[bags] if len(self.moment_s) else np.zeros(len(bags))

    def before(self, bags: LongArray, longest: int) -> Past:
        """What their users had met before these bags, in dense item ids."""
        asked_s = self.asked_s(bags)
        return look_back(self.bags, self.first[bags], bags, longest, self.moment_s, asked_s)

    def batches(self, size: int, longest: int) -> Iterator[Asked]:
        """One epoch in random order, about `size` moments each; items as columns of the vocabulary."""
        from intently.nn.next_moment import Asked

        chosen = self.random.permutation(self.taught)[:EPOCH]
        for part in np.array_split(chosen, max(1, len(chosen) // size)):
            past = self.before(part, longest)
            rows, items = self.bags.between(part, part + 1)
            known = replace(past, items=np.searchsorted(self.vocabulary, past.items))
            yield Asked(known, rows, np.searchsorted(self.vocabulary, items), self.asked_s(part))


def bags_of(histories: Histories, known: BoolArray, timed: bool) -> tuple[Bags, DoubleArray]:
    """(moments of the `known` (n_items,) items, seconds of each moment, none where there is no clock)."""
    kept = known[histories.items]
    times = histories.time_s[kept]
    rows = histories.rows[kept].astype(np.int64)
    bags = Bags.of(rows, times, histories.items[kept].astype(np.int64), len(histories))
    return bags, times[bags.starts[:-1]] if timed else np.zeros(0)
