"""The algebra of closed-form item models: one inverse in place, its rows times X'Y, the largest entries.

Everything is done in blocks of rows, so that beside the inverse itself (4 n^2 bytes) little is held.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from intently.errors import InputError
from intently.schema import FloatArray, LongArray

DENSE_FROM: Final = 0.1
"""Share of pairs from which a dense product is faster than a sparse one."""

BLOCK: Final = 256
"""Rows that are dense at once: at 12,000 items 12 MB, which the last cache still holds."""


def ridge_inverse(gram: FloatArray, l2: float) -> FloatArray:
    """(X'X + l2 I)^-1 from X'X, (n, n) float32, symmetric, in Fortran order; overwrites `gram`.

    Raises InputError if it is singular.
    """
    n = len(gram)
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


def next_rows(inverse: FloatArray, after: sparse.csr_matrix) -> Iterator[FloatArray]:
    """Rows of P X'Y, (up to BLOCK, n_items) at a time; P is symmetric, `after` is X'Y."""
    n, width = after.shape
    dense = after.nnz > DENSE_FROM * n * width
    turned = after.T.tocsr()  # (n_items, n)
    for start in range(0, n, BLOCK):
        rows = np.ascontiguousarray(inverse[:, start : start + BLOCK])  # symmetric: columns are rows
        if dense:
            out = np.empty((rows.shape[1], width), np.float32)
            for first in range(0, width, BLOCK):
                stop = min(first + BLOCK, width)
                out[:, first:stop] = (turned[first:stop].toarray() @ rows).T
            yield out
        else:
            yield np.ascontiguousarray((turned @ rows).T)


def ease_rows(inverse: FloatArray) -> Iterator[FloatArray]:
    """Rows of I - P diag(1 / diag P), whose diagonal is zero, (up to BLOCK, n) at a time."""
    own = np.diag(inverse)
    for start in range(0, len(inverse), BLOCK):
        rows = np.asarray(inverse[:, start : start + BLOCK].T / -own, np.float32)
        rows[np.arange(len(rows)), start + np.arange(len(rows))] = 0.0
        yield rows


def largest(block: FloatArray, k: int) -> sparse.csr_matrix:
    """Sparse rows with the `k` entries of largest size of each row; zeros are not stored.

    >>> largest(np.array([[0.5, -2.0, 0.0], [1.0, 1.0, 1.0]], np.float32), 2).toarray().tolist()
    [[0.5, -2.0, 0.0], [1.0, 1.0, 0.0]]
    """
    size = np.abs(block)
    kept = size > 0
    if k < block.shape[1]:
        least = np.partition(size, block.shape[1] - k, axis=1)[:, block.shape[1] - k]  # (rows,)
        kept &= size >= least[:, None]
        for row in np.flatnonzero(kept.sum(axis=1) > k):  # equal sizes at the edge: the first ones stay
            level = np.flatnonzero(kept[row] & (size[row] == least[row]))
            kept[row, level[len(level) - (int(kept[row].sum()) - k) :]] = False
    places = np.flatnonzero(kept.ravel())
    rows, columns = np.divmod(places, block.shape[1])
    indptr = np.searchsorted(rows, np.arange(len(block) + 1))
    return sparse.csr_matrix((block.ravel()[places], columns.astype(np.int32), indptr), shape=block.shape)


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


def place(n_items: int, parts: list[tuple[LongArray, sparse.csr_matrix]]) -> sparse.csr_matrix:
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
