"""What every user did, in memory, so that an event counts in the very next answer.

The log at start-up lies in flat arrays, one run a user; what arrives later is appended to small lists
beside them. Users and items have numbers of the memory's own, because artifacts number them anew:
swapping a model only makes a new table from these numbers to the model's.

Reading takes no lock: a user's late events are one list that only grows.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import numpy as np
import polars as pl

from intently.data.histories import DAY_S
from intently.schema import EVENT_CODES, POSITIVE, ByteArray, DoubleArray, IntArray, LongArray
from intently.serving.state.baskets import Baskets
from intently.serving.state.carts import Carts
from intently.serving.state.deeds import NOTHING, Deeds, Late, after, deeds
from intently.serving.state.guests import GUEST, Guests
from intently.serving.state.numbers import Numbers

HALF_LIFE_DAYS = 28.0
MOST_MERGED = 100_000
_POSITIVE_CODES = frozenset(EVENT_CODES[name] for name in POSITIVE)
_BOUGHT = EVENT_CODES["purchase"]


class Memory:
    """Events of all users; `log` has user_id, item_id, event (code), time_s in any order.

    Where it has session_id too, guests become the users who signed in (guests.py).
    """

    def __init__(self, log: pl.DataFrame) -> None:
        users, user = _numbered(log["user_id"])
        items, item = _numbered(log["item_id"])
        self.users, self.items = Numbers(users), Numbers(items)
        numbered = pl.DataFrame({"user": user, "item": item, "event": log["event"], "time_s": log["time_s"]})
        self.carts = Carts.of_log(numbered)
        self.guests = Guests(self.users)
        self.guests.read(log)
        positive = numbered.filter(pl.col("event").is_in(sorted(_POSITIVE_CODES)))
        user, time_s = positive["user"].to_numpy(), positive["time_s"].to_numpy()
        order = np.lexsort((time_s, user))
        counts = np.bincount(user, minlength=len(users))
        self._indptr: LongArray = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._items: IntArray = positive["item"].to_numpy()[order]
        self._time_s: DoubleArray = time_s[order]
        self._events: ByteArray = positive["event"].to_numpy().astype(np.uint8)[order]
        self._gone: set[int] = set()  # numbers of erased users
        self._late: dict[int, list[Late]] = {}
        self._merged: dict[int, tuple[int, Deeds]] = {}  # late events that are in, and all of them
        self.end_s: float | None = float(self._time_s.max()) if len(self._time_s) else None
        self.n_events = len(self._items)
        self._times: dict[int, int] = {}  # positive events that came late, by item
        self._early_times: LongArray = np.bincount(self._items, minlength=len(items)).astype(np.int64)
        self.popular: IntArray = self._popular()
        self._baskets: Baskets | None = None
        self.watch: Callable[[int, int, int, float], None] | None = (
            None  # told of every event: user, item, ...
        )

    # -- writing --------------------------------------------------------------------------------

    def add(
        self, user_id: str, item_id: str, event: int, time_s: float, session_id: str | None = None
    ) -> None:
        """Append one event; one that says nothing good about the item stays out of the history."""
        user, item = self.users.add(user_id), self.items.add(item_id)
        if session_id is not None:
            self.guests.met(user_id, session_id)
        if user_id.startswith(GUEST):
            self.guests.came(user, user_id)
        owner = self.guests.owner(user)
        self.carts.add(owner, item, event, time_s)
        if event in _POSITIVE_CODES:
            self._late.setdefault(user, []).append(Late(item, time_s, event))
            self._times[item] = self._times.get(item, 0) + 1
            self.n_events += 1
        if self.watch is not None:
            self.watch(owner, item, event, time_s)

    def forget(self, user_id: str) -> None:
        """Drop all that a user did, and did as a guest; counts over all users keep it until a restart."""
        user = self.users.get(user_id)
        if user < 0:
            return
        for number in (user, *self.guests.were(user)):
            self.n_events -= self.count(number)
            self._gone.add(number)
            self._late.pop(number, None)
            self._merged.pop(number, None)
            self.carts.forget(number)
        self.users.forget(user_id)

    # -- reading --------------------------------------------------------------------------------

    def count(self, user: int) -> int:
        """Positive events of a user, without those of the guests they were."""
        known = user < len(self._indptr) - 1 and user not in self._gone
        early = int(self._indptr[user + 1] - self._indptr[user]) if known else 0
        return early + len(self._late.get(user, ()))

    def times(self, item: int) -> int:
        """Positive events with an item; those of users erased since the start count until a restart."""
        early = int(self._early_times[item]) if item < len(self._early_times) else 0
        return early + self._times.get(item, 0)

    def of(self, user_id: str) -> Deeds:
        """Everything a user did, oldest first, as a guest too; empty for a stranger."""
        user = self.users.get(user_id)
        if user < 0:
            return NOTHING
        user = self.guests.owner(user)
        found = self._own(user)
        for guest in self.guests.were(user):
            found = after(found, self._own(guest))
        return found

    def latest(self, most: int) -> list[str]:
        """Ids of the users whose positive events are the latest, latest first; guests are not among them."""
        ends = self._indptr[1:]
        known = np.flatnonzero(ends > self._indptr[:-1])
        last = dict(zip(known.tolist(), self._time_s[ends[known] - 1].tolist(), strict=True))
        for user, late in list(self._late.items()):
            last[user] = max(last.get(user, 0.0), *(one.time_s for one in late[-50:]))
        order = sorted(last, key=lambda user: (-last[user], user))
        names = (self.users.ids[user] for user in order)
        return list(islice((name for name in names if not name.startswith(GUEST)), most))

    def bought(self, done: Deeds) -> IntArray:
        """Distinct items of purchases."""
        return np.unique(done.items[done.events == _BOUGHT])

    def log(self) -> tuple[IntArray, IntArray, ByteArray, DoubleArray]:
        """Users, items, codes and moments of the positive events at start-up, by user and time."""
        user = np.repeat(np.arange(len(self._indptr) - 1, dtype=np.int32), np.diff(self._indptr))
        return user, self._items, self._events, self._time_s

    def baskets(self) -> Baskets:
        """What was bought together, by the log at start-up; made when it is first asked for."""
        if self._baskets is None:
            chosen = self._events == _BOUGHT
            user = np.repeat(np.arange(len(self._indptr) - 1, dtype=np.int32), np.diff(self._indptr))
            parts = user[chosen], self._items[chosen], self._time_s[chosen]
            self._baskets = Baskets(*parts, n_items=len(self.items))
        return self._baskets

    def _own(self, user: int) -> Deeds:
        late = self._late.get(user)
        if not late:
            return self._early(user)
        n = len(late)
        known, merged = self._merged.get(user) or (0, self._early(user))
        if known < n:
            merged = after(merged, deeds(late[known:n]))
            if len(self._merged) >= MOST_MERGED:
                self._merged.clear()
            self._merged[user] = (n, merged)
        return merged

    def _early(self, user: int) -> Deeds:
        if user >= len(self._indptr) - 1 or user in self._gone:
            return NOTHING
        run = slice(int(self._indptr[user]), int(self._indptr[user + 1]))
        return Deeds(self._items[run], self._time_s[run], self._events[run])

    def find(self, query: str, start: int, n: int) -> tuple[list[int], int]:
        """Users with events whose id holds `query` (any case): page of numbers, and how many there are.

        An exact match comes first, then ids that begin with it, then the most active.
        """
        wanted = query.lower()
        found = [
            (name.lower() != wanted, not name.lower().startswith(wanted), -self.count(number), number)
            for number, name in enumerate(list(self.users.ids))
            if wanted in name.lower() and self.count(number)
        ]
        found.sort()
        return [number for *_rest, number in found[start : start + n]], len(found)

    def _popular(self) -> IntArray:
        """Item numbers at start-up, most met lately first: weight 0.5 ** (age / 28 days) an event."""
        if self.end_s is None:
            return np.zeros(0, np.int32)
        weights = 0.5 ** ((self.end_s - self._time_s) / DAY_S / HALF_LIFE_DAYS)
        scores = np.bincount(self._items, weights=weights, minlength=len(self.items))
        order = np.argsort(-scores, kind="stable").astype(np.int32)
        return order[scores[order] > 0]


def _numbered(column: pl.Series) -> tuple[list[str], IntArray]:
    """Sorted distinct ids and the number of each row."""
    ids = column.unique().sort()
    table = pl.DataFrame({"id": ids, "number": np.arange(len(ids), dtype=np.int32)})
    joined = pl.DataFrame({"id": column}).join(table, on="id", how="left", maintain_order="left")
    return ids.to_list(), joined["number"].to_numpy()
