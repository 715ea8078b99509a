"""What is bought together: baskets of the log, found by item.

A basket is all that one user bought at one moment, or on one day where the log says no times of day. Built
once from the log, in flat arrays: an item's baskets are a slice, so no table of pairs is kept.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from intently.data.histories import DAY_S
from intently.schema import DoubleArray, IntArray, LongArray

LATEST: Final = 2000
"""Baskets looked at for an item, the latest ones."""

DAMPING: Final = 0.5
"""Of popularity: 0 names what everyone buys, 1 what hardly anyone else does; the cosine of item-kNN is .5."""


class Baskets:
    """user, item, time_s: purchases in any order; n_items: numbers are below it."""

    def __init__(self, user: IntArray, item: IntArray, time_s: DoubleArray, n_items: int) -> None:
        days = bool(len(time_s)) and bool((time_s % DAY_S == 0).all())
        moment = np.floor(time_s / (DAY_S if days else 60.0))
        order = np.lexsort((user, moment))  # baskets are numbered in order of time
        user, item, moment = user[order], item[order], moment[order]
        new = np.ones(len(user), bool)
        new[1:] = (user[1:] != user[:-1]) | (moment[1:] != moment[:-1])
        self._items: IntArray = item.astype(np.int32)
        self._starts: LongArray = np.append(np.flatnonzero(new), len(user)).astype(np.int64)
        basket = (np.cumsum(new) - 1).astype(np.int32)
        by_item = np.argsort(item, kind="stable")  # of one item: oldest basket first
        self._basket_of: IntArray = basket[by_item]
        counts = np.bincount(item, minlength=n_items)
        self._indptr: LongArray = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._damped = np.maximum(counts, 1).astype(np.float64) ** DAMPING

    def together(self, wanted: IntArray, most: int) -> tuple[IntArray, DoubleArray]:
        """Items bought with any of `wanted`, best first, and how often, held against how often at all."""
        known = wanted[wanted < len(self._indptr) - 1]
        slices = [
            self._basket_of[max(self._indptr[item], self._indptr[item + 1] - LATEST) : self._indptr[item + 1]]
            for item in known.tolist()
        ]
        baskets = np.concatenate(slices) if slices else np.zeros(0, np.int32)
        if len(baskets) == 0:
            return np.zeros(0, np.int32), np.zeros(0, np.float64)
        first, stop = self._starts[baskets], self._starts[baskets + 1]
        lengths = stop - first
        offsets = np.repeat(first - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
        items, times = np.unique(self._items[np.arange(lengths.sum()) + offsets], return_counts=True)
        other = ~np.isin(items, known)
        items, times = items[other], times[other]
        scores = times / self._damped[items]
        best = np.argsort(-scores, kind="stable")[:most]
        return items[best].astype(np.int32), scores[best]
