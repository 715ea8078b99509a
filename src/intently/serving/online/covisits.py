"""Which items go with which, lately, in bounded memory: a fixed number of neighbours an item.

Decayed counts of ordered pairs. An item keeps its WIDTH heaviest neighbours; a newcomer to a full row wears
down the lightest one and takes its place when that is gone (the counters of Misra & Gries 1982). We differ:
counts decay, so old neighbours grow light by themselves, and a rebuilt table is exact.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy import sparse

from intently.ordering import in_order
from intently.schema import BoolArray, DoubleArray, FloatArray, IntArray, LongArray
from intently.serving.online.decay import Origin, first_of_run

WIDTH = 32
"""Neighbours an item; 8 bytes each."""

EMPTY = -1
BLOCK = 1 << 20
"""Cells of a table that is looked at in one piece."""

MOST_DOUBLINGS = 64.0
"""Weights are single precision: the origin moves after this many half-lives."""


class Neighbours:
    """Decayed counts of pairs (one, other); `add` takes them in batches."""

    def __init__(self, half_life_days: float, width: int = WIDTH) -> None:
        self.width = width
        self._origin = Origin(half_life_days, MOST_DOUBLINGS)
        self._others: IntArray = np.full((0, width), EMPTY, np.int32)
        self._weights: FloatArray = np.zeros((0, width), np.float32)
        self._totals: FloatArray = np.zeros(0, np.float32)

    def add(self, ones: IntArray, others: IntArray, time_s: DoubleArray) -> None:
        """Count pairs; the first batch into an empty table is exact, however large."""
        if not len(ones):
            return
        n = int(max(ones.max(), others.max())) + 1
        empty = not len(self._totals)
        self._grow(n)
        weights, factor = self._origin.weights(time_s)
        if factor != 1.0:
            self._scale(factor)
        if empty:
            self._build(ones, others, weights, n)
        else:
            self._merge(*_summed(ones, others, weights, n))

    def add_one(self, one: int, other: int, weight: float) -> None:
        """Count one pair; `weight` is what `weight_of` gave, and both items have room."""
        self._totals[one] += weight
        row: list[int] = self._others[one].tolist()
        if other in row:
            self._weights[one, row.index(other)] += weight
            return
        weights = self._weights[one]
        lightest = int(weights.argmin())
        left = float(weights[lightest]) - weight
        if left > 0:
            weights[lightest] = left
        else:
            weights[lightest] = weight
            self._others[one, lightest] = other

    def weight_of(self, time_s: float, n_items: int) -> float:
        """The weight of an event at this moment; makes room for `n_items`."""
        self._grow(n_items)
        weight, factor = self._origin.weight(time_s)
        if factor != 1.0:
            self._scale(factor)
        return weight

    def follow(self, items: IntArray, candidates: IntArray, scratch: FloatArray) -> FloatArray:
        """(candidates,): mean over `items` of the share of their pairs that go to each candidate.

        scratch: zeros, one more than there are items, left as zeros again; the last one takes what is EMPTY.
        """
        if not len(items) or max(items.tolist()) >= len(self._totals):
            items = items[items < len(self._totals)]
        totals = self._totals[items]
        if not len(items) or not np.maximum.reduce(totals) > 0:
            return np.zeros(len(candidates), np.float32)
        if np.minimum.reduce(totals) > 0:
            scale = (1.0 / len(items)) / totals
        else:
            scale = np.divide(1.0 / len(items), totals, out=np.zeros_like(totals), where=totals > 0)
        others = self._others.take(items, axis=0).ravel()
        shares = self._weights.take(items, axis=0)
        shares *= scale[:, None]
        np.add.at(scratch, others, shares.ravel())
        out = scratch.take(candidates)
        scratch[others] = 0.0
        return out

    def rows(self, items: IntArray) -> tuple[IntArray, FloatArray]:
        """All neighbours of these items with their shares; an item may stand there several times."""
        items = items[items < len(self._totals)]
        totals = np.maximum(self._totals[items], np.float32(1e-30))
        others, shares = self._others[items], self._weights[items] / totals[:, None]
        held = others != EMPTY
        return others[held], shares[held]

    def of(self, item: int) -> dict[int, float]:
        """Share of the item's pairs by neighbour."""
        if item >= len(self._totals) or not self._totals[item] > 0:
            return {}
        held = self._others[item] != EMPTY
        shares = self._weights[item][held] / self._totals[item]
        return dict(zip(self._others[item][held].tolist(), shares.tolist(), strict=True))

    def __len__(self) -> int:
        return len(self._totals)

    @property
    def n_bytes(self) -> int:
        """Memory of the arrays."""
        return int(self._others.nbytes + self._weights.nbytes + self._totals.nbytes)

    def _scale(self, factor: float) -> None:
        self._weights *= np.float32(factor)
        self._totals *= np.float32(factor)

    def _grow(self, n: int) -> None:
        have = len(self._totals)
        if n <= have:
            return
        room = n if have == 0 else max(n, 2 * have)
        others = np.full((room, self.width), EMPTY, np.int32)
        weights = np.zeros((room, self.width), np.float32)
        totals = np.zeros(room, np.float32)
        others[:have], weights[:have], totals[:have] = self._others, self._weights, self._totals
        self._others, self._weights, self._totals = others, weights, totals

    def _build(self, ones: IntArray, others: IntArray, weights: DoubleArray, n: int) -> None:
        """Exact: all pairs summed, the heaviest of each row kept."""
        table = sparse.coo_matrix((weights.astype(np.float32), (ones, others)), shape=(n, n)).tocsr()
        self._totals[:n] = np.asarray(table.sum(axis=1)).ravel()
        full = np.diff(table.indptr) > self.width
        roomy = np.flatnonzero(np.repeat(~full, np.diff(table.indptr)))
        crowded = _heaviest(table.indptr, table.data, np.flatnonzero(full), self.width)
        for at in (roomy, crowded):
            rows = np.searchsorted(table.indptr, at, side="right") - 1
            if at is crowded:
                at = at[np.lexsort((-table.data[at], rows))]  # rows stay in their order
            place = _turns(rows)
            self._others[rows, place] = table.indices[at]
            self._weights[rows, place] = table.data[at]

    def _merge(self, ones: LongArray, others: IntArray, weights: FloatArray) -> None:
        """Add distinct pairs, sorted by `ones`: known ones first, then newcomers, one a row at a time."""
        np.add.at(self._totals, ones, weights)
        known = self._others.take(ones, axis=0) == others[:, None]
        met = _any(known)
        old = np.flatnonzero(met)
        self._weights[ones[old], known[old].argmax(axis=1)] += weights[old]
        new = np.flatnonzero(~met)
        turn = _turns(ones[new])
        new = new[in_order(turn.astype(np.int64))[1]]
        ends = np.cumsum(np.bincount(turn)).tolist()
        for begin, end in pairwise([0, *ends]):
            now = new[begin:end]
            row, weight = ones[now], weights[now]
            lightest = self._weights.take(row, axis=0).argmin(axis=1)
            left = self._weights[row, lightest] - weight
            won = left <= 0
            self._weights[row, lightest] = np.where(won, weight, left)
            self._others[row[won], lightest[won]] = others[now[won]]


def _any(table: BoolArray) -> BoolArray:
    """(rows,): whether any cell of the row is true; eight cells are looked at at once."""
    rows, width = table.shape
    if not rows or width % 8:
        return np.asarray(table.any(axis=1))
    return np.asarray(np.bitwise_or.reduce(table.view(np.uint64), axis=1) != 0)


def _turns(sorted_rows: LongArray) -> IntArray:
    """(n,): how many entries of its own row stand before each."""
    begins = np.flatnonzero(first_of_run(sorted_rows))
    n = len(sorted_rows)
    return (np.arange(n) - np.repeat(begins, np.diff(np.append(begins, n)))).astype(np.int32)


def _heaviest(indptr: IntArray, weights: FloatArray, rows: LongArray, width: int) -> LongArray:
    """Places of the `width` heaviest weights of each of these rows, in their order; of equal ones the first.

    Rows of like lengths are laid side by side and cut at their own threshold: sorting them would take ten
    times as long. indptr: rows of a CSR matrix; each asked for holds more than `width`.
    """
    lengths = np.diff(indptr)[rows]
    found = [np.zeros(0, np.int64)]
    bits = np.frexp(lengths - 1)[1]  # 2 ** bits is room enough
    for room in np.unique(bits).tolist():
        alike, span = rows[bits == room], np.arange(2**room)
        step = max(BLOCK >> room, 1)
        for start in range(0, len(alike), step):
            some = alike[start : start + step]
            at = indptr[some, None].astype(np.int64) + span  # (rows, room)
            held = at < indptr[some + 1, None]
            table = np.where(held, weights[np.minimum(at, len(weights) - 1)], np.float32(-1.0))
            least = np.partition(table, 2**room - width, axis=1)[:, 2**room - width, None]
            above, even = table > least, table == least
            left = width - above.sum(axis=1, keepdims=True)
            found.append(at[above | (even & (np.cumsum(even, axis=1) <= left))])
    return np.sort(np.concatenate(found))


def _summed(
    ones: IntArray, others: IntArray, weights: DoubleArray, n: int
) -> tuple[LongArray, IntArray, FloatArray]:
    keys = ones.astype(np.int64) * n + others
    keys, order = in_order(keys)
    starts = np.flatnonzero(first_of_run(keys))
    sums = np.add.reduceat(weights[order], starts).astype(np.float32)
    return keys[starts] // n, (keys[starts] % n).astype(np.int32), sums
