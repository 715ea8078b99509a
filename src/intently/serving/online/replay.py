"""The online layer against the model that stands still, on a shop's own log: predicted first, learned after.

The frozen model is fitted once on what lay before the cut. Then every visit is asked for in order of time:
both rank with the user's history up to it (fresh for both), NDCG@10 of what was then bought is noted, and
only then the online layer learns from the visit (progressive validation: Blum, Kalai & Langford, COLT 1999).
The counters take in every event when it happens.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from intently import progress
from intently.data import Dataset, Histories
from intently.intervals import Interval, difference, mean_interval
from intently.models import Recommender
from intently.models.ranking import rank
from intently.schema import BoolArray, DoubleArray, FloatArray, IntArray, LongArray
from intently.serving.online.counters import Counters
from intently.serving.online.features import Facts, Question, features
from intently.serving.online.layer import LastLayer
from intently.serving.online.proposals import Proposals
from intently.serving.online.stream import Stream, facts_of, stream_of

K = 10
NAMED = 200
"""Candidates that the frozen model names."""
BATCH = 128


@dataclass(frozen=True)
class Walk:
    """One value a visit, in order of time: NDCG@10 of both, and the events since the cut."""

    users: IntArray
    at_s: DoubleArray
    frozen: DoubleArray
    online: DoubleArray
    n_events: LongArray
    cpu_s_online: float  # of the online part alone
    events_taken: int

    def months(self) -> list[Month]:
        """What came of each calendar month, intervals by drawing users."""
        stamps = self.at_s.astype("datetime64[s]").astype("datetime64[M]")
        return [self._month(str(month), stamps == month) for month in np.unique(stamps)]

    def _month(self, name: str, here: BoolArray) -> Month:
        users, row = np.unique(self.users[here], return_inverse=True)
        n = np.bincount(row)
        frozen = np.bincount(row, self.frozen[here]) / n
        online = np.bincount(row, self.online[here]) / n
        gain = difference(online, frozen)
        return Month(name, int(here.sum()), len(users), mean_interval(frozen), mean_interval(online), gain)


@dataclass(frozen=True)
class Month:
    """A month of visits: NDCG@10, each user counting once."""

    name: str
    visits: int
    users: int
    frozen: Interval
    online: Interval
    gain: Interval  # paired


def replay(
    dataset: Dataset,
    frozen: Recommender,
    cut_s: float,
    *,
    until_s: float = np.inf,
    most_visits: int = 0,
    layer: LastLayer | None = None,
    seed: int = 0,
) -> Walk:
    """Walk through everything from `cut_s` on; `frozen` must have been fitted on the part before.

    most_visits: a month at most, drawn at random (0: all); events all count.
    """
    stream = stream_of(dataset)
    asked = _asked(stream, cut_s, until_s, most_visits, seed)
    walker = _Walker(stream, frozen, facts_of(dataset.item_table), layer or LastLayer(), cut_s)
    with progress.track("replaying visits", total=len(asked)) as advance:
        for start in range(0, len(asked), BATCH):
            walker.batch(asked[start : start + BATCH])
            advance(min(BATCH, len(asked) - start))
    return walker.walk(asked)


def _asked(stream: Stream, cut_s: float, until_s: float, most: int, seed: int) -> LongArray:
    at_s = stream.at_s
    asked = np.flatnonzero((at_s >= cut_s) & (at_s < until_s))
    if not most:
        return asked
    months = at_s[asked].astype("datetime64[s]").astype("datetime64[M]")
    random = np.random.default_rng(seed)
    return np.sort(np.concatenate([random.permutation(asked[months == m])[:most] for m in np.unique(months)]))


class _Walker:
    """Both models, side by side on one stream."""

    def __init__(
        self, stream: Stream, frozen: Recommender, facts: Facts, layer: LastLayer, cut_s: float
    ) -> None:
        self.stream, self.frozen, self.facts, self.layer = stream, frozen, facts, layer
        self.counters = Counters()
        self.proposals = Proposals(self.counters)
        self.calibrated = bool(getattr(frozen, "calibrated", False))
        self.order = stream.in_order
        self.moments = stream.time_s[self.order]
        self.taken = self.since = int(np.searchsorted(self.moments, cut_s))
        before = self.order[: self.taken]
        self.counters.observe_log(
            stream.users[before], stream.items[before], stream.events[before], stream.time_s[before]
        )
        self.values: list[tuple[float, float, int]] = []
        self.cpu_s = 0.0

    def batch(self, visits: LongArray) -> None:
        """Rank some visits by the frozen model at once, then go through them one at a time."""
        histories = self.stream.histories(visits)
        scores = self.frozen.scores(histories)
        best = rank(scores, histories, NAMED, self.frozen.repeats, None, None)
        begun = time.process_time()
        for row, visit in enumerate(visits.tolist()):
            self._catch_up(float(self.stream.at_s[visit]))
            self._visit(visit, histories, row, scores[row], best.items[row])
        self.cpu_s += time.process_time() - begun

    def _catch_up(self, moment_s: float) -> None:
        """Take in all that happened before this moment."""
        until = int(np.searchsorted(self.moments, moment_s))
        chosen = self.order[self.taken : until]
        rows = zip(
            self.stream.users[chosen].tolist(), self.stream.items[chosen].tolist(),
            self.stream.events[chosen].tolist(), self.stream.time_s[chosen].tolist(),
            strict=True,
        )  # fmt: skip
        for row in rows:
            self.counters.observe(*row)
        self.taken = max(until, self.taken)

    def _visit(self, visit: int, histories: Histories, row: int, scores: FloatArray, named: IntArray) -> None:
        stream = self.stream
        run = slice(int(histories.indptr[row]), int(histories.indptr[row + 1]))
        items, time_s = histories.items[run], histories.time_s[run]
        named = named[named >= 0]
        at_s = float(stream.at_s[visit])
        latest = self.counters.visits.last(int(stream.user[visit]))
        candidates, held = self.proposals.joined(named, scores[named].astype(float), latest, at_s)
        if not self.frozen.repeats:
            fresh = ~np.isin(candidates, items)
            candidates, held = candidates[fresh], held[fresh]
        question = Question(items, time_s, at_s, latest, candidates, held, self.calibrated)
        table = features(question, self.counters, self.facts)
        listed = candidates[np.argsort(-self.layer.score(table), kind="stable")[:K]]
        truth = stream.truth[stream.indptr[visit] : stream.indptr[visit + 1]]
        self.values.append((_gain(named[:K], truth), _gain(listed, truth), self.taken - self.since))
        self.layer.learn(table, np.isin(candidates, truth).astype(float))

    def walk(self, asked: LongArray) -> Walk:
        """What came of it."""
        values = np.array(self.values).reshape(-1, 3)
        stream = self.stream
        return Walk(
            stream.user[asked], stream.at_s[asked], values[:, 0], values[:, 1],
            values[:, 2].astype(np.int64), self.cpu_s, self.taken - self.since,
        )  # fmt: skip


_DISCOUNTS = 1.0 / np.log2(np.arange(2, K + 2))
_IDEAL = np.cumsum(_DISCOUNTS)


def _gain(listed: IntArray, truth: IntArray) -> float:
    """NDCG of one list, as evaluate.metrics.ndcg has it."""
    right = np.isin(listed, truth)
    return float(_DISCOUNTS[: len(listed)][right].sum() / _IDEAL[min(len(truth), K) - 1])
