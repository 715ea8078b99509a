"""Lists that wait for their labels: what each user met within the window after being asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

from intently.schema import BoolArray, DoubleArray, IntArray

MOST = 4000
"""Users whose list is waited for at once; with LOOK rows of N doubles about 40 MB."""


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
    """At most one list a user at a time, the earliest; full: the oldest is given up and counted in `lost`."""

    def __init__(self, window_s: float, most: int = MOST) -> None:
        self.window_s, self.most = window_s, most
        self._of: OrderedDict[int, Waiting] = OrderedDict()  # in order of arrival, so nearly of time
        self._lock = threading.Lock()
        self.lost = 0

    def __len__(self) -> int:
        return len(self._of)

    def __contains__(self, user: int) -> bool:
        return user in self._of

    def add(self, waiting: Waiting) -> None:
        """Wait for this list, unless the user has one already."""
        with self._lock:
            if waiting.user in self._of:
                return
            self._of[waiting.user] = waiting
            if len(self._of) > self.most:
                self._of.popitem(last=False)
                self.lost += 1

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
        return out
