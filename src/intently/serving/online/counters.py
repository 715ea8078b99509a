"""What the shop does now: popularity, trends and what goes with what, an event at a time.

`observe` only appends, so that who waits for an event is not held up; what has gathered is counted in one
vectorised step when someone reads, or aside (counting.py), once GATHER events wait. The log at start goes
the same way.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from itertools import chain, compress

import numpy as np

from intently.schema import EVENT_CODES, POSITIVE, ByteArray, DoubleArray, FloatArray, IntArray
from intently.serving.online.covisits import Neighbours
from intently.serving.online.decay import DecayedCounts
from intently.serving.online.visits import Visits

HALF_LIVES_DAYS = (2.0, 7.0, 28.0, 112.0)
SHORT, LONG = 1, 3
"""Of HALF_LIVES_DAYS: what trends is met more by the short one than by the long one."""

COVISIT_HALF_LIFE_DAYS = 28.0
GATHER = 4096
MOST_GATHERED = 16 * GATHER
"""Events that may wait; more are counted at once by who brings them."""

FEW = 16
"""Up to so many waiting events are counted one by one: whole arrays would cost more."""

EVEN = 2.0
"""Events added to both sides of a trend: a handful proves nothing."""

_POSITIVE: ByteArray = np.array([EVENT_CODES[name] for name in POSITIVE], np.uint8)
POSITIVE_CODES = frozenset(_POSITIVE.tolist())


class Counters:
    """All counters; numbers are the memory's."""

    def __init__(self) -> None:
        self.popularity = DecayedCounts(HALF_LIVES_DAYS)
        self.together = Neighbours(COVISIT_HALF_LIFE_DAYS)
        self.after = Neighbours(COVISIT_HALF_LIFE_DAYS)
        self.visits = Visits()
        self.n_events = 0
        self._waiting: deque[tuple[Sequence[int], Sequence[int], Sequence[float]]] = deque()
        self._came = self._counted = 0  # the first is written by who observes, the other under the lock
        self._lock = threading.Lock()
        self._mine = threading.local()

    # -- writing -------------------------------------------------------------------------------

    def observe(self, user: int, item: int, event: int, time_s: float) -> None:
        """Take in one event; one that says nothing good about the item is left out."""
        self.observe_all((user,), (item,), (event,), (time_s,))

    def observe_all(
        self, users: Sequence[int], items: Sequence[int], events: Sequence[int], moments: Sequence[float]
    ) -> None:
        """Take in events in the order of arrival."""
        if not POSITIVE_CODES.issuperset(events):
            good = [event in POSITIVE_CODES for event in events]
            users, items = list(compress(users, good)), list(compress(items, good))
            moments = list(compress(moments, good))
        if users:
            self._waiting.append((users, items, moments))
            self._came += len(users)
            if self.waiting >= MOST_GATHERED:
                self.settle()

    def observe_log(self, users: IntArray, items: IntArray, events: ByteArray, time_s: DoubleArray) -> None:
        """Take in many at once, in any order."""
        kept = np.isin(events, _POSITIVE)
        with self._lock:
            self._count(users[kept], items[kept], time_s[kept])

    def settle(self) -> None:
        """Count what has gathered."""
        if not self._waiting:
            return
        with self._lock:
            waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
            users = list(chain.from_iterable(part[0] for part in waiting))
            items = list(chain.from_iterable(part[1] for part in waiting))
            moments = list(chain.from_iterable(part[2] for part in waiting))
            self._counted += len(users)
            if len(users) <= FEW:
                for one in zip(users, items, moments, strict=True):
                    self._count_one(*one)
            else:
                self._count(np.array(users, np.int32), np.array(items, np.int32), np.array(moments))

    @property
    def waiting(self) -> int:
        """Events that are not counted yet."""
        return self._came - self._counted

    def forget(self, user: int) -> None:
        """Drop a user's latest items, those of events that wait too; sums over all users stay."""
        self.settle()
        with self._lock:  # else what another thread is just counting would bring them back
            self.visits.forget(user)

    def _count_one(self, user: int, item: int, time_s: float) -> None:
        pairs = self.visits.add_one(user, item, time_s)
        if pairs is None:
            self._count(np.array([user], np.int32), np.array([item], np.int32), np.array([time_s]))
            return
        self.popularity.add_one(item, time_s)
        within, across = pairs
        n_items = max(item, *within, *across) + 1 if within or across else item + 1
        if within:
            weight = self.together.weight_of(time_s, n_items)
            for other in within:
                self.together.add_one(other, item, weight)
                self.together.add_one(item, other, weight)
        if across:
            weight = self.after.weight_of(time_s, n_items)
            for other in across:
                self.after.add_one(other, item, weight)
        self.n_events += 1

    def _count(self, users: IntArray, items: IntArray, time_s: DoubleArray) -> None:
        if not len(users):
            return
        self.popularity.add(items, time_s)
        within, across = self.visits.add(users, items, time_s)
        self.together.add(*within)
        self.after.add(*across)
        self.n_events += len(users)

    # -- reading -------------------------------------------------------------------------------

    def popular(self, items: IntArray, at_s: float) -> tuple[DoubleArray, DoubleArray, float]:
        """(items, half-lives) decayed events; (items,) trends, log of short rate over long rate; all events.

        The last is of the whole shop by the short half-life.
        """
        self.settle()
        counts, totals = self.popularity.both(items, at_s)
        # a busy week of the whole shop is no trend of an item
        busy = float(totals[SHORT] / totals[LONG]) if totals[LONG] > 0 else 1.0
        trend = np.log((counts[:, SHORT] + EVEN) / (counts[:, LONG] * busy + EVEN))
        return counts, trend, float(totals[SHORT])

    def covisits(self, latest: IntArray, candidates: IntArray, n_items: int) -> tuple[FloatArray, FloatArray]:
        """(candidates,) shares of the latest items' pairs: of the same visit, and of a visit later."""
        self.settle()
        scratch = self._scratch(n_items)
        together = self.together.follow(latest, candidates, scratch)
        return together, self.after.follow(latest, candidates, scratch)

    def neighbours(self, latest: IntArray, n: int) -> IntArray:
        """Up to `n` items that take the largest shares of the latest items' pairs, of either kind."""
        self.settle()
        parts = [table.rows(latest) for table in (self.after, self.together)]
        others = np.concatenate([part[0] for part in parts])
        shares = np.concatenate([part[1] for part in parts])
        return others[np.argsort(-shares, kind="stable")[:n]]

    def _scratch(self, n_items: int) -> FloatArray:
        """Zeros for every item, one array a thread."""
        room = max(n_items, len(self.together), len(self.after)) + 1  # the last place takes what is empty
        scratch: FloatArray | None = getattr(self._mine, "scratch", None)
        if scratch is None or len(scratch) < room:
            scratch = self._mine.scratch = np.zeros(room + 1024, np.float32)
        return scratch

    @property
    def n_bytes(self) -> int:
        """Memory of all arrays."""
        return sum(part.n_bytes for part in (self.popularity, self.together, self.after, self.visits))
