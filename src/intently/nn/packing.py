"""Ragged sequences of bags, and batches of them without padding.

A bag holds the items of one moment (a basket): their order means nothing, so they are one token, the
mean of their vectors. In a log without baskets every bag holds one item.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Bags:
    """Sequence s is the bags `ends[s]:ends[s + 1]`; bag b holds `items[starts[b]:starts[b + 1]]`."""

    items: Ints  # (n_events,)
    starts: Ints  # (n_bags + 1,)
    ends: Ints  # (n_sequences + 1,)
    times: Doubles  # (n_bags,) seconds
    kinds: Bytes | None = None  # (n_events,) which kind of event each was, where that is told

    @staticmethod
    def of(rows: Ints, moments: Doubles, items: Ints, n_sequences: int, kinds: Bytes | None = None) -> Bags:
        """Events ordered by row, then time; equal row and moment make one bag.

        >>> bags = Bags.of(np.array([0, 0, 0, 2]), np.array([1.0, 1, 2, 1]), np.array([5, 6, 7, 8]), 3)
        >>> bags.starts.tolist(), bags.ends.tolist()
        ([0, 2, 3, 4], [0, 2, 2, 3])
        """
        n = len(items)
        new = np.ones(n, bool)
        new[1:] = (rows[1:] != rows[:-1]) | (moments[1:] != moments[:-1])
        first = np.flatnonzero(new)
        counts = np.bincount(rows[first], minlength=n_sequences)
        ends = np.append(0, np.cumsum(counts))
        return Bags(items.astype(np.int64), np.append(first, n), ends, moments[first], kinds)

    @property
    def lengths(self) -> Ints:
        """Bags of each sequence."""
        return np.diff(self.ends)

    def between(self, first: Ints, stop: Ints) -> tuple[Ints, Ints]:
        """(row, item) of every item in the bags first[row] : stop[row]."""
        begin, count = self.starts[first], self.starts[stop] - self.starts[first]
        return np.repeat(np.arange(len(first)), count), self.items[ragged(begin, count)]


@dataclass(frozen=True)
class Packed:
    """Sequences side by side, equally long ones together.

    groups: (count, length) of each run. items, starts: the bag of each token, `starts` (tokens + 1,).
    times: (tokens,) seconds. kinds: of each item's event, where that is told.
    """

    groups: list[tuple[int, int]]
    items: Ints
    starts: Ints
    times: Doubles
    kinds: Bytes | None = None

    @property
    def token(self) -> Ints:
        """The token of each item."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


def pack(bags: Bags, first: Ints, lengths: Ints) -> tuple[Packed, Packed, Ints]:
    """(inputs, the bags one later, order) of the windows that start at bag `first`.

    order: the windows as they lie in the row: by length, else as given. The last window bag of the
    data has no later one; its target is empty.

    >>> bags = Bags.of(np.array([0, 0, 0]), np.arange(3.0), np.array([5, 6, 7]), 1)
    >>> inputs, targets, _ = pack(bags, np.array([0]), np.array([2]))
    >>> inputs.groups, inputs.items.tolist(), targets.items.tolist()
    ([(1, 2)], [5, 6], [6, 7])
    """
    order = np.argsort(lengths, kind="stable")
    sizes, counts = np.unique(lengths, return_counts=True)
    groups = [(int(count), int(size)) for size, count in zip(sizes, counts, strict=True)]
    chosen = ragged(first[order], lengths[order])
    targets = _gather(bags, chosen + 1, groups)
    return _gather(bags, chosen, groups), targets, order


def _gather(bags: Bags, chosen: Ints, groups: list[tuple[int, int]]) -> Packed:
    last = len(bags.starts) - 1
    begin, end = bags.starts[np.minimum(chosen, last)], bags.starts[np.minimum(chosen + 1, last)]
    starts = np.append(0, np.cumsum(end - begin))
    events = ragged(begin, end - begin)
    times = bags.times[np.minimum(chosen, last - 1)]
    kinds = None if bags.kinds is None else bags.kinds[events]
    return Packed(groups, bags.items[events], starts, times, kinds)


def ragged(first: Ints, lengths: Ints) -> Ints:
    """The ranges first[i] : first[i] + lengths[i], one after the other.

    >>> ragged(np.array([3, 10]), np.array([2, 3])).tolist()
    [3, 4, 10, 11, 12]
    """
    stops = np.cumsum(lengths)
    total = int(stops[-1]) if len(stops) else 0
    out: Ints = np.arange(total) + np.repeat(first - (stops - lengths), lengths)
    return out


def windows(
    ends: Ints, lengths: Ints, longest: int, tokens: int, generator: np.random.Generator
) -> Iterator[tuple[Ints, Ints]]:
    """One epoch: batches (first, lengths) of about `tokens` bags, in random order.

    Every bag that has a later one is a token exactly once. A sequence longer than `longest` is cut
    at places that move from epoch to epoch.

    ends: (n + 1,) as in Bags. lengths: (n,) bags to train on, from each sequence's first.
    """
    inputs = np.maximum(lengths - 1, 0)
    shift = np.where(inputs > longest, generator.integers(0, longest, len(inputs)), 0)
    pieces = (inputs + shift + longest - 1) // longest  # ceiling
    owner = np.repeat(np.arange(len(inputs)), pieces)
    number = ragged(np.zeros(len(inputs), np.int64), pieces)
    begin = np.maximum(number * longest - shift[owner], 0)
    stop = np.minimum((number + 1) * longest - shift[owner], inputs[owner])
    shuffled = generator.permutation(len(owner))
    first, size = (ends[owner] + begin)[shuffled], (stop - begin)[shuffled]
    batch = np.cumsum(size) // tokens
    for part in np.split(np.arange(len(size)), np.flatnonzero(np.diff(batch)) + 1):
        if len(part):
            yield first[part], size[part]
