"""What each of a batch of users did before a moment: the input of every model.

A ragged batch in the layout of a CSR matrix: user `b` did `items[indptr[b]:indptr[b+1]]`, oldest
first. Models answer from histories, never from user ids, so that an event counts without a refit
and a stranger (an empty history) gets an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from intently.schema import EVENT_CODES, ByteArray, DoubleArray, FloatArray, IntArray, LongArray

DAY_S = 86400.0


@dataclass(frozen=True)
class Histories:
    """Ragged batch of `len(self)` users' past positive events, oldest first."""

    indptr: LongArray  # (batch + 1,)
    items: IntArray  # (n_events,) dense item ids
    time_s: DoubleArray  # (n_events,) seconds since 1970, never after the user's `at_s`
    events: ByteArray  # (n_events,) codes of schema.EVENTS
    users: IntArray  # (batch,) dense user ids, -1 for strangers
    at_s: DoubleArray  # (batch,) the moment of asking

    def __len__(self) -> int:
        return len(self.users)

    @property
    def lengths(self) -> LongArray:
        """Events of each user, (batch,)."""
        return np.diff(self.indptr)

    @property
    def rows(self) -> IntArray:
        """Row of each event, (n_events,)."""
        return np.repeat(np.arange(len(self), dtype=np.int32), self.lengths)

    @property
    def age_days(self) -> FloatArray:
        """Days from each event to its user's moment of asking, (n_events,), >= 0."""
        ages = (np.repeat(self.at_s, self.lengths) - self.time_s) / DAY_S
        return np.maximum(ages, 0.0).astype(np.float32)

    @property
    def steps_back(self) -> IntArray:
        """Distinct later moments of the same user after each event: 0 for the latest basket.

        Products of one basket share a step: the order inside a basket means nothing.
        """
        n = len(self.items)
        if n == 0:
            return np.zeros(0, np.int32)
        rows = self.rows
        new = np.ones(n, np.int64)
        new[1:] = (rows[1:] != rows[:-1]) | (self.time_s[1:] != self.time_s[:-1])
        group = np.cumsum(new)
        last = group[self.indptr[1:][rows] - 1]
        return (last - group).astype(np.int32)

    def select(self, rows: Sequence[int] | LongArray | IntArray) -> Histories:
        """The batch of these rows, in this order."""
        chosen = np.asarray(rows, dtype=np.int64)
        lengths = self.lengths[chosen]
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        offsets = np.repeat(self.indptr[chosen] - indptr[:-1], lengths)
        take = np.arange(indptr[-1], dtype=np.int64) + offsets
        return Histories(
            indptr,
            self.items[take],
            self.time_s[take],
            self.events[take],
            self.users[chosen],
            self.at_s[chosen],
        )

    def batches(self, size: int) -> Iterator[Histories]:
        """Consecutive batches of at most `size` users."""
        for start in range(0, len(self), size):
            yield self.select(np.arange(start, min(start + size, len(self))))

    def last(self, n: int) -> Histories:
        """Only the latest `n` events of each user."""
        lengths = np.minimum(self.lengths, n)
        keep = np.arange(len(self.items)) >= np.repeat(self.indptr[1:] - lengths, self.lengths)
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return replace(
            self,
            indptr=indptr,
            items=self.items[keep],
            time_s=self.time_s[keep],
            events=self.events[keep],
        )

    def matrix(self, n_items: int, weights: FloatArray | None = None) -> sparse.csr_matrix:
        """Sparse (batch, n_items); repeated items are added up. `weights` default to ones."""
        data = np.ones(len(self.items), np.float32) if weights is None else weights
        parts = (data, self.items, self.indptr)
        out = sparse.csr_matrix(parts, shape=(len(self), n_items), copy=True)  # merged in place below
        out.sum_duplicates()
        return out

    @staticmethod
    def of(sequences: Sequence[Sequence[int]], *, at_s: float = 0.0, event: str = "purchase") -> Histories:
        """From plain lists of dense item ids; events lie one day apart and end a day before `at_s`."""
        lengths = np.fromiter((len(s) for s in sequences), np.int64, len(sequences))
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        items = np.fromiter((i for s in sequences for i in s), np.int32, int(indptr[-1]))
        back = np.repeat(indptr[1:], lengths) - np.arange(len(items))
        return Histories(
            indptr,
            items,
            (at_s - back * DAY_S).astype(np.float64),
            np.full(len(items), EVENT_CODES[event], np.uint8),
            np.full(len(sequences), -1, np.int32),
            np.full(len(sequences), at_s, np.float64),
        )
