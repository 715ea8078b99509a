"""Items met by the same users: item-kNN with recency on both sides.

Cosine item-kNN (Sarwar et al., WWW 2001; Deshpande & Karypis, TOIS 2004), and we differ three times.
A pair counts by how far apart its two items were met, and less when the neighbour came first; the
cosine is shrunk, as two items that met once are no twins; and at the time of asking the history's
items weigh by how many moments ago they were met. Where we measured it, that is worth a third more
than the plain cosine with recency, at the same cost.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Final

import numpy as np
from scipy import sparse

from intently import progress
from intently.data import Dataset, Histories
from intently.errors import InputError
from intently.models.base import Recommender, State
from intently.models.moments import moments, next_pairs
from intently.models.popular import share_of_best
from intently.models.products import decayed, dense_product
from intently.models.space import Float, Int, Space
from intently.schema import DoubleArray, FloatArray

FILLER: Final = 1e-6
"""Score of the most popular item when nothing speaks for it."""

LONGEST: Final = 1000
"""Latest events of one user that count: a bot with 100,000 would take 10^10 steps and teach nothing."""

LEAST: Final = 0.02
"""Pairs that would count less, for their distance, are not counted."""

CELLS: Final = 4_000_000
"""Pairs of items held at once while fitting."""


class CoVisit(Recommender):
    """score(j) = sum over the history's items i of decay ** steps_back(i) * near(i, j).

        near(i, j)  = n(i, j) / sqrt((n(i) + shrink) * (n(j) + shrink))
        n(i, j)     = sum over users and pairs of their moments with i and j:
                      gap ** (distance - 1) if i came first, backward times that if j did, 1 at once

    n(i) counts the moments with i. With gap = backward = 1 and shrink = 0 it is the plain cosine.
    Only the `n_neighbours` nearest items of each item are kept, so that memory grows with the
    catalogue and not with its square. Behind the evidence stands popularity.
    """

    name = "covisit"
    SPACE: ClassVar[Space] = {
        "decay": Float(0.3, 1.0),
        "gap": Float(0.3, 1.0),
        "backward": Float(0.0, 1.0),
        "shrink": Float(0.1, 300.0, log=True),
        "n_neighbours": Int(50, 1_000, log=True),
    }

    def __init__(
        self,
        decay: float = 0.6,
        gap: float = 0.8,
        backward: float = 0.5,
        shrink: float = 30.0,
        n_neighbours: int = 500,
    ) -> None:
        """decay, gap: (0, 1]; backward: 0 to 1; shrink: moments, 0 or more; n_neighbours: per item."""
        super().__init__()
        for field, value in (("decay", decay), ("gap", gap)):
            if not 0 < value <= 1:
                raise InputError(f"{field} must be in (0, 1], got {value}", field=field)
        if not 0 <= backward <= 1:
            raise InputError(f"backward must be in [0, 1], got {backward}", field="backward")
        if not 0 <= shrink < float("inf"):
            raise InputError(f"shrink must be 0 or more, got {shrink}", field="shrink")
        if n_neighbours < 1:
            raise InputError(f"n_neighbours must be at least 1, got {n_neighbours}", field="n_neighbours")
        self.decay = decay
        self.gap = gap
        self.backward = backward
        self.shrink = shrink
        self.n_neighbours = n_neighbours
        self.popularity = np.zeros(0, np.float32)  # (n_items,), 0 to 1
        self.near = sparse.csr_matrix((0, 0), dtype=np.float32)  # (n_items, n_items)

    def _fit(self, dataset: Dataset) -> None:
        self.popularity = share_of_best(dataset)
        histories = dataset.histories()
        self.near = item_graph(
            histories, dataset.n_items, self.gap, self.backward, self.shrink, self.n_neighbours
        )

    def _scores(self, histories: Histories) -> FloatArray:
        scores = dense_product(decayed(histories, self.n_items, self.decay), self.near)
        scores += np.float32(FILLER) * self.popularity
        return scores

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


def item_graph(
    histories: Histories, n_items: int, gap: float, backward: float, shrink: float, k: int
) -> sparse.csr_matrix:
    """(n_items, n_items): near(i, j) of the `k` nearest j of each i, as CoVisit counts it."""
    recent = histories.last(LONGEST)
    together, _ = moments(recent, n_items)
    earlier, later = next_pairs(recent, n_items, gap, LEAST)
    counts = np.bincount(together.indices, minlength=n_items).astype(np.float64)
    scale = 1.0 / np.sqrt(np.maximum(counts + shrink, 1.0))
    products = [(together, together, 1.0), (earlier, later, 1.0), (later, earlier, backward)]
    return nearest(products, scale, k)


Product = tuple[sparse.csr_matrix, sparse.csr_matrix, float]


def nearest(products: list[Product], scale: DoubleArray, k: int) -> sparse.csr_matrix:
    """diag(scale) * sum of weight * A'B * diag(scale), the `k` largest of each row, no diagonal.

    products: (A, B, weight), both of A and B (rows, n_items). Done in blocks of about CELLS products.
    """
    n_items = len(scale)
    used = [(left.T.tocsr(), np.float32(weight)) for left, _, weight in products if weight > 0]
    right = sparse.vstack([rows for _, rows, weight in products if weight > 0], format="csr")
    scale_of = scale.astype(np.float32)
    parts = []
    with progress.track("comparing items", n_items) as advance:
        for start, stop in pairwise(_blocks([turned for turned, _ in used], right)):
            left = sparse.hstack([turned[start:stop] * weight for turned, weight in used], format="csr")
            block = left @ right  # one product in place of a sum of three
            block.data *= np.repeat(scale_of[start:stop], np.diff(block.indptr)) * scale_of[block.indices]
            parts.append(largest(block, start, k))
            advance(stop - start)
    return sparse.vstack(parts, format="csr", dtype=np.float32)


def _blocks(left: list[sparse.csr_matrix], right: sparse.csr_matrix) -> list[int]:
    """Ends of consecutive ranges of rows of `left`, side by side, that cost about CELLS products each.

    A row costs as many products as the rows of `right` that it names have entries.
    """
    n_items = left[0].shape[0]
    entries = np.diff(right.indptr).astype(np.int64)
    cost, first = np.zeros(n_items + 1, np.int64), 0
    for part in left:
        named = sparse.csr_matrix((np.ones(part.nnz, np.int8), part.indices, part.indptr), part.shape)
        cost[1:] += np.cumsum(named @ entries[first : first + part.shape[1]])
        first += part.shape[1]
    stops = [0]
    while stops[-1] < n_items:
        stop = int(np.searchsorted(cost, cost[stops[-1]] + CELLS, side="right")) - 1
        stops.append(min(max(stop, stops[-1] + 1), n_items))
    return stops


def largest(block: sparse.csr_matrix, offset: int, k: int) -> sparse.csr_matrix:
    """The `k` largest entries of each row, without item offset + row itself; ties to smaller ids."""
    indptr, lengths = block.indptr, np.diff(block.indptr)
    own = np.repeat(offset + np.arange(len(lengths), dtype=np.int32), lengths)
    values = np.where(block.indices == own, np.float32(-1.0), block.data)
    least = np.zeros(len(lengths), np.float32)  # what an entry must reach
    for row in np.flatnonzero(lengths > k):
        some = values[indptr[row] : indptr[row + 1]].copy()
        some.partition(len(some) - k)
        least[row] = max(some[len(some) - k], 0.0)
    bar = np.repeat(least, lengths)
    keep = (values >= bar) & (values > 0)
    kept = np.concatenate([[0], np.cumsum(keep)])[indptr]
    for row in np.flatnonzero(np.diff(kept) > k):  # equal entries at the edge
        span = slice(indptr[row], indptr[row + 1])
        level = np.flatnonzero(values[span] == least[row])
        spare = int(kept[row + 1] - kept[row]) - k
        order = np.argsort(block.indices[span][level])
        keep[span.start + level[order[len(order) - spare :]]] = False
    indptr = np.concatenate([[0], np.cumsum(keep)])[indptr].astype(np.int64)
    out = sparse.csr_matrix((block.data[keep], block.indices[keep], indptr), shape=block.shape)
    out.sort_indices()
    return out
