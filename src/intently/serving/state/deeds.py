"""One user's positive events as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from intently.schema import ByteArray, DoubleArray, IntArray


class Deeds(NamedTuple):
    """Oldest first: item numbers of the memory, seconds, event codes."""

    items: IntArray
    time_s: DoubleArray
    events: ByteArray

    def same(self, other: Deeds) -> bool:
        """Whether these are the same events."""
        return (
            np.array_equal(self.items, other.items)
            and np.array_equal(self.time_s, other.time_s)
            and np.array_equal(self.events, other.events)
        )

    def part(self, start: int, stop: int) -> Deeds:
        """Those from `start` to before `stop`."""
        return Deeds(self.items[start:stop], self.time_s[start:stop], self.events[start:stop])


Late = tuple[int, float, int]
"""An event that came after start-up: item, seconds, event code."""


def deeds(late: Sequence[Late]) -> Deeds:
    """Arrays of a list of events.

    >>> deeds([(3, 0.5, 1)]).items.tolist()
    [3]
    """
    return Deeds(
        np.fromiter((item for item, _, _ in late), np.int32, len(late)),
        np.fromiter((time_s for _, time_s, _ in late), np.float64, len(late)),
        np.fromiter((event for _, _, event in late), np.uint8, len(late)),
    )


def after(early: Deeds, late: Deeds) -> Deeds:
    """Both, in order of time; ties keep the order of arrival."""
    time_s = np.concatenate([early.time_s, late.time_s])
    items = np.concatenate([early.items, late.items])
    events = np.concatenate([early.events, late.events])
    if (time_s[1:] >= time_s[:-1]).all():
        return Deeds(items, time_s, events)
    order = np.argsort(time_s, kind="stable")
    return Deeds(items[order], time_s[order], events[order])


NOTHING = deeds([])
