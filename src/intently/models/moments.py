"""Histories as moments: what was met together, and what came before it.

Products of one basket share a moment; the order inside it means nothing.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy import sparse

from intently.data import Histories
from intently.schema import LongArray

LEAST_WEIGHT: Final = 1e-3
MOST_MOMENTS: Final = 50


def next_pairs(
    histories: Histories, n_items: int, decay: float, least: float = LEAST_WEIGHT
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """(X, Y), one row a moment that has an earlier one: the weighted past, and what was met then.

    X: decay ** (distance - 1) summed over earlier moments; Y: ones. Both (rows, n_items) float32.
    Moments that would weigh less than `least`, or are more than MOST_MOMENTS back, are left out.
    """
    met, age = moments(histories, n_items)  # (moments, items); moments of the same user before it
    lags = [
        (distance, decay ** (distance - 1))
        for distance in range(1, int(min(age.max(initial=0), MOST_MOMENTS)) + 1)
        if decay ** (distance - 1) >= least
    ]
    bands = [np.flatnonzero(age >= distance) for distance, _ in lags]
    rows = np.concatenate([np.zeros(0, np.int64), *bands])
    columns = np.concatenate([np.zeros(0, np.int64), *(b - d for b, (d, _) in zip(bands, lags, strict=True))])
    values = np.concatenate(
        [np.zeros(0), *(np.full(len(b), w) for b, (_, w) in zip(bands, lags, strict=True))]
    )
    earlier = sparse.csr_matrix((values.astype(np.float32), (rows, columns)), shape=(len(age), len(age)))
    kept = np.flatnonzero(age >= 1)
    return (earlier[kept] @ met).tocsr(), met[kept]


def moments(histories: Histories, n_items: int) -> tuple[sparse.csr_matrix, LongArray]:
    """What was met at each distinct moment of each user, and how many moments that user had before.

    (n_moments, n_items) of ones, oldest first within a user, users in order; (n_moments,).
    """
    rows = histories.rows
    back = histories.steps_back
    new = np.ones(len(rows), bool)
    new[1:] = (rows[1:] != rows[:-1]) | (back[1:] != back[:-1])
    moment = np.cumsum(new) - 1
    indptr = np.append(np.flatnonzero(new), len(rows))
    ones = np.ones(len(rows), np.float32)
    met = sparse.csr_matrix((ones, histories.items.copy(), indptr), (len(indptr) - 1, n_items))
    met.sum_duplicates()
    met.data[:] = 1.0
    first = np.flatnonzero(new)
    start_of_user = moment[histories.indptr[:-1][rows[first]]] if len(first) else first
    return met, (moment[first] - start_of_user).astype(np.int64)
