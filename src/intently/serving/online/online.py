"""The online part of a service: what an event changes at once, and what the layer makes of a list.

`observe` is called by the writer of events after the commit; `rank` by every answer. Both are told what they
need: nothing here knows the engine. What was learned is written beside the store now and then and when the
service ends; the counters are rebuilt from the log. A kill loses the lists since the last writing, no event.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from intently.errors import ArtifactError
from intently.schema import BoolArray, ByteArray, DoubleArray, IntArray, LongArray
from intently.serving.online.bandit import Explorer
from intently.serving.online.chance import Curve, Happened
from intently.serving.online.counters import POSITIVE_CODES, Counters
from intently.serving.online.features import FEATURES, Facts, Question, features
from intently.serving.online.layer import LastLayer
from intently.serving.online.pending import Pending, Waiting
from intently.serving.online.progressive import Progressive

log = logging.getLogger("intently.serving")

LOOK = 100
"""Candidates from the head of the list that are ranked anew; what stands behind them stays there."""

LEAST_LISTS = 50
"""Lists that the layer has learned from before it moves anything."""

SHARE = 0.02
"""Of the writer's time that may go into asking the frozen model for a list to learn from."""

Learned = Callable[[DoubleArray, DoubleArray, BoolArray], None]
"""Takes a list's features, what the layer scored then, and which rows were met."""

AT_ONCE = 4
"""Lists that one answer learns from at most."""

MOST_TOLD = 100
"""Explored items in `told`."""

WRITE_EVERY = 500


@dataclass(frozen=True, slots=True)
class Ranked:
    """New order of the first LOOK rows, and their scores on the scale of those given."""

    order: LongArray
    scores: DoubleArray


class Online:
    """Counters, last layer, its curve and its judgement, for one shop."""

    def __init__(
        self,
        folder: Path,
        target: int,
        window_s: float,
        horizon_s: float,
        on: bool = True,
        explore_share: float = 0.0,
    ) -> None:
        self.on, self.target = on, target
        self.counters = Counters()
        self.layer = LastLayer()
        self.pending = Pending(window_s)
        self.progressive = Progressive()
        self.curve = Curve(horizon_s)
        self.explorer = Explorer(explore_share, window_s)
        self.names: list[str] = []  # outside ids by item number
        self.model = ""  # the version that the layer is fitted to
        self.sample: Callable[[int, float], Question | None] | None = None
        self.happened: Happened | None = None
        self.learned: Learned | None = None  # told of every list that was learned from
        self.facts: Callable[[], Facts] = lambda: Facts.unknown(0)
        self.trouble = ""
        self._path = folder / "layer.json"
        self._plain = np.array([-3.0, 0.5])  # bias and weight of the frozen score alone, for its log loss
        self._learning = threading.Lock()
        self._next_s = 0.0

    # -- events --------------------------------------------------------------------------------

    def observe_log(self, users: IntArray, items: IntArray, events: ByteArray, time_s: DoubleArray) -> None:
        """The log at start: counts only."""
        self.counters.observe_log(users, items, events, time_s)

    def observe(self, user: int, item: int, event: int, time_s: float) -> None:
        """One event, after it is on disk."""
        self.observe_all((user,), (item,), (event,), (time_s,))

    def observe_all(
        self, users: Sequence[int], items: Sequence[int], events: Sequence[int], moments: Sequence[float]
    ) -> None:
        """Events in the order of arrival, after they are on disk."""
        counted = 0
        if self.on and self.target in events:
            for place, event in enumerate(events):
                if event != self.target:
                    continue
                user, time_s = users[place], moments[place]
                if self.pending.wants(user) and self._may_ask():
                    part = slice(counted, place)  # a list is as of just before the event
                    self.counters.observe_all(users[part], items[part], events[part], moments[part])
                    counted = place
                    self._ask_for(user, time_s)
                self.pending.met(user, items[place], time_s)
        rest = slice(counted, None)
        self.counters.observe_all(users[rest], items[rest], events[rest], moments[rest])
        if self.explorer.waits:
            for user, item, event, time_s in zip(users, items, events, moments, strict=True):
                if event in POSITIVE_CODES:
                    self.explorer.met(user, item, time_s)

    def _may_ask(self) -> bool:
        return self.sample is not None and time.perf_counter() >= self._next_s

    def _ask_for(self, user: int, time_s: float) -> None:
        try:
            self._ask(user, time_s)
        except Exception as error:  # the writer of events must outlive whatever a model does
            log.exception("no list to learn from")
            self.trouble = f"the model gave no list to learn from: {type(error).__name__}"

    def _ask(self, user: int, time_s: float) -> None:
        """Where a user buys without having been asked for, the frozen model's list as of just before."""
        assert self.sample is not None
        begun = time.perf_counter()
        asked = self.sample(user, time_s)
        if asked is not None and len(asked.candidates):
            table = features(asked, self.counters, self.facts())
            self._wait(user, asked, table)
            self._learn_if_free(time_s)
        ended = time.perf_counter()
        self._next_s = ended + (ended - begun) / SHARE

    def forget(self, user: int) -> None:
        """A user was erased: their list, their latest items and their pairs; sums over all users stay."""
        self.pending.forget(user)
        self.curve.forget(user)
        self.explorer.forget(user)
        self.counters.forget(user)

    # -- answers -------------------------------------------------------------------------------

    @property
    def speaks(self) -> bool:
        """Whether the layer has something to say."""
        return self.layer.n_lists >= LEAST_LISTS and self.progressive.active

    def wants(self, user: int, at_s: float, model: str) -> bool:
        """Whether to ask `rank` about a list of this model: the layer orders it, or learns from it later.

        Learns from a few lists whose outcome is known by now.
        """
        if not self.on:
            return False
        if model != self.model:
            self._take_over(model)
        if user >= 0:
            self._learn_if_free(at_s)
        return self.speaks or (user >= 0 and self.pending.wants(user))

    def rank(self, user: int, asked: Question) -> Ranked | None:
        """The new order of a list's head; None where the layer has nothing to say yet. See `wants`."""
        if not len(asked.candidates):
            return None
        speaks = self.speaks
        table = features(asked, self.counters, self.facts())
        log_odds = self.layer.score(table)
        if user >= 0:
            self._wait(user, asked, table)
        if not speaks:
            return None
        order = (-log_odds).argsort(kind="stable")
        if asked.calibrated:
            return Ranked(order, self.curve.of(log_odds[order]))
        return Ranked(order, np.sort(asked.scores)[::-1])

    def _wait(self, user: int, asked: Question, table: DoubleArray) -> None:
        if not self.pending.wants(user):
            return
        self.pending.add(Waiting(user, asked.at_s, asked.candidates, table, self.layer.score(table)))
        if asked.calibrated:
            self.curve.keep(user, asked.at_s, asked.candidates, table, asked.scores)

    # -- learning ------------------------------------------------------------------------------

    def _learn_if_free(self, now_s: float) -> None:
        """In whatever thread comes by, one at a time, a few lists at a time."""
        if self.pending.due(now_s) and self._learning.acquire(blocking=False):
            try:
                self._learn(now_s)
            finally:
                self._learning.release()

    def _learn(self, now_s: float) -> None:
        """From lists whose window is over; judged first."""
        for one in self.pending.ripe(now_s, AT_ONCE):
            hit = one.labels()
            self._learn_list(one.table, one.scores, hit)
            if self.learned is not None:
                self.learned(one.table, one.scores, hit)
            if self.happened is not None:
                self.curve.fit(self.layer.weights, now_s, self.happened)
            if self.layer.n_lists % WRITE_EVERY == 0:
                self.write()

    def _learn_list(self, table: DoubleArray, scores: DoubleArray, hit: BoolArray) -> None:
        frozen = FEATURES.index("frozen")
        plain = self._plain[0] + self._plain[1] * table[:, frozen]
        self.progressive.judge(np.argsort(-scores, kind="stable"), hit, scores, plain)
        self._learn_plain(table[:, frozen], plain, hit.astype(float))
        self.layer.learn(table, hit.astype(float))

    def learn_of_other(self, model: str, table: DoubleArray, scores: DoubleArray, hit: BoolArray) -> None:
        """A list that another service of the shop gave, of this model; see Learned."""
        if self.on and model == self.model and table.shape == (len(hit), len(FEATURES)):
            with self._learning:
                self._learn_list(table, scores, hit)

    def _learn_plain(self, score: DoubleArray, plain: DoubleArray, labels: DoubleArray) -> None:
        """A step of logistic regression on the frozen score alone: the rival in log loss."""
        gap = labels - 0.5 * (1.0 + np.tanh(0.5 * plain))
        step = np.array([gap.mean(), (gap * score).mean() / (1.0 + float(np.square(score).mean()))])
        self._plain = self._plain + 2.0 / (1.0 + self.layer.n_lists / 200.0) ** 0.5 * step

    def _take_over(self, model: str) -> None:
        """A new model: what was learned is about another one's scores, so the layer begins anew."""
        if self.model:
            self.layer, self.progressive = LastLayer(), Progressive()
            self.curve = Curve(self.curve.horizon_s)
            self.pending = Pending(self.pending.window_s)
        self.model = model

    # -- keeping -------------------------------------------------------------------------------

    def write(self) -> None:
        """What was learned, onto the disk; whole or not at all."""
        state = {"model": self.model, "layer": self.layer.state(), "plain": self._plain.tolist()}
        state["explored"] = self.explorer.state(self.names)
        state["curve"] = [self.curve.slope, self.curve.shift]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            aside = self._path.with_suffix(f".{os.getpid()}.part")
            aside.write_bytes(orjson.dumps(state))
            os.replace(aside, self._path)
            self.trouble = ""
        except OSError as error:
            self.trouble = f"what the online layer learned cannot be written: {type(error).__name__}"

    def close(self) -> None:
        """Write what was learned."""
        if (self.on and self.layer.n_lists) or self.explorer.state(self.names):
            self.write()

    def read(self, names: list[str]) -> None:
        """What an earlier process wrote; `names` are the outside ids of items by number, and stay current."""
        self.names = names
        if not self._path.exists():
            return
        try:
            state = orjson.loads(self._path.read_bytes())
            self.layer.restore(state["layer"])
            slope, shift = (float(x) for x in state["curve"])
            self._plain = np.array([float(x) for x in state["plain"]])
            self.curve.slope, self.curve.shift = slope, shift
            self.model = str(state["model"])
            numbers = {name: number for number, name in enumerate(self.names)}
            self.explorer.restore(state["explored"], numbers)
        except (ArtifactError, OSError, ValueError, KeyError, TypeError):
            self.layer = LastLayer()
            self.trouble = "what the online layer had learned cannot be read: it begins anew"

    def problems(self) -> list[str]:
        """What is not as it should be."""
        return [text for text in (self.trouble, self.progressive.trouble()) if text]

    def told(self) -> dict[str, Any]:
        """For GET /v1/online."""
        return {
            "on": self.on,
            "model_version": self.model,
            "lists_learned": self.layer.n_lists,
            "lists_waiting": len(self.pending),
            "lists_given_up": self.pending.lost,
            "users_learned_from": self.pending.share,
            "window_hours": self.pending.window_s / 3600.0,
            "weights": self.layer.named(),
            "explored": self.explorer.told(self.names)[:MOST_TOLD],
            "progressive": self.progressive.told(),
            "events_counted": self.counters.n_events,
            "memory_mb": round(self.counters.n_bytes / 2**20, 2),
        }
