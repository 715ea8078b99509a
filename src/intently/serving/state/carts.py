"""What lies in each user's cart: put in, and neither bought nor taken out since."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from intently.data.histories import DAY_S
from intently.schema import EVENT_CODES, IntArray

KEEP_DAYS: Final = 30.0
"""A cart that nobody touched for longer is empty."""

_PUT: Final = EVENT_CODES["cart_add"]
_ENDS: Final = frozenset((EVENT_CODES["cart_remove"], EVENT_CODES["purchase"]))
_ABOUT: Final = _ENDS | {_PUT}


class Carts:
    """By user number: item number -> when it was put in."""

    def __init__(self) -> None:
        self._of: dict[int, dict[int, float]] = {}

    @staticmethod
    def of_log(log: pl.DataFrame) -> Carts:
        """From user, item (numbers), event (code) and time_s of everything that happened, in any order."""
        carts = Carts()
        about = log.filter(pl.col("event").is_in([_PUT, *sorted(_ENDS)]))
        if not about.is_empty() and (about["event"] == _PUT).any():
            last = about.sort("time_s", maintain_order=True).group_by("user", "item").last()
            for user, item, time_s in last.filter(event=_PUT).select("user", "item", "time_s").iter_rows():
                carts._of.setdefault(user, {})[item] = time_s
        return carts

    def add(self, user: int, item: int, event: int, time_s: float) -> None:
        """One event, in the order of arrival."""
        if event == _PUT:
            self._of.setdefault(user, {})[item] = time_s
        elif event in _ENDS and user in self._of:
            self._of[user].pop(item, None)

    def add_all(
        self, users: Sequence[int], items: Sequence[int], events: Sequence[int], moments: Sequence[float]
    ) -> None:
        """Events in the order of arrival."""
        if not _ABOUT.isdisjoint(events):
            for one in zip(users, items, events, moments, strict=True):
                self.add(*one)

    def forget(self, user: int) -> None:
        """Empty a cart."""
        self._of.pop(user, None)

    def of(self, user: int, now_s: float) -> IntArray:
        """Item numbers, oldest first."""
        cart = self._of.get(user)
        if not cart:
            return np.zeros(0, np.int32)
        since = now_s - KEEP_DAYS * DAY_S
        return np.array([item for item, at_s in list(cart.items()) if at_s >= since], np.int32)
