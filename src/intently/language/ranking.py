"""Ranks of what came among all items, by the cosine of a mean of past texts."""

from __future__ import annotations

import numpy as np

from intently.language.questions import Questions
from intently.schema import DoubleArray, FloatArray, IntArray, LongArray

DECAYS = (0.1, 0.3, 0.5, 0.7, 0.9)
_BLOCK = 512


def user_vectors(questions: Questions, by_item: FloatArray, decay: float) -> FloatArray:
    """(n, size) unit: the past's items weighted by decay ** moments ago."""
    weights = questions.weights(decay)
    out = np.zeros((len(questions), by_item.shape[1]), np.float32)
    for column in range(weights.shape[1]):
        known = weights[:, column] > 0
        out[known] += weights[known, column, None] * by_item[questions.past[known, column]]
    out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)
    return out


def ranks(
    users: FloatArray, by_item: FloatArray, questions: Questions, pool: IntArray | None = None
) -> LongArray:
    """Items that stand before the one that came, (n,); ties stand before it, the past is left out.

    pool: items that are ranked; None: all.
    """
    items = np.arange(len(by_item), dtype=np.int32) if pool is None else pool
    place = np.full(len(by_item), -1, np.int64)
    place[items] = np.arange(len(items))
    vectors = by_item[items].T
    out = np.zeros(len(users), np.int64)
    for start in range(0, len(users), _BLOCK):
        rows = slice(start, start + _BLOCK)
        scores = users[rows] @ vectors  # (block, items)
        past = questions.past[rows]
        line, column = np.nonzero(past >= 0)
        at = place[past[line, column]]
        scores[line[at >= 0], at[at >= 0]] = -np.inf
        own = scores[np.arange(len(scores)), place[questions.target[rows]]]
        out[rows] = (scores >= own[:, None]).sum(axis=1) - 1
    return out


def best_decay(
    by_item: FloatArray, questions: Questions, k: int, bend: FloatArray | None = None
) -> tuple[float, float]:
    """The decay of DECAYS with the best NDCG@k of the answers among all items; that figure."""
    found = []
    for decay in DECAYS:
        users = user_vectors(questions, by_item, decay)
        place = ranks(users if bend is None else users @ bend, by_item, questions)
        found.append((float(ndcg(place, k).mean()), decay))
    figure, decay = max(found)
    return decay, figure


def ndcg(place: LongArray, k: int) -> DoubleArray:
    """NDCG@k of questions with one answer each, at these places from 0 on, (n,).

    >>> ndcg(np.array([0, 2, 10]), 10).tolist()
    [1.0, 0.5, 0.0]
    """
    return np.where(place < k, 1.0 / np.log2(place + 2.0), 0.0)
