"""What the users nearest to a history meet, without a dense table of users against users.

User-kNN over personal item frequencies (TIFU-kNN, Hu et al., SIGIR 2020). We differ: cosine in place of
Euclidean distance, and only each user's WIDE strongest items count, so that a table of thousands of users
takes megabytes and one answer a millisecond. A history knows no user id: a known user whose vector is nearly
its own is taken for the same user and says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from scipy import sparse

from intently.data import Histories
from intently.models.repeat import moments_met
from intently.schema import FloatArray, IntArray, LongArray

NEAR_COLUMNS: Final = ("near", "rare")
"""What `met` tells of an item, by all items and by rare ones, as columns of a pair."""

WIDE: Final = 100
"""Strongest items of a user that are kept."""

SELF: Final = 0.9
"""Cosine from which a known user is taken for the one who asks."""

KNOWN: Final = 20_000
"""Known users at most, drawn evenly."""


class Neighbours:
    """Who is near, and what they meet."""

    def __init__(self, tastes: sparse.csr_matrix, rarity: FloatArray, half_life_days: float, nearest: int):
        """tastes: (known, n_items), unit rows of decayed frequencies; rarity: (n_items,)."""
        self.tastes, self.rarity = tastes, rarity
        self.half_life_days, self.nearest = half_life_days, nearest
        self._by_item = tastes.T.tocsr()
        self._by_rare_item = _unit(_times(tastes, rarity)).T.tocsr()

    @classmethod
    def of(
        cls, histories: Histories, n_items: int, half_life_days: float, nearest: int, seed: int
    ) -> Neighbours:
        """From everyone who has a history; at most KNOWN of them."""
        known = np.flatnonzero(histories.lengths > 0)
        if len(known) > KNOWN:
            known = np.sort(np.random.default_rng(seed).permutation(known)[:KNOWN])
        met = moments_met(histories.select(known), n_items, half_life_days)
        buyers = np.bincount(met.indices, minlength=n_items)
        rarity = np.log(max(len(known), 1) / np.maximum(buyers, 1)).astype(np.float32)
        return cls(_unit(strongest(met, WIDE)), rarity, half_life_days, nearest)

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """What `restored` takes."""
        return {
            "rarity": self.rarity,
            "tastes": self.tastes.data,
            "tastes_at": self.tastes.indices.astype(np.int32),
            "tastes_ptr": self.tastes.indptr.astype(np.int64),
        }

    @classmethod
    def restored(
        cls, state: Mapping[str, np.ndarray[Any, Any]], n_items: int, half_life_days: float, nearest: int
    ) -> Neighbours:
        """What `state` told."""
        parts: tuple[Any, ...] = (state["tastes"], state["tastes_at"], state["tastes_ptr"])
        tastes = sparse.csr_matrix(parts, shape=(len(parts[2]) - 1, n_items))
        return cls(tastes, state["rarity"], half_life_days, nearest)

    def told(self, histories: Histories, rows: LongArray, items: IntArray) -> list[FloatArray]:
        """(pairs,) twice, as `met` says it of (row of `histories`, item); one history is quicker."""
        if len(histories) == 1:
            return [mean[items] for mean in self._met_by_one(histories)]
        return [values_at(met, rows, items) for met in self.met(histories)]

    def _met_by_one(self, history: Histories) -> list[FloatArray]:
        """What `met` says of one history, dense: its sums in the same order, without tables laid out anew."""
        asked = moments_met(history, self.tastes.shape[1], self.half_life_days)
        asked = _unit(strongest(asked, WIDE))
        at, each = _stored(self._by_item, asked.indices)
        users, means = self._by_item.indices[at], []
        rare = _unit(_times(asked, self.rarity))
        for weights, table in ((asked.data, self._by_item), (rare.data, self._by_rare_item)):
            cosines = np.zeros(self.tastes.shape[0], np.float32)
            np.add.at(cosines, users, np.repeat(weights, each) * table.data[at])
            means.append(self._mean_of_one(cosines))
        return means

    def _mean_of_one(self, cosines: FloatArray) -> FloatArray:
        near = np.flatnonzero((cosines > 0) & (cosines <= SELF))
        if len(near) > self.nearest:
            least = np.partition(cosines[near], -self.nearest)[-self.nearest]
            near = near[cosines[near] >= least]
            near = np.sort(near[np.argsort(-cosines[near], kind="stable")[: self.nearest]])
        mean = np.zeros(self.tastes.shape[1], np.float32)
        if len(near):
            weights = cosines[near]
            total = np.bincount(np.zeros(len(near), np.int64), weights).astype(np.float32)
            weights /= np.maximum(total, 1e-9)
            at, each = _stored(self.tastes, near)
            np.add.at(mean, self.tastes.indices[at], np.repeat(weights, each) * self.tastes.data[at])
        return mean

    def met(self, histories: Histories) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
        """Sparse (batch, n_items), twice: mean taste of the nearest, by all items and by rare ones."""
        asked = moments_met(histories, self.tastes.shape[1], self.half_life_days)
        asked = _unit(strongest(asked, WIDE))
        rare = _unit(_times(asked, self.rarity))
        both = sparse.vstack([asked @ self._by_item, rare @ self._by_rare_item], format="csr")
        means = self._mean(both)
        return means[: len(histories)], means[len(histories) :]

    def _mean(self, cosines: sparse.csr_matrix) -> sparse.csr_matrix:
        """Tastes of the nearest known users, weighted by their cosine."""
        near = cosines.tocsr()
        near.data[near.data > SELF] = 0.0
        near.eliminate_zeros()
        near = strongest(near, self.nearest)
        near.data /= np.maximum(_sums(near, near.data), 1e-9)[rows_of(near)]
        mean = (near @ self.tastes).tocsr()
        mean.sort_indices()
        return mean


def strongest(table: sparse.csr_matrix, most: int) -> sparse.csr_matrix:
    """Only the `most` largest entries of each row; ties go to the smaller column."""
    lengths = np.diff(table.indptr)
    able = np.ones(table.nnz, bool)  # to be among them: only these are sorted
    for row in np.flatnonzero(lengths > most).tolist():
        here = slice(table.indptr[row], table.indptr[row + 1])
        able[here] = table.data[here] >= np.partition(table.data[here], -most)[-most]
    left = np.flatnonzero(able)
    rows = rows_of(table)[left]
    order = np.lexsort((table.indices[left], -table.data[left], rows))
    first = np.searchsorted(rows, np.arange(len(lengths)))
    kept = left[np.sort(order[np.arange(len(rows)) - first[rows] < most])]
    ends = np.concatenate([[0], np.cumsum(np.minimum(lengths, most))])
    out = sparse.csr_matrix((table.data[kept], table.indices[kept], ends), shape=table.shape)
    out.sort_indices()
    return out


def _stored(table: sparse.csr_matrix, rows: IntArray | LongArray) -> tuple[LongArray, LongArray]:
    """(places of all entries of these rows, row after row; how many each has)."""
    begin = table.indptr[rows].astype(np.int64)
    each = table.indptr[rows + 1] - begin
    ends = np.cumsum(each)
    return np.arange(int(each.sum())) + np.repeat(begin - ends + each, each), each


def rows_of(table: sparse.csr_matrix) -> LongArray:
    """The row of each stored entry."""
    return np.repeat(np.arange(table.shape[0], dtype=np.int64), np.diff(table.indptr))


def values_at(table: sparse.csr_matrix, rows: LongArray, items: IntArray) -> FloatArray:
    """Entries at (row, item) pairs, 0 where there is none; the table's indices must be sorted."""
    keys = rows_of(table) * table.shape[1] + table.indices
    wanted = rows.astype(np.int64) * table.shape[1] + items
    if len(keys) == 0:
        return np.zeros(len(wanted), np.float32)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found: FloatArray = np.where(keys[at] == wanted, table.data[at], 0.0).astype(np.float32)
    return found


def _unit(table: sparse.csr_matrix) -> sparse.csr_matrix:
    out = table.astype(np.float32)
    squares = _sums(out, out.data**2)
    out.data /= np.sqrt(np.maximum(squares, 1e-20))[rows_of(out)]
    return out


def _sums(table: sparse.csr_matrix, values: FloatArray) -> FloatArray:
    """(rows,) sums of values that lie as the table's entries do; in place of scipy's, a tenth as long."""
    return np.bincount(rows_of(table), values, table.shape[0]).astype(np.float32)


def _times(table: sparse.csr_matrix, weights: FloatArray) -> sparse.csr_matrix:
    out = table.copy()
    out.data = out.data * weights[out.indices]
    return out
