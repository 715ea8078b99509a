"""Training tables of two-stage models: pairs of the past and what came of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from intently.data import Dataset
from intently.schema import BoolArray, FloatArray, IntArray, LongArray

HELD_SHARE, LEAST_HELD, MOST_HELD_SHARE = 0.1, 60, 0.33
"""Users kept from learning, for early stopping and for the calibration.

A share of them, but at least LEAST_HELD where that is no more than MOST_HELD_SHARE: two numbers of a curve
that are read off fifteen users differ from what they should be by a tenth (docs/LOG.md).
"""


@dataclass(frozen=True)
class Pairs:
    """(user, item) pairs of one batch of histories, and what is known of them.

    rows, items, listed, features: one entry a pair; listed: whether the item is a candidate. profiles:
    (batch, width), one row a history, for models that look at more of a user than `features` says;
    width 0 for the others.
    """

    rows: LongArray
    items: IntArray
    listed: BoolArray
    features: FloatArray
    profiles: FloatArray

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, chosen: LongArray | BoolArray | slice) -> Pairs:
        """Only these pairs."""
        return replace(
            self,
            rows=self.rows[chosen],
            items=self.items[chosen],
            listed=self.listed[chosen],
            features=self.features[chosen],
        )


@dataclass(frozen=True)
class Table:
    """Pairs of the past with what came of them; users, labels: one entry a pair."""

    pairs: Pairs
    users: LongArray
    labels: FloatArray

    def where(self, mask: BoolArray) -> Table:
        """Only these pairs."""
        return Table(self.pairs.at(mask), self.users[mask], self.labels[mask])


def wanted_keys(future: Dataset, n_items: int, target: str) -> LongArray:
    """user * n_items + item of everything that was met by the target event in `future`."""
    indptr, items = future.baskets(target)
    return np.repeat(np.arange(len(indptr) - 1, dtype=np.int64), np.diff(indptr)) * n_items + items


def apart(tables: list[Table], seed: int) -> tuple[list[Table], list[Table]]:
    """Pairs of most users and of the held ones; `tables` is emptied as it is read, to save memory."""
    users = np.unique(np.concatenate([part.users for part in tables]))
    share = max(HELD_SHARE, min(MOST_HELD_SHARE, LEAST_HELD / len(users)))
    held_users = _some(users, share, seed)
    seen: list[Table] = []
    held: list[Table] = []
    while tables:
        part = tables.pop(0)
        kept = np.isin(part.users, held_users)
        for side, mask in ((seen, ~kept), (held, kept)):
            if mask.any():
                side.append(part.where(mask))
    return seen, held or list(
        seen
    )  # a handful of users: better calibrated on what was learned than not at all


def _some(users: LongArray, share: float, seed: int) -> LongArray:
    return np.random.default_rng(seed).permutation(users)[: int(len(users) * share)]
