"""Each user's latest items, and the pairs that a new event makes with them.

A visit ends where SESSION_S pass without an event. Within a visit the order says little (a basket has none),
so its pairs count both ways; from an earlier visit to a later one a pair has a direction.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from intently.ordering import in_order
from intently.schema import BoolArray, DoubleArray, IntArray, LongArray

SESSION_S = 1800.0
LOOK_BACK = 6
"""Latest items of a user with which an event makes pairs; 12 bytes each."""


class PairsMade(NamedTuple):
    """Ordered pairs (one, other) with the moment of the later event."""

    ones: IntArray
    others: IntArray
    time_s: DoubleArray


class Visits:
    """Holds the last LOOK_BACK positive events of every user."""

    def __init__(self, look_back: int = LOOK_BACK) -> None:
        self.look_back = look_back
        self._items: IntArray = np.zeros((0, look_back), np.int32)
        self._time_s: DoubleArray = np.zeros((0, look_back))

    def add(self, users: IntArray, items: IntArray, time_s: DoubleArray) -> tuple[PairsMade, PairsMade]:
        """(pairs within a visit, pairs from the visits before to this one) of new events.

        An event that comes late is paired with what came before it, not with what was known after it.
        """
        self._grow(int(users.max()) + 1)
        old = np.unique(users)
        held = self._time_s[old] > -np.inf
        old_users = np.repeat(old, held.sum(axis=1)).astype(np.int32)
        everyone = np.concatenate([old_users, users])
        met = np.concatenate([self._items[old][held], items])
        when = np.concatenate([self._time_s[old][held], time_s])
        fresh = np.arange(len(everyone)) >= len(old_users)
        if not _in_order(everyone, when):  # the log at start is
            _, order = in_order(everyone.astype(np.int64))
            if not _in_order(everyone[order], when[order]):  # something came late
                order = np.lexsort((when, everyone))
            fresh = fresh[order]
            everyone, met, when = everyone[order], met[order], when[order]
        made = _pairs(everyone, met, when, fresh, self.look_back)
        self._keep(everyone, met, when)
        return made

    def add_one(self, user: int, item: int, time_s: float) -> tuple[list[int], list[int]] | None:
        """(items of this visit, items of the visits before) that one new event makes pairs with.

        None when the event came late: `add` knows what to do with it.
        """
        self._grow(user + 1)
        when: list[float] = self._time_s[user].tolist()
        if time_s < when[-1]:
            return None
        met: list[int] = self._items[user].tolist()
        self._items[user] = [*met[1:], item]
        self._time_s[user] = [*when[1:], time_s]
        within: list[int] = []
        across: list[int] = []
        later_s, now = time_s, True
        for one, one_s in zip(reversed(met), reversed(when), strict=True):
            if one_s == -np.inf:
                break
            now = now and later_s - one_s <= SESSION_S
            later_s = one_s
            if one != item:
                (within if now else across).append(one)
        return within, across

    def last(self, user: int) -> IntArray:
        """The user's latest items, oldest first; empty for a stranger."""
        if user < 0 or user >= len(self._items):
            return np.zeros(0, np.int32)
        return np.asarray(self._items[user][self._time_s[user] > -np.inf], np.int32)

    def forget(self, user: int) -> None:
        """Drop the user's latest items."""
        if 0 <= user < len(self._items):
            self._time_s[user] = -np.inf

    @property
    def n_bytes(self) -> int:
        """Memory of the arrays."""
        return int(self._items.nbytes + self._time_s.nbytes)

    def _keep(self, users: IntArray, items: IntArray, time_s: DoubleArray) -> None:
        """The last entries of each user's sorted run, at the right end of the user's row."""
        ends = np.flatnonzero(np.append(users[1:] != users[:-1], True))
        from_end = np.repeat(ends, np.diff(np.concatenate([[-1], ends]))) - np.arange(len(users))
        kept = from_end < self.look_back
        self._time_s[users[ends]] = -np.inf
        place = self.look_back - 1 - from_end[kept]
        self._items[users[kept], place] = items[kept]
        self._time_s[users[kept], place] = time_s[kept]

    def _grow(self, n: int) -> None:
        have = len(self._items)
        if n <= have:
            return
        room = max(n, 2 * have)
        items, time_s = np.zeros((room, self.look_back), np.int32), np.full((room, self.look_back), -np.inf)
        items[:have], time_s[:have] = self._items, self._time_s
        self._items, self._time_s = items, time_s


def _in_order(users: IntArray, time_s: DoubleArray) -> bool:
    """Whether events come by user and, of a user, by time."""
    later, same = users[1:] > users[:-1], users[1:] == users[:-1]
    return bool((later | (same & (time_s[1:] >= time_s[:-1]))).all())


def _pairs(
    users: IntArray, items: IntArray, time_s: DoubleArray, fresh: BoolArray, back: int
) -> tuple[PairsMade, PairsMade]:
    gap = np.ones(len(users), np.int64)
    gap[1:] = (users[1:] != users[:-1]) | (time_s[1:] - time_s[:-1] > SESSION_S)
    visit: LongArray = np.cumsum(gap)
    within: list[tuple[IntArray, IntArray, DoubleArray]] = []
    across: list[tuple[IntArray, IntArray, DoubleArray]] = []
    for step in range(1, min(back, len(users) - 1) + 1):
        good = fresh[step:] & (users[step:] == users[:-step]) & (items[step:] != items[:-step])
        same = visit[step:] == visit[:-step]
        for chosen, out in ((good & same, within), (good & ~same, across)):
            at = np.flatnonzero(chosen)
            out.append((items[at], items[at + step], time_s[at + step]))
    both = [pair for one, other, when in within for pair in ((one, other, when), (other, one, when))]
    return _joined(both), _joined(across)


def _joined(parts: list[tuple[IntArray, IntArray, DoubleArray]]) -> PairsMade:
    if not parts:
        return PairsMade(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0))
    return PairsMade(*(np.concatenate(column) for column in zip(*parts, strict=True)))
