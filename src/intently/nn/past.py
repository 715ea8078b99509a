"""What was met before each of a batch of moments, and how much each of it counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from intently.nn.packing import Bags, Floats, Ints, ragged

DAY_S = 86400.0


@dataclass(frozen=True)
class Past:
    """Row r met `items[starts[r]:starts[r + 1]]`, oldest first; a row may be empty."""

    items: Ints  # (n,)
    starts: Ints  # (rows + 1,)
    steps: Ints  # (n,) moments back, 0 for the latest
    log_days: Floats  # (n,) log(1 + days back), 0 where there is no clock
    share: Floats  # (n,) one over the items of the same moment

    def __len__(self) -> int:
        return len(self.starts) - 1


def look_back(
    bags: Bags, first: Ints, stop: Ints, longest: int, moment_s: NDArray[np.float64], asked_s: Any
) -> Past:
    """The latest `longest` of the bags first[r] : stop[r], seen from `asked_s` (rows,), seconds.

    moment_s: (n_bags,) of each bag; empty where there is no clock.

    >>> bags = Bags.of(np.array([0, 0, 0]), np.array([1.0, 1, 2]), np.array([5, 6, 7]), 1)
    >>> seen = look_back(bags, np.array([0]), np.array([2]), 50, np.zeros(0), None)
    >>> seen.items.tolist(), seen.steps.tolist(), seen.share.tolist()
    ([5, 6, 7], [1, 1, 0], [0.5, 0.5, 1.0])
    """
    begin = np.maximum(first, stop - longest)
    lengths = stop - begin
    bag = ragged(begin, lengths)
    row = np.repeat(np.arange(len(first)), lengths)
    sizes = bags.starts[bag + 1] - bags.starts[bag]
    starts = np.append(0, np.cumsum(bags.starts[stop] - bags.starts[begin]))
    days = np.zeros(len(bag))
    if len(moment_s):
        days = np.maximum(np.asarray(asked_s)[row] - moment_s[bag], 0.0) / DAY_S
    return Past(
        bags.items[ragged(bags.starts[bag], sizes)],
        starts,
        np.repeat(stop[row] - 1 - bag, sizes),
        np.repeat(np.log1p(days), sizes).astype(np.float32),
        np.repeat(1.0 / sizes, sizes).astype(np.float32),
    )


def pooled(past: Past, table: Floats, weights: Mapping[str, NDArray[Any]]) -> Floats:
    """(rows, d): weighted sum of what each row met; zeros for an empty row.

    weights: `recency.steps` (longest,) and `recency.slope` (1,), as recency.Recency learned them.
    """
    exponent = weights["recency.steps"][past.steps] - weights["recency.slope"] * past.log_days
    parts = (np.exp(exponent) * past.share, past.items, past.starts)
    out: Floats = sparse.csr_matrix(parts, shape=(len(past), len(table))) @ table
    return out


def latest(past: Past, table: Floats) -> Floats:
    """(rows, d): mean of the latest moment of each row; zeros for an empty row."""
    parts = (np.where(past.steps == 0, past.share, np.float32(0)), past.items, past.starts)
    out: Floats = sparse.csr_matrix(parts, shape=(len(past), len(table))) @ table
    return out
