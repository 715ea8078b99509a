"""Ranking metrics, one value a user, over the whole batch at once.

Everything starts from `hits`: which places of the ranked lists hold an item of the user's truth. The
truth is ragged in the layout that `Dataset.baskets` gives: user `b` really took the distinct items
`truth[indptr[b]:indptr[b+1]]`. A user without any truth has no defined value and gets NaN, so that a
mean that forgot to leave such users out is NaN and not quietly too low.

Definitions (binary relevance, |T| = size of the truth, whole catalogue ranked, k places):

    hit        1 if any of the k places is right
    recall     right places / |T|
    precision  right places / k            (a list shorter than k pays for its empty places)
    ndcg       sum over right places r of 1 / log2(r + 1), divided by that of min(k, |T|) right ones
    mrr        1 / rank of the first right place, 0 if none
    map        sum over right places r of precision@r, divided by min(k, |T|)
    coverage   share of the catalogue that is in anyone's list
    novelty    mean self-information -log2 p(item) of the listed items, in bits

NDCG: Järvelin & Kekäläinen, TOIS 2002. Novelty: Zhou et al., PNAS 2010; we add one to each item's
count, so that an item nobody met has a finite value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from intently.errors import InputError
from intently.schema import BoolArray, DoubleArray, IntArray, LongArray


def hits(items: IntArray, indptr: LongArray, truth: IntArray) -> BoolArray:
    """(batch, k) bool: place j of list b holds an item of b's truth; padding (-1) never does.

    items: (batch, k), best first, unique in a row, -1 where a list is shorter.
    indptr, truth: (batch + 1,) and the distinct items of each user.

    >>> hits(np.array([[7, 3, -1], [2, 5, 9]]), np.array([0, 2, 3]), np.array([3, 8, 2])).astype(int)
    array([[0, 1, 0],
           [1, 0, 0]])
    """
    if len(indptr) != len(items) + 1:
        raise InputError(f"{len(items)} ranked lists but truth for {len(indptr) - 1} users")
    width = int(max(items.max(initial=-1), truth.max(initial=-1))) + 1
    rows = np.repeat(np.arange(len(items), dtype=np.int64), np.diff(indptr))
    right = np.sort(rows * width + truth)
    asked = np.arange(len(items), dtype=np.int64)[:, None] * width + items  # (batch, k)
    if len(right) == 0:
        return np.zeros(items.shape, bool)
    place = np.minimum(np.searchsorted(right, asked), len(right) - 1)
    found: BoolArray = (right[place] == asked) & (items >= 0)
    return found


def hit_rate(found: BoolArray, n_true: LongArray, k: int) -> DoubleArray:
    """1 where any of the first k places is right, (batch,).

    >>> hit_rate(np.array([[False, True], [False, False]]), np.array([2, 1]), 2)
    array([1., 0.])
    """
    return _defined(np.asarray(found[:, :k].any(axis=1), np.float64), n_true)


def recall(found: BoolArray, n_true: LongArray, k: int) -> DoubleArray:
    """Share of the truth that the first k places hold, (batch,).

    >>> recall(np.array([[True, False, True, False]]), np.array([4]), 4)
    array([0.5])
    """
    right: DoubleArray = found[:, :k].sum(axis=1, dtype=np.float64)
    return _defined(right / np.maximum(n_true, 1), n_true)


def precision(found: BoolArray, n_true: LongArray, k: int) -> DoubleArray:
    """Share of k places that are right, (batch,); divided by k even where the list is shorter.

    >>> precision(np.array([[True, False, False, False]]), np.array([4]), 4)
    array([0.25])
    """
    right: DoubleArray = found[:, :k].sum(axis=1, dtype=np.float64)
    return _defined(right / k, n_true)


def ndcg(found: BoolArray, n_true: LongArray, k: int) -> DoubleArray:
    """Discounted gain over the best possible one, (batch,).

    Right at rank 2 of two true items: (1 / log2 3) / (1 / log2 2 + 1 / log2 3) = 0.3869.

    >>> ndcg(np.array([[False, True, False]]), np.array([2]), 3).round(4)
    array([0.3869])
    """
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[1.0], np.cumsum(discounts)])  # [0] is not read: no truth is NaN
    gains = found[:, :k] @ discounts[: found.shape[1]]
    return _defined(gains / ideal[np.minimum(n_true, k)], n_true)


def mrr(found: BoolArray, n_true: LongArray, k: int) -> DoubleArray:
    """One over the rank of the first right place, 0 if none of the first k is, (batch,).

    >>> mrr(np.array([[False, False, True], [False, False, False]]), np.array([1, 1]), 3).round(4)
    array([0.3333, 0.    ])
    """
    first = found[:, :k]
    rank = first.argmax(axis=1) + 1.0
    return _defined(np.where(first.any(axis=1), 1.0 / rank, 0.0), n_true)


def average_precision(found: BoolArray, n_true: LongArray, k: int) -> DoubleArray:
    """Mean over the truth of the precision at each right place, (batch,); its mean is MAP@k.

    Right at ranks 1 and 3 of two true items: (1/1 + 2/3) / 2 = 0.8333.

    >>> average_precision(np.array([[True, False, True]]), np.array([2]), 3).round(4)
    array([0.8333])
    """
    first = found[:, :k]
    at_rank = np.cumsum(first, axis=1) / np.arange(1, first.shape[1] + 1)
    total = (at_rank * first).sum(axis=1)
    return _defined(total / np.maximum(np.minimum(n_true, k), 1), n_true)


METRICS: dict[str, Callable[[BoolArray, LongArray, int], DoubleArray]] = {
    "ndcg": ndcg,
    "recall": recall,
    "precision": precision,
    "hit": hit_rate,
    "mrr": mrr,
    "map": average_precision,
}
"""Metric of one list by name; all take (found, n_true, k) and give one value a user."""


def per_user(
    items: IntArray, indptr: LongArray, truth: IntArray, ks: Sequence[int] = (5, 10, 20)
) -> dict[str, DoubleArray]:
    """Every metric at every k: {"ndcg@5": (batch,), ...}; raises InputError for a k below 1.

    >>> values = per_user(np.array([[4, 1]]), np.array([0, 1]), np.array([1]), ks=(1, 2))
    >>> {name: float(v[0]) for name, v in values.items() if name.startswith(("recall", "mrr"))}
    {'recall@1': 0.0, 'mrr@1': 0.0, 'recall@2': 1.0, 'mrr@2': 0.5}
    """
    for k in ks:
        if k < 1:
            raise InputError(f"k must be at least 1, got {k}", field="ks")
    found, n_true = hits(items, indptr, truth), np.diff(indptr)
    return {f"{name}@{k}": metric(found, n_true, k) for k in ks for name, metric in METRICS.items()}


def coverage(items: IntArray, n_items: int, k: int) -> float:
    """Share of `n_items` that stand among the first k places of any list.

    >>> coverage(np.array([[0, 1, 2], [0, 3, -1]]), n_items=10, k=2)
    0.3
    """
    shown = items[:, :k]
    return len(np.unique(shown[shown >= 0])) / max(n_items, 1)


def novelty(items: IntArray, counts: LongArray, k: int) -> float:
    """Mean bits of surprise of the listed items; `counts` are the training events of each item.

    p(item) = (count + 1) / (all counts + number of items). With counts 5 and 1, p is 6/8 and 2/8, and
    a list of the second item alone is worth -log2(1/4) = 2 bits. NaN when nothing is listed.

    >>> novelty(np.array([[1]]), np.array([5, 1]), k=1)
    2.0
    """
    shown = items[:, :k]
    shown = shown[shown >= 0]
    if len(shown) == 0:
        return float("nan")
    bits = -np.log2((counts + 1.0) / (counts.sum() + len(counts)))
    return float(bits[shown].mean())


def _defined(values: DoubleArray, n_true: LongArray) -> DoubleArray:
    return np.where(n_true > 0, values, np.nan)
