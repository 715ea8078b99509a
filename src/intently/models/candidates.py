"""Which items a ranker looks at, and what it knows of each (user, item) pair.

Candidates of a history: what it met, the best unmet items of each inner model, and what is popular.
Features of a pair: point-in-time counts (features.pair_features), each inner model's score and its
standing among the candidates, how well the item's text matches what the history reads like, and how much
the nearest users meet it (neighbours.py), where the model asks for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from intently.data import Histories
from intently.features import PAIR_FEATURES, ItemFacts, pair_features
from intently.models.base import Recommender
from intently.models.neighbours import NEAR_COLUMNS, Neighbours
from intently.models.ranking import top_k
from intently.schema import BoolArray, FloatArray, IntArray, LongArray

MOST_MET = 1000
"""Of a longer history only the latest this many events name candidates."""


class PairMaker:
    """Candidates and features for batches of histories; holds what both need, changes nothing."""

    def __init__(
        self,
        inner: Mapping[str, Recommender],
        facts: ItemFacts,
        popular: IntArray,
        vectors: FloatArray | None,
        n_new: int,
        near: Neighbours | None = None,
    ) -> None:
        self.inner = dict(inner)
        self.facts = facts
        self.popular = popular  # best first
        self.vectors = vectors
        self.n_new = n_new
        self.near = near

    @property
    def names(self) -> list[str]:
        """Column names of `make`'s table."""
        scored = [f"{name}_{part}" for name in self.inner for part in ("score", "standing")]
        text = ["text_match"] if self.vectors is not None else []
        near = NEAR_COLUMNS if self.near is not None else ()
        return [*PAIR_FEATURES, "own_standing", *scored, *near, *text]

    def make(
        self, histories: Histories, items: Sequence[Sequence[int]] | None = None
    ) -> tuple[LongArray, IntArray, BoolArray, FloatArray]:
        """(rows, items, listed, table): candidates by row, or exactly `items` where they are given.

        listed: whether the pair's item is a candidate.
        Standings always compare an item with the row's candidates, so that a pair has the same
        features whether it was asked for alone or came up by itself.
        """
        scores = {name: model.scores(histories) for name, model in self.inner.items()}
        rows, pool = self._candidates(histories, scores)
        if items is None:
            listed = np.ones(len(pool), bool)
            return rows, pool, listed, self._table(histories, scores, rows, pool, rows, pool)
        asked_rows = np.repeat(np.arange(len(items), dtype=np.int64), [len(row) for row in items])
        asked = np.fromiter((i for row in items for i in row), np.int32, len(asked_rows))
        n_items = len(self.facts.facts)
        listed = np.isin(asked_rows * n_items + asked, rows * n_items + pool)
        return asked_rows, asked, listed, self._table(histories, scores, asked_rows, asked, rows, pool)

    def _candidates(
        self, histories: Histories, scores: Mapping[str, FloatArray]
    ) -> tuple[LongArray, IntArray]:
        n_items = len(self.facts.facts)
        latest = histories.last(MOST_MET)
        keys = [latest.rows.astype(np.int64) * n_items + latest.items]
        for given in scores.values():
            unmet = np.array(given)
            unmet[histories.rows, histories.items] = -np.inf
            best = top_k(unmet, self.n_new).items
            rows, columns = np.nonzero(best >= 0)
            keys.append(rows * n_items + best[rows, columns])
        every = np.arange(len(histories), dtype=np.int64)[:, None] * n_items
        keys.append((every + self.popular[None, : self.n_new]).ravel())
        merged = np.unique(np.concatenate(keys))
        return merged // n_items, (merged % n_items).astype(np.int32)

    def _table(
        self,
        histories: Histories,
        scores: Mapping[str, FloatArray],
        rows: LongArray,
        items: IntArray,
        pool_rows: LongArray,
        pool: IntArray,
    ) -> FloatArray:
        pairs = pair_features(histories, rows, items, self.facts)
        at = PAIR_FEATURES.index("own_decayed_90d")
        same = pool is items
        among = pairs if same else pair_features(histories, pool_rows, pool, self.facts)
        columns = [pairs, standing(pairs[:, at], rows, among[:, at], pool_rows)[:, None]]
        for given in scores.values():
            values = _finite(given[rows, items])
            others = values if same else _finite(given[pool_rows, pool])
            columns += [values[:, None], standing(values, rows, others, pool_rows)[:, None]]
        if self.near is not None:
            columns += [told[:, None] for told in self.near.told(histories, rows, items)]
        if self.vectors is not None:
            columns.append(self._text_match(histories, rows, items)[:, None])
        return np.concatenate(columns, axis=1, dtype=np.float32)

    def _text_match(self, histories: Histories, rows: LongArray, items: IntArray) -> FloatArray:
        """Cosine of the item's vector and the decayed mean (half-life 28 days) of the history's."""
        assert self.vectors is not None
        mean = reading(histories, self.vectors)
        out = np.empty(len(items), np.float32)
        for start in range(0, len(items), 50_000):
            part = slice(start, start + 50_000)
            out[part] = np.einsum("pd,pd->p", mean[rows[part]], self.vectors[items[part]])
        return out


def reading(histories: Histories, vectors: FloatArray) -> FloatArray:
    """(batch, d): unit decayed mean (half-life 28 days) of each history's item vectors, 0 when empty."""
    weights = 0.5 ** (histories.age_days / 28.0)
    mean = histories.matrix(len(vectors), weights.astype(np.float32)) @ vectors
    length = np.linalg.norm(mean, axis=1, keepdims=True)
    out: FloatArray = (mean / np.maximum(length, 1e-9)).astype(np.float32)
    return out


def standing(values: FloatArray, rows: LongArray, pool: FloatArray, pool_rows: LongArray) -> FloatArray:
    """How many of the row's pool are larger than each value: 0 for the best. (pairs,)"""
    out = np.zeros(len(values), np.float32)
    starts = np.searchsorted(pool_rows, np.arange(int(rows.max(initial=-1)) + 2))
    begin = np.searchsorted(rows, np.arange(len(starts)))
    for row in range(len(starts) - 1):
        here = slice(begin[row], begin[row + 1])
        others = np.sort(pool[starts[row] : starts[row + 1]])
        out[here] = len(others) - np.searchsorted(others, values[here], side="right")
    return out


def _finite(values: FloatArray) -> FloatArray:
    return np.where(np.isfinite(values), values, -1e6).astype(np.float32)
