"""One user's positive events as arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from intently.schema import ByteArray, DoubleArray, IntArray


class Deeds(NamedTuple):
    """Oldest first: item numbers of the memory, seconds, event codes."""

    items: IntArray
    time_s: DoubleArray
    events: ByteArray

    def part(self, start: int, stop: int) -> Deeds:
        """Those from `start` to before `stop`."""
        return Deeds(self.items[start:stop], self.time_s[start:stop], self.events[start:stop])


class Late(NamedTuple):
    """An event that came after start-up."""

    item: int
    time_s: float
    event: int


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
    items = np.concatenate([early.items, late.items])
    events = np.concatenate([early.events, late.events])
    if (time_s[1:] >= time_s[:-1]).all():
        return Deeds(items, time_s, events)
    order = np.argsort(time_s, kind="stable")
    return Deeds(items[order], time_s[order], events[order])


NOTHING = deeds([])
