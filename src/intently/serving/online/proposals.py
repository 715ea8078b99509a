"""Candidates that a model which stands still cannot name: what is met most now, what goes with the visit."""

from __future__ import annotations

import numpy as np

from intently.schema import DoubleArray, IntArray
from intently.serving.online.counters import SHORT, Counters

POPULAR = 60
FOLLOWING = 60
RENEW_EVENTS = 500
"""Events after which what is met most is looked up again."""


class Proposals:
    """Adds to a list of candidates; `counters` are shared with the features."""

    def __init__(self, counters: Counters, popular: int = POPULAR, following: int = FOLLOWING) -> None:
        self._counters, self._most, self._following = counters, popular, following
        self._popular: IntArray = np.zeros(0, np.int32)
        self._renewed_at = -RENEW_EVENTS

    def popular(self) -> IntArray:
        """What is met most by the short half-life, best first; at most RENEW_EVENTS events old."""
        self._counters.settle()
        if self._counters.n_events - self._renewed_at >= RENEW_EVENTS:
            self._renewed_at = self._counters.n_events
            self._popular = self._counters.popularity.top(SHORT, self._most)
        return self._popular

    def following(self, latest: IntArray) -> IntArray:
        """What was met most after, or with, the latest items."""
        return self._counters.neighbours(latest, self._following)

    def joined(
        self, named: IntArray, scores: DoubleArray, latest: IntArray, at_s: float
    ) -> tuple[IntArray, DoubleArray]:
        """(candidates, scores): those given, in their order, then what is new, which scores -inf."""
        more = np.unique(np.concatenate([self.popular(), self.following(latest)]))
        more = more[~np.isin(more, named)].astype(np.int32)
        return np.concatenate([named, more]), np.concatenate([scores, np.full(len(more), -np.inf)])
