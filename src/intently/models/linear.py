"""Closed-form linear models: recency-weighted past -> next items, and EASE as a setting.

    next   B = (X'X + l2 I)^-1 X'Y     row of X: sum over earlier moments of decay ** distance,
                                       row of Y: the items of the moment that came next
    self   B = I - P diag(1 / diag P)  P = (X'X + l2 I)^-1, row of X: all that a user met

`next` is the family of SLIT in Choi et al., "Session-aware linear item-item models", WWW 2021; we
differ: only the one next moment is a target, earlier moments weigh less geometrically instead of by
minutes, products of one basket share a moment, and one ridge holds for all. `self` is EASE (Steck,
WWW 2019), asked with the same recency weights. Both are one Cholesky factor and its inverse, in place.
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from intently import progress
from intently.data import Dataset, Histories
from intently.errors import InputError
from intently.models.base import Recommender, State
from intently.models.moments import next_pairs
from intently.models.popular import share_of_best
from intently.models.space import Choice, Float, Space
from intently.schema import FloatArray, LongArray

FILLER: Final = 1e-6
"""Score of the most popular item when nothing speaks for it; predictions are about 0.01."""

DENSE_FROM: Final = 0.02
"""Share of pairs from which a dense product is faster than a sparse one."""

BLOCK: Final = 1024


class Linear(Recommender):
    """score(j) = sum over the history's items i of decay ** steps_back(i) * B[i, j].

    B is solved exactly over the `max_items` most frequent items (memory: 4 * max_items^2 bytes, time:
    max_items^3); an item beyond them can be recommended too, and as part of a history speaks for
    what followed it. On Amazon Beauty 6,000 exact items of 12,101 rank as well as all, in a quarter of
    the time. Of each row of B the `n_kept` largest entries by size are kept.
    """

    name = "linear"
    SPACE: ClassVar[Space] = {
        "decay": Float(0.3, 1.0),
        "l2": Float(1.0, 3_000.0, log=True),
        "target": Choice(("next", "self")),
    }

    def __init__(
        self,
        decay: float = 0.7,
        l2: float = 100.0,
        target: str = "next",
        max_items: int = 6_000,
        n_kept: int = 300,
    ) -> None:
        """decay: (0, 1], weight of one moment earlier. l2: above 0, in events. target: next or self."""
        super().__init__()
        if not 0 < decay <= 1:
            raise InputError(f"decay must be in (0, 1], got {decay}", field="decay")
        if not 0 < l2 < float("inf"):
            raise InputError(f"l2 must be above 0, got {l2}", field="l2")
        if target not in ("next", "self"):
            raise InputError(f"target must be 'next' or 'self', got {target!r}", field="target")
        for field, value in (("max_items", max_items), ("n_kept", n_kept)):
            if value < 1:
                raise InputError(f"{field} must be at least 1, got {value}", field=field)
        self.decay = decay
        self.l2 = l2
        self.target = target
        self.max_items = max_items
        self.n_kept = n_kept
        self.popularity = np.zeros(0, np.float32)  # (n_items,), 0 to 1
        self.weights = sparse.csr_matrix((0, 0), dtype=np.float32)  # B, (n_items, n_items)

    def _fit(self, dataset: Dataset) -> None:
        self.popularity = share_of_best(dataset)
        histories = dataset.histories()
        if self.target == "next":
            past, following = next_pairs(histories, dataset.n_items, self.decay)
        else:
            past = histories.matrix(dataset.n_items)
            past.data[:] = 1.0
            following = past
        heard = np.bincount(past.indices, minlength=dataset.n_items)
        frequent = np.sort(np.argsort(-heard, kind="stable")[: self.max_items])
        frequent = frequent[heard[frequent] > 0].astype(np.int64)
        exact = self._solve(past[:, frequent], following, frequent)
        rest = np.setdiff1d(np.flatnonzero(heard), frequent).astype(np.int64)
        self.weights = _place(dataset.n_items, [(frequent, exact), (rest, self._rest(past, following, rest))])

    def _solve(
        self, past: sparse.csr_matrix, following: sparse.csr_matrix, rows: LongArray
    ) -> sparse.csr_matrix:
        """Rows of B for the items `rows`, which are the columns of `past`."""
        n = past.shape[1]
        if n == 0:
            return sparse.csr_matrix((0, following.shape[1]), dtype=np.float32)
        inverse = ridge_inverse(past, self.l2)
        if self.target == "self":
            blocks = (_ease_rows(inverse, start) for start in range(0, n, BLOCK))
        else:
            after = (past.T @ following).tocsr()  # X'Y
            dense = after.nnz > DENSE_FROM * after.shape[0] * after.shape[1]
            blocks = (_next_rows(inverse, start, after, dense) for start in range(0, n, BLOCK))
        with progress.track("solving for the next item", n) as advance:
            parts = []
            for block in blocks:
                parts.append(largest(block, self.n_kept))
                advance(block.shape[0])
        solved = sparse.vstack(parts, format="csr", dtype=np.float32)
        if self.target == "next":
            return solved
        wide = (solved.data, rows[solved.indices], solved.indptr)  # its columns are the same items
        return sparse.csr_matrix(wide, shape=(n, following.shape[1]))

    def _rest(
        self, past: sparse.csr_matrix, following: sparse.csr_matrix, rows: LongArray
    ) -> sparse.csr_matrix:
        """Rows of B for rare items: each on its own, as if it were the only one in every past.

        EASE has none: an item beyond `max_items` says nothing there.
        """
        parts = [sparse.csr_matrix((0, following.shape[1]), dtype=np.float32)]
        if self.target == "self":
            return sparse.csr_matrix((len(rows), following.shape[1]), dtype=np.float32)
        for start in range(0, len(rows), BLOCK):
            own = past[:, rows[start : start + BLOCK]].tocsc()
            size = np.asarray(own.multiply(own).sum(axis=0)).ravel() + self.l2
            alone = sparse.diags((1.0 / size).astype(np.float32)) @ (own.T @ following)
            parts.append(largest_stored(alone.tocsr(), self.n_kept))
        return sparse.vstack(parts, format="csr", dtype=np.float32)

    def _scores(self, histories: Histories) -> FloatArray:
        weights = (self.decay**histories.steps_back).astype(np.float32)
        scores = (histories.matrix(self.n_items, weights) @ self.weights).toarray()
        out: FloatArray = scores.astype(np.float32) + np.float32(FILLER) * self.popularity
        return out

    def _state(self) -> State:
        return {
            "popularity": self.popularity,
            "weight_values": self.weights.data,
            "weight_items": self.weights.indices.astype(np.int32),
            "weight_indptr": self.weights.indptr.astype(np.int64),
        }

    def _restore(self, state: State) -> None:
        self.popularity = state["popularity"]
        parts = (state["weight_values"], state["weight_items"], state["weight_indptr"])
        self.weights = sparse.csr_matrix(parts, shape=(self.n_items, self.n_items))


def ridge_inverse(past: sparse.csr_matrix, l2: float) -> FloatArray:
    """(X'X + l2 I)^-1, (n, n) float32, symmetric; one matrix in place. Raises InputError if singular."""
    n = past.shape[1]
    gram = np.zeros((n, n), np.float32, order="F")
    turned = past.T.tocsr()
    for start in range(0, n, BLOCK):
        gram[:, start : start + BLOCK] = (turned @ past[:, start : start + BLOCK]).toarray()
    gram[np.diag_indices(n)] += np.float32(l2)
    factor, failed = lapack.spotrf(gram, lower=1, clean=0, overwrite_a=1)
    if failed:
        raise InputError(f"l2 = {l2} is too small for this data to be solved", field="l2", hint="raise l2")
    inverse, _ = lapack.spotri(factor, lower=1, overwrite_c=1)
    for start in range(0, n, BLOCK):  # the lower half is right: mirror it
        stop = min(start + BLOCK, n)
        inverse[start:stop, stop:] = inverse[stop:, start:stop].T
        corner = inverse[start:stop, start:stop]
        upper = np.triu_indices(stop - start, 1)
        corner[upper] = corner.T[upper]
    out: FloatArray = inverse
    return out


def _next_rows(inverse: FloatArray, start: int, after: sparse.csr_matrix, dense: bool) -> FloatArray:
    """(block, n_items): rows of P X'Y."""
    rows = inverse[:, start : start + BLOCK]  # symmetric: columns are rows
    if not dense:
        product: FloatArray = (after.T @ rows).T
        return product
    out = np.empty((rows.shape[1], after.shape[1]), np.float32)
    by_column = after.tocsc()
    for first in range(0, after.shape[1], BLOCK):
        out[:, first : first + BLOCK] = rows.T @ by_column[:, first : first + BLOCK].toarray()
    return out


def _ease_rows(inverse: FloatArray, start: int) -> FloatArray:
    """(block, n): rows of I - P diag(1 / diag P), whose diagonal is zero."""
    scaled = -inverse[:, start : start + BLOCK].T / np.diag(inverse)
    rows: FloatArray = np.asarray(scaled, np.float32)
    rows[np.arange(len(rows)), start + np.arange(len(rows))] = 0.0
    return rows


def largest(block: FloatArray, k: int) -> sparse.csr_matrix:
    """Sparse rows with the `k` entries of largest size of each row; zeros are not stored."""
    size = np.abs(block)
    if k < block.shape[1]:
        chosen = np.argpartition(size, block.shape[1] - k, axis=1)[:, -k:]
        kept = np.zeros(block.shape, bool)
        np.put_along_axis(kept, chosen, True, axis=1)
        kept &= size > 0
    else:
        kept = size > 0
    rows, columns = np.nonzero(kept)
    indptr = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
    return sparse.csr_matrix((block[rows, columns], columns.astype(np.int32), indptr), shape=block.shape)


def largest_stored(rows: sparse.csr_matrix, k: int) -> sparse.csr_matrix:
    """The same rows with the `k` stored entries of largest size of each."""
    if rows.nnz == 0 or int(np.diff(rows.indptr).max()) <= k:
        return rows
    picks = []
    for start, stop in zip(rows.indptr[:-1], rows.indptr[1:], strict=True):
        if stop - start > k:
            order = np.argpartition(np.abs(rows.data[start:stop]), stop - start - k)[-k:]
            picks.append(start + np.sort(order))
        else:
            picks.append(np.arange(start, stop))
    kept = np.concatenate(picks)
    indptr = np.concatenate([[0], np.cumsum([len(pick) for pick in picks])])
    return sparse.csr_matrix((rows.data[kept], rows.indices[kept], indptr), shape=rows.shape)


def _place(n_items: int, parts: list[tuple[LongArray, sparse.csr_matrix]]) -> sparse.csr_matrix:
    """One square matrix from rows that belong to the given items; other rows are empty."""
    stacked = sparse.vstack([rows for _, rows in parts], format="csr")
    owner = np.concatenate([items for items, _ in parts])
    order = np.full(n_items, -1, np.int64)
    order[owner] = np.arange(len(owner))
    picks = np.flatnonzero(order >= 0)
    chooser = sparse.csr_matrix(
        (np.ones(len(picks), np.float32), (picks, order[picks])), shape=(n_items, len(owner))
    )
    out = (chooser @ stacked).tocsr()
    out.sort_indices()
    return out
