"""What every user did, in memory, so that an event counts in the very next answer.

The log at start-up lies in flat arrays, one run a user; what arrives later is appended to small lists
beside them. Users and items have numbers of the memory's own, because artifacts number them anew:
swapping a model only makes a new table from these numbers to the model's.

Reading takes no lock: a user's late events are one list that only grows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from intently.data.histories import DAY_S
from intently.schema import EVENT_CODES, POSITIVE, ByteArray, DoubleArray, IntArray, LongArray

HALF_LIFE_DAYS = 28.0
_POSITIVE_CODES = frozenset(EVENT_CODES[name] for name in POSITIVE)


class Deeds(NamedTuple):
    """One user's positive events, oldest first: item numbers of the memory, seconds, event codes."""

    items: IntArray
    time_s: DoubleArray
    events: ByteArray


class Late(NamedTuple):
    """An event that came after start-up."""

    item: int
    time_s: float
    event: int


class Numbers:
    """Outside ids to consecutive numbers; new ones may be added."""

    def __init__(self, ids: list[str]) -> None:
        self.ids = ids
        self._number = {name: number for number, name in enumerate(ids)}

    def __len__(self) -> int:
        return len(self.ids)

    def get(self, name: str) -> int:
        """The number, -1 for a stranger."""
        return self._number.get(name, -1)

    def add(self, name: str) -> int:
        """The number, a new one for a stranger."""
        number = self._number.get(name)
        if number is None:
            number = self._number[name] = len(self.ids)
            self.ids.append(name)
        return number


class Memory:
    """Positive events of all users; `log` has user_id, item_id, event (code), time_s in any order."""

    def __init__(self, log: pl.DataFrame) -> None:
        positive = log.filter(pl.col("event").is_in(sorted(_POSITIVE_CODES)))
        users, user = _numbered(positive["user_id"])
        items, item = _numbered(positive["item_id"])
        self.users, self.items = Numbers(users), Numbers(items)
        order = np.lexsort((positive["time_s"].to_numpy(), user))
        counts = np.bincount(user, minlength=len(users))
        self._indptr: LongArray = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._items: IntArray = item[order]
        self._time_s: DoubleArray = positive["time_s"].to_numpy()[order]
        self._events: ByteArray = positive["event"].to_numpy().astype(np.uint8)[order]
        self._late: dict[int, list[Late]] = {}
        self.end_s: float | None = float(self._time_s.max()) if len(self._time_s) else None
        self.n_events = len(self._items)
        self.popular: IntArray = self._popular()

    def add(self, user_id: str, item_id: str, event: int, time_s: float) -> None:
        """Append one event; an event that says nothing good about the item is left out."""
        if event not in _POSITIVE_CODES:
            return
        user, item = self.users.add(user_id), self.items.add(item_id)
        self._late.setdefault(user, []).append(Late(item, time_s, event))
        self.n_events += 1

    def count(self, user: int) -> int:
        """Events of a user."""
        early = int(self._indptr[user + 1] - self._indptr[user]) if user < len(self._indptr) - 1 else 0
        return early + len(self._late.get(user, ()))

    def of(self, user_id: str) -> Deeds:
        """Everything a user did, oldest first; empty for a stranger."""
        user = self.users.get(user_id)
        if user < 0:
            return deeds([])
        if user < len(self._indptr) - 1:
            run = slice(int(self._indptr[user]), int(self._indptr[user + 1]))
            early = Deeds(self._items[run], self._time_s[run], self._events[run])
        else:
            early = deeds([])
        late = self._late.get(user)
        return after(early, deeds(list(late))) if late else early

    def find(self, query: str, start: int, n: int) -> tuple[list[int], int]:
        """Users whose id holds `query` (any case): page of numbers and how many there are in all.

        An exact match comes first, then ids that begin with it, then the most active.
        """
        wanted = query.lower()
        found = [
            (name.lower() != wanted, not name.lower().startswith(wanted), -self.count(number), number)
            for number, name in enumerate(list(self.users.ids))
            if wanted in name.lower()
        ]
        found.sort()
        return [number for *_rest, number in found[start : start + n]], len(found)

    def _popular(self) -> IntArray:
        """Item numbers at start-up, most met lately first: weight 0.5 ** (age / 28 days) an event."""
        if self.end_s is None:
            return np.zeros(0, np.int32)
        weights = 0.5 ** ((self.end_s - self._time_s) / DAY_S / HALF_LIFE_DAYS)
        scores = np.bincount(self._items, weights=weights, minlength=len(self.items))
        return np.argsort(-scores, kind="stable").astype(np.int32)


def deeds(late: list[Late]) -> Deeds:
    """Arrays of a list of events.

    >>> deeds([Late(3, 0.5, 1)]).items.tolist()
    [3]
    """
    return Deeds(
        np.fromiter((one.item for one in late), np.int32, len(late)),
        np.fromiter((one.time_s for one in late), np.float64, len(late)),
        np.fromiter((one.event for one in late), np.uint8, len(late)),
    )


def after(early: Deeds, late: Deeds) -> Deeds:
    """Both, in order of time; ties keep the order of arrival."""
    time_s = np.concatenate([early.time_s, late.time_s])
    order = np.argsort(time_s, kind="stable")
    items = np.concatenate([early.items, late.items])
    events = np.concatenate([early.events, late.events])
    return Deeds(items[order], time_s[order], events[order])


def _numbered(column: pl.Series) -> tuple[list[str], IntArray]:
    """Sorted distinct ids and the number of each row."""
    ids = column.unique().sort()
    table = pl.DataFrame({"id": ids, "number": np.arange(len(ids), dtype=np.int32)})
    joined = pl.DataFrame({"id": column}).join(table, on="id", how="left", maintain_order="left")
    return ids.to_list(), joined["number"].to_numpy()
