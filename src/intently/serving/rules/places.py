"""Orders of candidates under boosts, caps and pins: plain arithmetic on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

import numpy as np

from intently.schema import BoolArray, ByteArray, DoubleArray, IntArray, LongArray

_NO_BORDERS = np.zeros(0, np.int64)


def boosted(scores: DoubleArray, sources: ByteArray, multiply: DoubleArray, add: DoubleArray) -> LongArray:
    """Places in their new order; all arrays (m,), candidates best first.

    An item moves among its neighbours of the same source, for scores of different sources do not compare.
    A boosted score is score * multiply + add; below 0 it is score / multiply + add, so that a factor above 1
    always helps. Neighbours without scores (nan) count as 1, 1/2, 1/3, ... by their place.

    >>> scores, double_last = np.array([0.5, 0.4, 0.3]), np.array([1.0, 1.0, 2.0])
    >>> boosted(scores, np.zeros(3, np.uint8), double_last, np.zeros(3)).tolist()
    [2, 0, 1]
    """
    low, codes = float(np.minimum.reduce(scores, initial=0.0)), sources.tobytes()
    borders = _NO_BORDERS
    if codes.count(codes[:1]) != len(codes):
        borders = np.flatnonzero(sources[1:] != sources[:-1]) + 1
    if isnan(low):  # one of them is
        unknown = np.isnan(scores)
        place = np.arange(len(scores))
        first = np.concatenate([[0], borders])[np.searchsorted(borders, place, side="right")]
        scores = np.where(unknown, 1.0 / (place - first + 1.0), scores)
        low = float(np.minimum.reduce(scores, initial=0.0))
    moved = scores * multiply
    if low < 0.0:
        moved = np.where(scores >= 0.0, moved, scores / multiply)
    moved += add
    if not len(borders):
        return np.negative(moved, out=moved).argsort(kind="stable")
    order: LongArray = np.lexsort((-moved, np.searchsorted(borders, np.arange(len(scores)), side="right")))
    return order


def kept(codes: IntArray, most: int, first: IntArray | None = None) -> BoolArray:
    """(m,): the first `most` of each code, in order; a code of -1 (nothing known) is never too many.

    first: codes that take their places before all others (of pinned items).

    >>> kept(np.array([7, 7, 3, 7, -1, -1], np.int32), 2).tolist()
    [True, True, True, False, True, True]
    """
    every = codes if first is None or not len(first) else np.concatenate([first, codes])
    bits = len(every).bit_length()
    keys = (every.astype(np.int64) << bits) + np.arange(len(every))  # by code, then by place
    keys.sort()
    ranked = keys >> bits
    over = ranked[most:]
    over = keys[most:][(over == ranked[: len(over)]) & (over >= 0)]  # whose `most`-th before it is like it
    found: BoolArray = np.ones(len(every), bool)
    found[over & ((1 << bits) - 1)] = False
    return found[len(every) - len(codes) :]


def pinned(n: int, pins: Sequence[tuple[int, int]]) -> LongArray:
    """Places of `n` candidates with some of them pinned: (candidate, slot from 1), the earlier pin first.

    A slot that is taken gives way to the next free one; a slot behind the end is the end.

    >>> pinned(5, [(4, 1), (3, 1), (0, 9)]).tolist()
    [4, 3, 1, 2, 0]
    """
    taken: dict[int, int] = {}
    for candidate, slot in pins:
        place = slot - 1
        while place in taken:
            place += 1
        taken[place] = candidate
    places = sorted(taken)
    candidates = [taken[place] for place in places]
    ends = [min(place, n - len(places) + nth) for nth, place in enumerate(places)]
    out = np.full(n, -1, np.int64)
    out[ends] = candidates
    rest: BoolArray = np.ones(n, bool)
    rest[candidates] = False
    out[out < 0] = np.flatnonzero(rest)
    return out
