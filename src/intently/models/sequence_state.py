"""One user's state in the sequence model: the latest moments, and what attention keeps of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from intently.data import Histories
from intently.errors import InputError
from intently.models.ranking import Ranked
from intently.models.stateful import best_of, checked
from intently.nn.cached import Cached, Kept
from intently.nn.inference import Weights, bagged
from intently.schema import BoolArray, ByteArray, DoubleArray, FloatArray, IntArray, LongArray


@dataclass(frozen=True, slots=True)
class SequenceState:
    """What the model holds of a user: about 1 KB a moment at d = 64, and 2 KB once the window is full."""

    columns: LongArray  # (n,) places in the vocabulary of the window's events, oldest first
    time_s: DoubleArray  # (n,)
    events: ByteArray  # (n,) codes of schema.EVENTS
    met: IntArray  # (m,) every item of the history, known to the vocabulary or not
    ahead: FloatArray  # (d,) so that ahead @ table.T are scores; empty when nothing is known
    kept: Kept | None  # what each moment of the window gave; None once the window is full


@dataclass(frozen=True)
class Vocabulary:
    """The items that somebody met."""

    items: IntArray  # (n,) dense ids, ascending
    table: FloatArray  # (n, d) of length one
    popularity: FloatArray  # (n,) log of the share of events
    kinds: FloatArray  # (n_kinds, d) of the kinds of events; none: they are not told apart

    def places(self, items: IntArray) -> tuple[LongArray, BoolArray]:
        """(place of each item that is in here, whether each item is)."""
        columns = self.items.searchsorted(items)
        met: BoolArray = self.items[np.minimum(columns, len(self.items) - 1)] == items
        return columns[met].astype(np.int64), met

    def tokens(self, columns: LongArray, starts: LongArray, events: ByteArray) -> FloatArray:
        """(len(starts) - 1, d) of bags of items."""
        told = len(self.kinds) > 0
        return bagged(self.table, columns, starts, self.kinds if told else None, events if told else None)


class Reader:
    """Reads moments one by one, for a fitted model.

    A moment's items are one token. An event of the latest moment reads that token again; one of a new
    moment is one more token. Events that come late, and events after the window of `longest` moments is
    full, read the window again: its first moment falls out, which changes what every other one gave.

    weights: of the encoder, none when nobody had a next moment. scale: of cosines to scores.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        weights: Weights,
        heads: int,
        scale: float,
        longest: int,
        n_items: int,
    ) -> None:
        self.network = Cached(weights, heads) if weights else None
        self.vocabulary, self.scale, self.longest, self.n_items = vocabulary, scale, longest, n_items
        self.root = np.float32(vocabulary.table.shape[1] ** 0.5)

    # -- reading -------------------------------------------------------------------------------

    def begin(self, history: Histories) -> SequenceState:
        """The state after a history; raises InputError when it is not a batch of one."""
        if len(history) != 1:
            raise InputError(f"a state is one user's, got a batch of {len(history)}", hint="select one row")
        columns, known = self.vocabulary.places(history.items)
        return self._read(columns, history.time_s[known], history.events[known], history.items)

    def advance(
        self, state: SequenceState, items: IntArray, time_s: DoubleArray, events: ByteArray
    ) -> SequenceState:
        """The state after more events."""
        items, time_s, events = checked(self.n_items, items, time_s, events)
        columns, known = self.vocabulary.places(items)
        time_s, events = time_s[known], events[known]
        met = np.concatenate([state.met, items])
        starts = [*moments(time_s).tolist(), len(time_s)] if len(time_s) != 1 else [0, 1]
        for start, stop in pairwise(starts):
            state = self._moment(state, columns[start:stop], time_s[start:stop], events[start:stop])
        return SequenceState(state.columns, state.time_s, state.events, met, state.ahead, state.kept)

    def _read(
        self, columns: LongArray, time_s: DoubleArray, events: ByteArray, met: IntArray
    ) -> SequenceState:
        """The state after these events, ordered by time."""
        starts = moments(time_s)
        if len(starts) > self.longest:
            first = starts[-self.longest]
            columns, time_s, events = columns[first:], time_s[first:], events[first:]
            starts = starts[-self.longest :] - first
        if self.network is None or not len(columns):
            return SequenceState(columns, time_s, events, met, np.zeros(0, np.float32), None)
        tokens = self.vocabulary.tokens(columns, np.append(starts, len(columns)), events)
        hidden, kept = self.network.read(tokens * self.root, time_s[starts])
        return self._state(columns, time_s, events, met, hidden, kept)

    def _moment(
        self, state: SequenceState, columns: LongArray, time_s: DoubleArray, events: ByteArray
    ) -> SequenceState:
        """The state after events of one moment."""
        now_s = time_s[0]
        latest_s = state.time_s[-1] if len(state.time_s) else -np.inf
        columns = np.concatenate([state.columns, columns])
        times = np.concatenate([state.time_s, time_s])
        events = np.concatenate([state.events, events])
        if now_s < latest_s:
            order = np.argsort(times, kind="stable")
            return self._read(columns[order], times[order], events[order], state.met)
        if state.kept is None or self.network is None:
            return self._read(columns, times, events, state.met)
        kept = state.kept.before(len(state.kept) - 1) if now_s == latest_s else state.kept
        first = times.searchsorted(now_s)
        bag = np.array([0, len(columns) - first])
        token = self.vocabulary.tokens(columns[first:], bag, events[first:])[0]
        seen_s = times[moments(times)] if self.network.timed else times
        hidden, grown = self.network.step(token * self.root, kept, seen_s)
        return self._state(columns, times, events, state.met, hidden, grown)

    def _state(
        self,
        columns: LongArray,
        time_s: DoubleArray,
        events: ByteArray,
        met: IntArray,
        hidden: FloatArray,
        kept: Kept,
    ) -> SequenceState:
        ahead = hidden * (self.scale / float(hidden.dot(hidden)) ** 0.5)
        return SequenceState(columns, time_s, events, met, ahead, kept if len(kept) < self.longest else None)

    # -- answering -----------------------------------------------------------------------------

    def scores(self, state: SequenceState) -> FloatArray:
        """(vocabulary,) scores; the log of the popularity for a stranger."""
        if not len(state.ahead):
            return self.vocabulary.popularity.copy()
        out: FloatArray = self.vocabulary.table @ state.ahead
        return out

    def best(self, state: SequenceState, k: int, repeats: bool, exclude: Iterable[int]) -> Ranked:
        """The best `k` of the vocabulary; fewer where it has no more. A batch of one."""
        barred = np.fromiter(exclude, np.int32)
        scores = self.scores(state)
        scores[self.vocabulary.places(barred if repeats else np.append(state.met, barred))[0]] = -np.inf
        places, best = best_of(scores, k)
        return Ranked(self.vocabulary.items[places][None], best[None])


def moments(time_s: DoubleArray) -> LongArray:
    """Where each moment begins: events of one time are one moment.

    >>> moments(np.array([1.0, 1.0, 2.0])).tolist()
    [0, 2]
    """
    if not len(time_s):
        return np.zeros(0, np.int64)
    return np.append(0, np.flatnonzero(time_s[1:] != time_s[:-1]) + 1)
