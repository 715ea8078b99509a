"""What every user did, in memory, so that an event counts in the very next answer.

The log at start-up lies in flat arrays, one run a user; what arrives later is appended to small lists
beside them. Users and items have numbers of the memory's own, because artifacts number them anew:
swapping a model only makes a new table from these numbers to the model's.

Reading takes no lock: a user's late events are one list that only grows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import compress, islice

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


Watch = Callable[[Sequence[int], Sequence[int], Sequence[int], Sequence[float]], None]
"""Columns of events: numbers of users and items, codes, moments."""


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
        self._late: defaultdict[int, list[Late]] = defaultdict(list)
        self._merged: dict[int, tuple[int, Deeds]] = {}  # late events that are in, and all of them
        self.end_s: float | None = float(self._time_s.max()) if len(self._time_s) else None
        self.n_events = len(self._items)
        self._times: Counter[int] = Counter()  # positive events that came late, by item
        self._early_times: LongArray = np.bincount(self._items, minlength=len(items)).astype(np.int64)
        self.popular: IntArray = self._popular()
        self._baskets: Baskets | None = None
        self.watch: Watch | None = None  # told of every event

    # -- writing --------------------------------------------------------------------------------

    def add(
        self, user_id: str, item_id: str, event: int, time_s: float, session_id: str | None = None
    ) -> None:
        """Append one event; see add_all."""
        self.add_all((user_id,), (item_id,), (event,), (time_s,), (session_id,))

    def add_all(
        self,
        user_ids: Sequence[str],
        item_ids: Sequence[str],
        events: Sequence[int],
        moments: Sequence[float],
        session_ids: Sequence[str | None],
    ) -> None:
        """Append events in order of arrival; histories leave out what says nothing good of the item."""
        if any(session_ids) or GUEST in "\n".join(user_ids):
            users, owners = self._signed_in(user_ids, session_ids)
        else:
            users = owners = self.users.of_all(user_ids)
        items = self.items.of_all(item_ids)
        self.carts.add_all(owners, items, events, moments)
        late, met, did = self._late, items, list(zip(items, moments, events, strict=True))
        if not _POSITIVE_CODES.issuperset(events):
            good = [event in _POSITIVE_CODES for event in events]
            users, met, did = (
                list(compress(users, good)),
                list(compress(items, good)),
                list(compress(did, good)),
            )
        for user, one in zip(users, did, strict=True):
            late[user].append(one)
        self._times.update(met)
        self.n_events += len(met)
        if self.watch is not None:
            self.watch(owners, items, events, moments)

    def _signed_in(
        self, user_ids: Sequence[str], session_ids: Sequence[str | None]
    ) -> tuple[list[int], list[int]]:
        """Numbers of those who acted, and of whom they turned out to be by then."""
        users, owners = [], []
        for user_id, session_id in zip(user_ids, session_ids, strict=True):
            user = self.users.add(user_id)
            if session_id is not None:
                self.guests.met(user_id, session_id)
            if user_id.startswith(GUEST):
                self.guests.came(user, user_id)
            users.append(user)
            owners.append(self.guests.owner(user))
        return users, owners

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
        came = list(self._late.items())
        last = np.full(len(self.users), -np.inf)  # after those who came late: everyone of them is in it
        ends = self._indptr[1:]
        known = np.flatnonzero(ends > self._indptr[:-1])
        last[known] = self._time_s[ends[known] - 1]
        for user, late in came:
            last[user] = max(last[user], *(time_s for _, time_s, _ in late[-50:]))
        order = np.argsort(-last, kind="stable")
        names = (self.users.ids[user] for user in order[np.isfinite(last[order])])
        return list(islice((name for name in names if name and not name.startswith(GUEST)), most))

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
        late = [(user, len(came)) for user, came in list(self._late.items())]
        ids = list(self.users.ids)  # after those who came late: everyone of them is in it
        counts = np.zeros(len(ids), np.int64)
        counts[: len(self._indptr) - 1] = np.diff(self._indptr)
        counts[list(self._gone)] = 0
        for user, more in late:
            counts[user] += more
        found, wanted = np.flatnonzero(counts), query.lower()
        if not wanted:
            order = np.lexsort((found, -counts[found]))
            return found[order[start : start + n]].tolist(), len(found)
        names = [ids[number].lower() for number in found.tolist()]
        holds = np.array([wanted in name for name in names], bool)
        found, names = found[holds], list(compress(names, holds))
        begins = np.array([name.startswith(wanted) for name in names], bool)
        exact = np.array([name == wanted for name in names], bool)
        order = np.lexsort((found, -counts[found], ~begins, ~exact))
        return found[order[start : start + n]].tolist(), len(found)

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
