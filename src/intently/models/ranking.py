"""Scores to ranked lists: one top-k for all models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from intently.data import Histories
from intently.schema import FloatArray, IntArray

LONG: Final = 30_000
STRIDE: Final = 16
"""Rows of more places are looked at through every so many of them first."""


@dataclass(frozen=True)
class Ranked:
    """items, scores: (batch, k), best first; -1 and -inf where a list is shorter."""

    items: IntArray
    scores: FloatArray

    def __len__(self) -> int:
        return len(self.items)

    def lists(self) -> list[list[int]]:
        """Plain lists without the padding."""
        return [[int(i) for i in row if i >= 0] for row in self.items]

    @staticmethod
    def concat(parts: Sequence[Ranked], k: int) -> Ranked:
        """Batches one after the other; (0, k) without any."""
        if not parts:
            return Ranked(np.zeros((0, k), np.int32), np.zeros((0, k), np.float32))
        return Ranked(np.concatenate([p.items for p in parts]), np.concatenate([p.scores for p in parts]))


def rank(
    scores: FloatArray,
    histories: Histories,
    k: int,
    repeats: bool,
    exclude: Sequence[Sequence[int]] | None = None,
    only: Sequence[int] | None = None,
) -> Ranked:
    """Mask, then take the best `k` of each row; ties go to the smaller item id.

    scores: (batch, n_items); the caller's array is not changed.
    """
    masked = np.array(scores, dtype=np.float32)
    masked[np.isnan(masked)] = -np.inf
    if not repeats:
        masked[histories.rows, histories.items] = -np.inf
    for row, barred in enumerate(exclude or ()):
        masked[row, list(barred)] = -np.inf
    if only is not None:
        allowed = np.zeros(masked.shape[1], bool)
        allowed[list(only)] = True
        masked[:, ~allowed] = -np.inf
    return top_k(masked, k)


def top_k(scores: FloatArray, k: int) -> Ranked:
    """The best `k` finite scores of each row; padded with -1 and -inf to exactly k columns."""
    batch, n = scores.shape
    width = min(k, n)
    items = np.full((batch, k), -1, np.int32)
    best = np.full((batch, k), -np.inf, np.float32)
    if width == 0:
        return Ranked(items, best)
    for row in range(batch):
        there = scores[row] > -np.inf
        most = 2 * np.count_nonzero(there) > max(n, 2 * width)
        if most and not np.isnan(scores[row].max()):  # no need to pick them out first
            pool = np.flatnonzero(scores[row] >= enough(scores[row], width))
        else:  # partitioning millions of equal -inf would be slow
            pool = np.flatnonzero(there)  # ascending ids: ties are stable
            if len(pool) > width:
                pooled = scores[row, pool]
                pool = pool[pooled >= np.partition(pooled, len(pool) - width)[len(pool) - width]]
        order = pool[np.argsort(-scores[row, pool], kind="stable")[:width]]
        order = order[np.isfinite(scores[row, order])]
        items[row, : len(order)] = order
        best[row, : len(order)] = scores[row, order]
    return Ranked(items, best)


def enough(row: FloatArray, k: int) -> np.float32:
    """A score that at least `k` of a row without nan reach, and seldom more than some times as many.

    Of a long row it is read off every STRIDE-th place: to put all of it in two halves costs several times as
    much as to look for what reaches a bound.
    """
    n = len(row)
    if n > LONG:
        part = row[::STRIDE]
        place = len(part) - 2 * (k // STRIDE) - STRIDE
        if place > 0:
            bound: np.float32 = np.partition(part, place)[place]
            if bound > -np.inf and np.count_nonzero(row >= bound) >= k:
                return bound
    exact: np.float32 = np.partition(row, n - k)[n - k]
    return exact
