"""Lists that wait for their labels: what each user met within the window after being asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from intently.schema import BoolArray, DoubleArray, IntArray

MOST: Final = 4000
"""Users whose list is waited for at once; with LOOK rows of N doubles about 40 MB."""

SPREAD: Final = 2_654_435_769
"""2 ** 32 over the golden ratio: numbers in a row times this, modulo 2 ** 32, lie evenly (Knuth 1973)."""


@dataclass(slots=True)
class Waiting:
    """One list as it was ranked, rows in the frozen model's order."""

    user: int
    at_s: float
    numbers: IntArray
    table: DoubleArray
    scores: DoubleArray  # what the online layer said then
    hits: set[int] = field(default_factory=set)

    def labels(self) -> BoolArray:
        """(rows,)"""
        return np.isin(self.numbers, list(self.hits))


class Pending:
    """At most one list a user at a time, the earliest.

    Where more users come within a window than fit, lists of a drawn share of them are waited for: were the
    oldest given up for the newest, none would ever be old enough to learn from. Full: the share is halved,
    and those who are out of it are given up and counted in `lost`; three quarters empty: it is doubled again.
    Users are drawn by their number, as in adaptive sampling (Flajolet, Computing 1990).
    """

    def __init__(self, window_s: float, most: int = MOST) -> None:
        self.window_s, self.most = window_s, most
        self._of: OrderedDict[int, Waiting] = OrderedDict()  # in order of arrival, so nearly of time
        self._lock = threading.Lock()
        self._halved = 0  # how often the share is halved now
        self._changed_s = 0.0
        self.lost = 0

    def __len__(self) -> int:
        return len(self._of)

    @property
    def share(self) -> float:
        """Of users whose lists are waited for."""
        return 0.5**self._halved

    def wants(self, user: int) -> bool:
        """Whether a list of this user would be waited for: they are of the share, and have none yet."""
        return self._drawn(user) and user not in self._of

    def _drawn(self, user: int) -> bool:
        return (user * SPREAD & 0xFFFFFFFF) >> (32 - self._halved) == 0

    def add(self, waiting: Waiting) -> None:
        """Wait for this list, if it is wanted."""
        with self._lock:
            if not self.wants(waiting.user):
                return
            self._of[waiting.user] = waiting
            while len(self._of) > self.most and self._halved < 32:
                self._halved, self._changed_s = self._halved + 1, waiting.at_s
                out = [user for user in self._of if not self._drawn(user)]
                for user in out:
                    del self._of[user]
                self.lost += len(out)

    def met(self, user: int, item: int, time_s: float) -> None:
        """The user met an item by the event that counts."""
        waiting = self._of.get(user)
        if waiting is not None and 0 <= time_s - waiting.at_s <= self.window_s:
            waiting.hits.add(item)

    def forget(self, user: int) -> None:
        """Wait no longer for this user's."""
        with self._lock:
            self._of.pop(user, None)

    def due(self, now_s: float) -> bool:
        """Whether the oldest one's window is over."""
        with self._lock:  # a walk over thousands of lists would cost more than the answer
            oldest = next(iter(self._of.values()), None)
        return oldest is not None and now_s - oldest.at_s > self.window_s

    def ripe(self, now_s: float, most: int) -> list[Waiting]:
        """Those whose window is over, the oldest first, taken out."""
        out: list[Waiting] = []
        with self._lock:
            while self._of and len(out) < most:
                user, waiting = next(iter(self._of.items()))
                if now_s - waiting.at_s <= self.window_s:
                    break
                del self._of[user]
                out.append(waiting)
            roomy = self._halved and len(self._of) < self.most // 4
            if roomy and now_s - self._changed_s > self.window_s:
                self._halved, self._changed_s = self._halved - 1, now_s
        return out
