"""Batches of texts of similar length: less padding, and still a new order every epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from intently.errors import InputError
from intently.schema import IntArray

_POOL = 50  # batches that are sorted by length together


def bucketed(lengths: Sequence[int] | IntArray, batch_size: int, seed: int, epoch: int) -> list[IntArray]:
    """Every row once, in batches of at most `batch_size` rows of similar length, in a random order.

    lengths: tokens (or any measure of work) of each row. Rows are shuffled, cut into pools of 50 batches
    and sorted by length inside their pool only, so that two epochs rarely see the same batch twice. The
    same (seed, epoch) gives the same batches.

    >>> [rows.tolist() for rows in bucketed([9, 1, 8, 2], 2, seed=1, epoch=0)]
    [[1, 3], [2, 0]]
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be 1 or more, got {batch_size}", field="batch_size")
    rng = np.random.default_rng([seed, epoch])
    size = np.asarray(lengths)
    order = rng.permutation(len(size)).astype(np.int32)
    pool = batch_size * _POOL
    found: list[IntArray] = []
    for start in range(0, len(order), pool):
        rows = order[start : start + pool]
        rows = rows[np.argsort(size[rows], kind="stable")]
        found += [rows[at : at + batch_size] for at in range(0, len(rows), batch_size)]
    return [found[at] for at in rng.permutation(len(found))]
