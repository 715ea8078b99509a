"""A linear score of habits that trees start from: what little data can teach, learned first.

Trees need many pairs for what a sum of logarithms says with one weight each, so on small shops they drown
(docs/LOG.md, "The next basket"). The weights are learned list by list from users who came back
(listwise.py), so they order items; the trees that start from the score (boosted.py) add how likely it is
that anything is bought at all, and what no sum says. Starting a learner from another's score is the
stage-wise expansion of Friedman (2001), with a first stage that is no constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from intently.features import HABITS, PAIR_FEATURES, TOLD_IN, habits
from intently.models.listwise import listwise
from intently.models.neighbours import NEAR_COLUMNS
from intently.models.tables import Table
from intently.schema import BoolArray, DoubleArray, FloatArray, LongArray

LEAST_LISTS: Final = 50
"""Users who came back, over all moments, below which no weights are learned."""

MOST_PAIRS: Final = 400_000
"""Pairs that are learned from; a few dozen weights need no more."""

L2: Final = 3e-2


@dataclass(frozen=True)
class HabitScore:
    """weights, means: (len(HABITS),); the score of a pair is (habits - means) @ weights."""

    weights: DoubleArray
    means: DoubleArray

    @staticmethod
    def none() -> HabitScore:
        """0 for every pair."""
        return HabitScore(np.zeros(len(HABITS)), np.zeros(len(HABITS)))

    @staticmethod
    def learn(tables: Sequence[Table], names: Sequence[str]) -> HabitScore:
        """From lists in which something came true; `none` where there are fewer than LEAST_LISTS.

        tables: pairs of one list one after the other. names: their columns, NEAR_COLUMNS among them.
        """
        told, gains, sizes, pairs = [], [], [], 0
        for table in tables:
            kept, size = _met_something(table)
            if len(size):
                told.append(_habits(table.pairs.features[kept], names))
                gains.append(table.labels[kept])
                sizes.append(size)
                pairs += len(told[-1])
            if pairs >= MOST_PAIRS:
                break
        size = np.concatenate(sizes) if sizes else np.zeros(0, np.int64)
        if len(size) < LEAST_LISTS:
            return HabitScore.none()
        table_of_all = np.concatenate(told)
        told.clear()
        means = table_of_all.mean(axis=0, dtype=np.float64)
        starts = np.concatenate([[0], np.cumsum(size)[:-1]]).astype(np.int64)
        return HabitScore(listwise(table_of_all, np.concatenate(gains), starts, L2), means)

    def of(self, features: FloatArray, names: Sequence[str]) -> DoubleArray:
        """(pairs,) in log-odds."""
        if not self.weights.any():
            return np.zeros(len(features))
        return np.asarray(_habits(features, names) @ self.weights - self.means @ self.weights, np.float64)

    def effects(self, features: FloatArray, names: Sequence[str]) -> DoubleArray:
        """(pairs, len(names)): the score's parts, each told in the column that it is made of."""
        out = np.zeros((len(features), len(names)))
        if self.weights.any():
            parts = (_habits(features, names) - self.means) * self.weights
            at = {name: place for place, name in enumerate(names)}
            for habit, part in zip(HABITS, parts.T, strict=True):
                out[:, at[TOLD_IN[habit]]] += part
        return out


def _habits(features: FloatArray, names: Sequence[str]) -> FloatArray:
    near, rare = (features[:, names.index(name)] for name in NEAR_COLUMNS)
    return habits(features[:, : len(PAIR_FEATURES)], near, rare)


def _met_something(table: Table) -> tuple[BoolArray, LongArray]:
    """Which pairs belong to a list with a true label, and how long each such list is."""
    if not len(table.users):
        return np.zeros(0, bool), np.zeros(0, np.int64)
    starts = np.flatnonzero(np.concatenate([[True], table.users[1:] != table.users[:-1]]))
    size = np.diff(np.concatenate([starts, [len(table.users)]]))
    some = np.add.reduceat(table.labels, starts) > 0
    return np.repeat(some, size), size[some]
