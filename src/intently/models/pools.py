"""Pools: for each user the best items of several models, with every model's score of them.

What `blend` searches its weights on and `ensemble` learns from: scores brought to one scale, over the
few hundred items that any member would answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from intently.data import Dataset, Histories
from intently.evaluate.metrics import hits
from intently.evaluate.protocol import Case
from intently.models.base import BATCH, REPEAT_SHARE, Recommender
from intently.models.ranking import top_k
from intently.models.validation import last_days, last_events
from intently.schema import BoolArray, FloatArray, IntArray, LongArray

LOGITS: Final = ("sequence",)
"""Members whose scores are logarithms: a softmax comes first."""

TOP: Final = 50
POOL: Final = 100
"""Items of each member that enter a user's pool."""


@dataclass(frozen=True)
class Pools:
    """One row a user; a place without an item holds -1."""

    places: IntArray  # (users, width) dense item ids, each once
    scores: FloatArray  # (members, users, width), -inf where the place is empty
    lengths: LongArray  # (users,) events of each history

    def __len__(self) -> int:
        return len(self.places)

    def select(self, rows: LongArray) -> Pools:
        """The pools of these rows, in this order."""
        return Pools(self.places[rows], self.scores[:, rows], self.lengths[rows])


@dataclass(frozen=True)
class Answered:
    """Pools whose right answers are known."""

    pools: Pools
    right: BoolArray  # (users, width)
    n_true: LongArray  # (users,) items to be found, in the pool or not

    def select(self, rows: LongArray) -> Answered:
        """The pools of these rows, in this order."""
        return Answered(self.pools.select(rows), self.right[rows], self.n_true[rows])


def held_back(dataset: Dataset) -> Case | None:
    """What a fusion holds back to learn from: the last days of a shop that repeats, else last events."""
    return last_days(dataset) if dataset.repeat_share > REPEAT_SHARE else last_events(dataset)


def normal_scores(
    members: Mapping[str, Recommender], histories: Histories, *, met_count: bool
) -> list[FloatArray]:
    """Normalised scores of each member, (batch, n_items) each."""
    return [
        normalised(member.scores(histories), histories, met_count=met_count, logits=name in LOGITS)
        for name, member in members.items()
    ]


def pooled(parts: list[FloatArray], histories: Histories, *, met_count: bool) -> Pools:
    """Pools of one batch from its members' normalised scores, POOL best items of each.

    met_count: whether items of the history may be in a pool.
    """
    open_parts = parts
    if not met_count:
        open_parts = [part.copy() for part in parts]
        for part in open_parts:
            part[histories.rows, histories.items] = -np.inf
    width = min(POOL, parts[0].shape[1])
    places = _once(np.concatenate([top_k(part, width).items for part in open_parts], axis=1))
    line = np.arange(len(histories))[:, None]
    scores = np.stack([np.where(places >= 0, part[line, places], -np.inf) for part in open_parts])
    return Pools(places, scores.astype(np.float32), histories.lengths.astype(np.int64))


def answered(members: Mapping[str, Recommender], case: Case, *, met_count: bool, most: int) -> Answered:
    """Pools of at most `most` users of `case`, drawn evenly, with what was right."""
    rows = np.arange(len(case))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(0).permutation(len(rows))[:most])
    asked = case.histories.select(rows)
    pools, right = [], []
    for first in range(0, len(rows), BATCH):
        batch = asked.select(np.arange(first, min(first + BATCH, len(rows))))
        parts = normal_scores(members, batch, met_count=met_count)
        pools.append(pooled(parts, batch, met_count=met_count))
        truth = [case.truth[case.indptr[r] : case.indptr[r + 1]] for r in rows[first : first + BATCH]]
        indptr = np.concatenate([[0], np.cumsum([len(t) for t in truth])])
        right.append(hits(pools[-1].places, indptr, np.concatenate(truth)))
    together = Pools(
        np.concatenate([pool.places for pool in pools]),
        np.concatenate([pool.scores for pool in pools], axis=1),
        np.concatenate([pool.lengths for pool in pools]),
    )
    return Answered(together, np.concatenate(right), case.n_true[rows])


def normalised(scores: FloatArray, histories: Histories, *, met_count: bool, logits: bool) -> FloatArray:
    """Scores over the mean of each row's largest ones; -inf becomes the row's least finite score.

    met_count: whether items of the history count among the largest ones.
    """
    n_items = scores.shape[1]
    width = min(max(n_items // 20, 1), TOP)
    scaled: FloatArray = np.array(scores, np.float32)
    if logits:
        scaled -= scaled.max(axis=1, keepdims=True, initial=-1e30)
        np.exp(scaled, out=scaled)
    finite = np.isfinite(scaled)
    least = np.min(scaled, axis=1, where=finite, initial=np.inf, keepdims=True)
    np.copyto(scaled, np.where(np.isfinite(least), least, 0.0), where=~finite)
    open_items = scaled
    if not met_count:
        open_items = scaled.copy()
        open_items[histories.rows, histories.items] = 0.0
    head = np.partition(open_items, n_items - width, axis=1)[:, n_items - width :]
    level = head.mean(axis=1, keepdims=True)
    level[level <= 1e-12] = 1.0
    out: FloatArray = scaled / level
    return out


def _once(places: IntArray) -> IntArray:
    """Sorted rows with every later copy of an item replaced by -1."""
    ordered = np.sort(places, axis=1)
    ordered[:, 1:][ordered[:, 1:] == ordered[:, :-1]] = -1
    return ordered
