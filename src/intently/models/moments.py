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

ROWS: Final = 100_000
"""Moments whose pasts are gathered at once."""


def next_pairs(
    histories: Histories, n_items: int, decay: float, least: float = LEAST_WEIGHT
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """(X, Y), one row a moment that has an earlier one: the weighted past, and what was met then.

    X: decay ** (distance - 1) summed over earlier moments; Y: ones. Both (rows, n_items) float32.
    Moments that would weigh less than `least`, or are more than MOST_MOMENTS back, are left out. An item
    that was met at several of them stands as often in X, which adds it up.
    """
    met, age = moments(histories, n_items)  # (moments, items); moments of the same user before it
    weights = decay ** np.arange(MOST_MOMENTS)
    weights = weights[weights >= least].astype(np.float32)
    kept = np.flatnonzero(age >= 1)
    start = met.indptr[kept - np.minimum(age[kept], len(weights))]  # the past of a moment lies in one piece
    lengths = (met.indptr[kept] - start).astype(np.int64)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    items = np.empty(indptr[-1], np.int32)
    values = np.empty(indptr[-1], np.float32)
    moment_of = np.repeat(np.arange(len(age), dtype=np.int32), np.diff(met.indptr))
    for first in range(0, len(kept), ROWS):
        part = slice(first, min(first + ROWS, len(kept)))
        inside = slice(indptr[part.start], indptr[part.stop])
        shift = np.repeat(start[part] - indptr[part.start : part.stop], lengths[part])
        places = np.arange(inside.start, inside.stop) + shift
        items[inside] = met.indices[places]
        values[inside] = weights[np.repeat(kept[part] - 1, lengths[part]) - moment_of[places]]
    return sparse.csr_matrix((values, items, indptr), (len(kept), n_items)), met[kept]


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
