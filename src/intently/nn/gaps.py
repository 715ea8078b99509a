"""How long it was between moments, in buckets that double: minutes apart, a day, a year."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]

BUCKETS = 24
"""Below a minute, then doubling from one minute to sixteen years and beyond."""

MINUTE_S = 60.0


def buckets(gap_s: Doubles) -> Ints:
    """The bucket of each gap in seconds; one that is negative counts as none.

    >>> buckets(np.array([0.0, 59.0, 60.0, 86_400.0, 1e12])).tolist()
    [0, 0, 1, 10, 23]
    """
    doublings = np.log2(1.0 + np.maximum(gap_s, 0.0) / MINUTE_S)
    return np.minimum(doublings, BUCKETS - 1).astype(np.int64)


def within(times: Doubles, groups: list[tuple[int, int]], latest: bool = False) -> list[Ints]:
    """(count, length, length) of each group: the bucket from the asking token back to each other one.

    times: (tokens,) seconds. latest: only the last token of each sequence asks, (count, 1, length).
    """
    out, start = [], 0
    for count, length in groups:
        part = times[start : start + count * length].reshape(count, length)
        out.append(buckets(part[:, length - 1 if latest else 0 :, None] - part[:, None, :]))
        start += count * length
    return out


def vary(times: Doubles, ends: Ints) -> bool:
    """Whether gaps fall into more than one bucket; sequence s has the moments ends[s] : ends[s + 1].

    >>> two, three = np.array([0, 2, 3]), np.array([0, 3])
    >>> vary(np.array([0.0, 60.0, 9e9]), two), vary(np.array([0.0, 60.0, 9e9]), three)
    (False, True)
    """
    inside = np.ones(max(len(times) - 1, 0), bool)
    edges = ends[1:-1][(ends[1:-1] > 0) & (ends[1:-1] < len(times))]
    inside[edges - 1] = False
    return len(np.unique(buckets(np.diff(times)[inside]))) > 1
