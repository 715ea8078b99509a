"""One frozen `Dataset`: a shop's three tables with dense ids inside.

Outside ids (strings) stop here. Time is an argument: `as_of`, `split_at` and `leave_one_out` cut the
world at a moment, and nothing made from the earlier part sees the later one. All cuts share the same
dense ids, so that a model fitted on one part can be judged on another.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy import sparse

from intently.data.histories import Histories
from intently.data.ids import IdMap
from intently.errors import InputError
from intently.schema import (
    EVENT_CODES,
    EVENTS,
    POSITIVE,
    TARGETS,
    DoubleArray,
    FloatArray,
    IntArray,
    LongArray,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from narwhals.typing import IntoFrame

    from intently.store import EventStore

_POSITIVE_CODES = [EVENT_CODES[name] for name in POSITIVE]


@dataclass(frozen=True)
class Dataset:
    """A shop as of a moment.

    events: user (i32), item (i32), event (u8 code of schema.EVENTS), time_s (f64 seconds since
        1970, UTC), value, quantity, price (f32, null when absent), session (i64, -1 when absent);
        ordered by time, ties in the order of arrival.
    item_table, user_table: row = dense id; the outside id, then the shop's columns.
    vectors: (n_items, d) float32 of texts (and pictures), unit length, or None until the catalogue is read.
    timed: False when the source had only an order; then nothing may read calendar time from it.
    """

    events: pl.DataFrame
    users: IdMap
    items: IdMap
    item_table: pl.DataFrame
    user_table: pl.DataFrame
    vectors: FloatArray | None = None
    timed: bool = True

    # -- making -------------------------------------------------------------------------------

    @staticmethod
    def from_frames(
        events: IntoFrame, items: IntoFrame | None = None, users: IntoFrame | None = None
    ) -> Dataset:
        """From polars or pandas frames with the columns of schema.py (aliases are recognised).

        Raises InputError when a required column is missing or a value cannot be read.
        """
        from intently.data.frames import dataset_from_frames

        return dataset_from_frames(events, items, users)

    @staticmethod
    def from_sequences(
        sequences: Sequence[Sequence[str]],
        users: Sequence[str] | None = None,
        items: IntoFrame | None = None,
    ) -> Dataset:
        """From ordered item ids, one list a user; there are no times, only an order."""
        from intently.data.frames import dataset_from_sequences

        return dataset_from_sequences(sequences, users, items)

    @staticmethod
    def from_store(store: EventStore) -> Dataset:
        """Everything a store holds, as of now; raises StoreError when it cannot be read."""
        from intently.data.frames import dataset_from_store

        return dataset_from_store(store)

    def with_vectors(self, vectors: FloatArray) -> Dataset:
        """The same shop with vectors of its items, (n_items, d); raises InputError on a wrong shape."""
        if vectors.ndim != 2 or len(vectors) != self.n_items:
            raise InputError(f"vectors of shape {vectors.shape}, expected ({self.n_items}, d)")
        return replace(self, vectors=np.ascontiguousarray(vectors, np.float32))

    # -- facts --------------------------------------------------------------------------------

    @property
    def n_users(self) -> int:
        """Known users, with or without events."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """Known items, with or without events."""
        return len(self.items)

    @property
    def n_events(self) -> int:
        """Rows of behaviour."""
        return self.events.height

    @cached_property
    def target(self) -> str:
        """The strongest event present: what is predicted unless the shop says otherwise."""
        present = set(self.events["event"].unique().to_list())
        return next((name for name in TARGETS if EVENT_CODES[name] in present), "purchase")

    @cached_property
    def end_s(self) -> float:
        """One microsecond after the last event: 'now' for a finished log."""
        last = self.events["time_s"].max()
        return float(last) + 1e-6 if isinstance(last, float) else 0.0

    @cached_property
    def start_s(self) -> float:
        """The first event's moment."""
        first = self.events["time_s"].min()
        return float(first) if isinstance(first, float) else 0.0

    @cached_property
    def repeat_share(self) -> float:
        """Share of target events on an item that the same user had met by the same event before."""
        indptr, hits = by_user(self.events, [EVENT_CODES[self.target]], self.n_users)
        moments, pairs = distinct(indptr, hits["item"].to_numpy(), hits["time_s"].to_numpy())
        return 1.0 - pairs / moments if moments else 0.0

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the events: which data a model or a figure came from."""
        digest = hashlib.sha256()
        for column in ("user", "item", "event", "time_s"):
            digest.update(np.ascontiguousarray(self.events[column].to_numpy()).tobytes())
        return digest.hexdigest()

    def titles(self) -> list[str]:
        """One text an item, '' when unknown."""
        if "title" not in self.item_table.columns:
            return [""] * self.n_items
        return self.item_table["title"].fill_null("").to_list()

    # -- cutting ------------------------------------------------------------------------------

    def as_of(self, moment: datetime | float) -> Dataset:
        """The shop as it stood just before `moment`; ids and tables stay."""
        return replace(self, events=self.events.filter(pl.col("time_s") < seconds(moment)))

    def since(self, moment: datetime | float) -> Dataset:
        """Only what happened at or after `moment`."""
        return replace(self, events=self.events.filter(pl.col("time_s") >= seconds(moment)))

    def split_at(self, moment: datetime | float) -> tuple[Dataset, Dataset]:
        """(past, future): events before, and at or after, `moment`."""
        return self.as_of(moment), self.since(moment)

    def leave_one_out(self) -> tuple[Dataset, IntArray]:
        """(all but each user's last positive event, that event's item by user; -1 without one).

        A user with fewer than two positive events keeps them all. Call it again on the first
        part for a validation item.
        """
        positive = self.events["event"].is_in(_POSITIVE_CODES).to_numpy()
        rows = np.flatnonzero(positive)
        user = self.events["user"].to_numpy()[rows]
        counts = np.bincount(user, minlength=self.n_users)
        last = np.full(self.n_users, -1, np.int64)
        last[user] = rows  # later rows overwrite earlier ones
        last[counts < 2] = -1
        held = last[last >= 0]
        targets = np.full(self.n_users, -1, np.int32)
        items = self.events["item"].to_numpy()
        targets[last >= 0] = items[held]
        keep = np.ones(self.n_events, bool)
        keep[held] = False
        return replace(self, events=self.events.filter(pl.Series(keep))), targets

    # -- reading ------------------------------------------------------------------------------

    @cached_property
    def _by_user(self) -> tuple[LongArray, pl.DataFrame]:
        return by_user(self.events, _POSITIVE_CODES, self.n_users)

    def histories(
        self,
        users: Sequence[int] | IntArray | None = None,
        at: datetime | float | None = None,
    ) -> Histories:
        """Positive events of these users (all by default), asked `at` (default: the end).

        Events at or after `at` are left out.
        """
        source = self if at is None else self.as_of(at)
        indptr, frame = source._by_user
        moment = self.end_s if at is None else seconds(at)
        everyone = Histories(
            indptr,
            frame["item"].to_numpy(),
            frame["time_s"].to_numpy(),
            frame["event"].to_numpy(),
            np.arange(self.n_users, dtype=np.int32),
            np.full(self.n_users, moment, np.float64),
        )
        return everyone if users is None else everyone.select(np.asarray(users, np.int64))

    def baskets(self, event: str | None = None) -> tuple[LongArray, IntArray]:
        """Distinct target items of each user in this dataset: (indptr, items)."""
        code = EVENT_CODES[event or self.target]
        pairs = self.events.filter(pl.col("event") == code).select("user", "item").unique()
        pairs = pairs.sort("user", "item")
        counts = np.bincount(pairs["user"].to_numpy(), minlength=self.n_users)
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return indptr, pairs["item"].to_numpy()

    def moments(self) -> DoubleArray:
        """Seconds of every event, in order."""
        return self.events["time_s"].to_numpy()

    def event_names(self) -> list[str]:
        """Which kinds of events this shop has."""
        return [EVENTS[code] for code in sorted(self.events["event"].unique().to_list())]


def by_user(events: pl.DataFrame, codes: list[int], n_users: int) -> tuple[LongArray, pl.DataFrame]:
    """(indptr, columns item, time_s, event) of the events with these codes: users in order, then time.

    By counting, not by comparing: one pass over the events whatever their number.
    """
    chosen = events.select("user", "item", "time_s", "event")
    if chosen["event"].n_unique() > 1 or chosen["event"].first() not in codes:
        chosen = chosen.filter(pl.col("event").is_in(codes))
    users, n = chosen["user"].to_numpy(), chosen.height
    cells = (np.ones(n, np.int8), (users, np.arange(n, dtype=np.int32)))
    counted = sparse.coo_matrix(cells, shape=(n_users, max(n, 1))).tocsr()
    return counted.indptr.astype(np.int64), chosen.select("item", "time_s", "event")[counted.indices]


def distinct(indptr: LongArray, items: IntArray, time_s: DoubleArray) -> tuple[int, int]:
    """(distinct (user, item, moment), distinct (user, item)) of events in the layout of `Histories`."""
    n_users = len(indptr) - 1
    width = int(items.max(initial=0)) + 1
    place = np.arange(len(items), dtype=np.int64)
    met = sparse.csr_matrix((place, items.copy(), indptr.copy()), shape=(n_users, width))
    met.sort_indices()
    user = np.repeat(np.arange(n_users, dtype=np.int32), np.diff(indptr))
    again = np.zeros(len(items) + 1, bool)  # the same item of the same user as the entry before
    again[1:-1] = (met.indices[1:] == met.indices[:-1]) & (user[1:] == user[:-1])
    pairs = len(items) - int(again.sum())
    several = np.flatnonzero(again[:-1] | again[1:])  # entries of items that a user met more than once
    who, what, when = user[several], met.indices[several], time_s[met.data[several]]
    order = np.lexsort((when, what, who))
    who, what, when = who[order], what[order], when[order]
    same = (who[1:] == who[:-1]) & (what[1:] == what[:-1]) & (when[1:] == when[:-1])
    return len(items) - int(same.sum()), pairs


def seconds(moment: datetime | float) -> float:
    """Seconds since 1970; a naive datetime is UTC."""
    if isinstance(moment, datetime):
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return aware.timestamp()
    return float(moment)
