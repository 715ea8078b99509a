"""Sums that fade: each event weighs 0.5 ** (age / half-life), whenever it is read.

Forward decay (Cormode et al., ICDE 2009): an event adds 2 ** ((its time - origin) / half-life) and a reading
divides by that of its own moment. Adding is one sum, the order of arrival does not matter, and nothing
has to be touched as time goes by. We move the origin before the powers leave the range of a double.
"""

from __future__ import annotations

from math import isnan

import numpy as np

from intently.data.histories import DAY_S
from intently.schema import BoolArray, DoubleArray, IntArray, LongArray

MOST_DOUBLINGS = 400.0
"""Half-lives between origin and the newest event; a double holds twice as many on either side."""

LEAST_DOUBLINGS = 1000.0
"""What is older or newer than this many half-lives is taken for exactly so old."""


class Origin:
    """The moment from which weights grow, and how far it moves when they grow too large."""

    def __init__(self, half_life_days: float, most: float = MOST_DOUBLINGS) -> None:
        self.half_life_s = half_life_days * DAY_S
        self.most = most
        self.at_s = float("nan")  # until the first event

    def weights(self, time_s: DoubleArray) -> tuple[DoubleArray, float]:
        """(weight of each event, factor for all sums so far: 1 unless the origin moved)."""
        factor = self._move(float(time_s.max()))
        return np.exp2((time_s - self.at_s) / self.half_life_s), factor

    def weight(self, time_s: float) -> tuple[float, float]:
        """The same for one event."""
        factor = self._move(time_s)
        return 2.0 ** max((time_s - self.at_s) / self.half_life_s, -LEAST_DOUBLINGS), factor

    def _move(self, newest_s: float) -> float:
        if isnan(self.at_s):
            self.at_s = newest_s
        if newest_s - self.at_s <= self.most * self.half_life_s:
            return 1.0
        factor, self.at_s = self.scale(newest_s), newest_s
        return factor

    def scale(self, at_s: float) -> float:
        """What a sum is multiplied with to be read at `at_s`."""
        return 1.0 if isnan(self.at_s) else 2.0 ** min((self.at_s - at_s) / self.half_life_s, LEAST_DOUBLINGS)


class DecayedCounts:
    """How much each item was met lately, by several half-lives, and when first.

    A million events are added in a tenth of a second; memory is 8 bytes an item and half-life.
    """

    def __init__(self, half_lives_days: tuple[float, ...]) -> None:
        self.half_lives_days = half_lives_days
        self._origins = [Origin(days) for days in half_lives_days]
        self._sums = np.zeros((0, len(half_lives_days)))  # the last row is no item's: it stays 0
        self._first_s = np.zeros(0)
        self._totals = np.zeros(len(half_lives_days))

    def add(self, items: IntArray, time_s: DoubleArray) -> None:
        """Count events, in any order."""
        if not len(items):
            return
        self._grow(int(items.max()) + 1)
        for column, origin in enumerate(self._origins):
            weights, factor = origin.weights(time_s)
            if factor != 1.0:
                self._sums[:, column] *= factor
                self._totals[column] *= factor
            _add_at(self._sums[:, column], items, weights)
            self._totals[column] += weights.sum()
        np.minimum.at(self._first_s, items, time_s)

    def add_one(self, item: int, time_s: float) -> None:
        """Count one event."""
        self._grow(item + 1)
        sums = self._sums[item]
        for column, origin in enumerate(self._origins):
            weight, factor = origin.weight(time_s)
            if factor != 1.0:
                self._sums[:, column] *= factor
                self._totals[column] *= factor
            sums[column] += weight
            self._totals[column] += weight
        if time_s < self._first_s[item]:
            self._first_s[item] = time_s

    def of(self, items: IntArray, at_s: float) -> DoubleArray:
        """(items, half-lives): decayed events of each item as of `at_s`; 0 for items never met."""
        return self._of(items, self._scales(at_s))

    def both(self, items: IntArray, at_s: float) -> tuple[DoubleArray, DoubleArray]:
        """What `of` and `totals` say of one moment."""
        scales = self._scales(at_s)
        return self._of(items, scales), self._totals * scales

    def _of(self, items: IntArray, scales: DoubleArray) -> DoubleArray:
        sums = self._sums
        if not len(sums):
            return np.zeros((len(items), len(self)))
        found: DoubleArray = sums.take(items, axis=0, mode="clip")  # the last row is no item's
        found *= scales
        return found

    def _scales(self, at_s: float) -> DoubleArray:
        return np.array([origin.scale(at_s) for origin in self._origins])

    def top(self, column: int, n: int) -> IntArray:
        """The `n` items with the largest counts of one half-life, best first; fewer where fewer were met."""
        counts = self._sums[:, column]
        n = min(n, len(counts))
        best = np.argpartition(-counts, n - 1)[:n] if n else np.zeros(0, np.int64)
        best = best[np.argsort(-counts[best], kind="stable")]
        return best[counts[best] > 0].astype(np.int32)

    def totals(self, at_s: float) -> DoubleArray:
        """(half-lives,): decayed events of the whole shop."""
        return np.asarray(self._totals * self._scales(at_s), np.float64)

    def first_s(self, items: IntArray) -> DoubleArray:
        """When each item was first met; infinity for never."""
        first_s = self._first_s
        if not len(first_s):
            return np.full(len(items), np.inf)
        found: DoubleArray = first_s.take(items, mode="clip")
        return found

    def __len__(self) -> int:
        return len(self.half_lives_days)

    @property
    def n_bytes(self) -> int:
        """Memory of the arrays."""
        return int(self._sums.nbytes + self._first_s.nbytes)

    def _grow(self, n: int) -> None:
        have = len(self._sums)
        if n < have:
            return
        room = max(n + 1, 2 * have)
        sums, first = np.zeros((room, len(self))), np.full(room, np.inf)
        sums[:have], first[:have] = self._sums, self._first_s
        self._first_s, self._sums = first, sums


def _add_at(sums: DoubleArray, items: IntArray, weights: DoubleArray) -> None:
    if len(items) * 8 < len(sums):
        np.add.at(sums, items, weights)
    else:
        sums += np.bincount(items, weights=weights, minlength=len(sums))


def first_of_run(keys: LongArray | IntArray) -> BoolArray:
    """Where a new value begins in sorted keys.

    >>> first_of_run(np.array([3, 3, 5])).tolist()
    [True, False, True]
    """
    out = np.ones(len(keys), bool)
    out[1:] = keys[1:] != keys[:-1]
    return out
