"""What time it is in the shop.

A shop whose log ended years ago (a finished data set) would look abandoned to every model that reads
ages. Its clock goes on from the end of the log instead, at the speed of ours, and says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from intently.data.histories import DAY_S

STALE_DAYS = 30.0
"""A log that ended longer ago than this is taken for a finished one."""


class ShopClock:
    """Wall time, or the time since the log's end when the log is finished.

    >>> clock = ShopClock(1_514_764_800.0, wall=lambda: 1_800_000_000.0)
    >>> clock.historic, clock.text()
    (True, '2018-01-01T00:00:00Z')
    """

    def __init__(self, log_end_s: float | None, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        now_s = wall()
        self.historic = log_end_s is not None and now_s - log_end_s > STALE_DAYS * DAY_S
        self._behind_s = now_s - log_end_s if self.historic and log_end_s is not None else 0.0

    def now(self) -> float:
        """Seconds since 1970 by the shop's clock."""
        return self._wall() - self._behind_s

    def text(self) -> str:
        """The same as RFC 3339, in whole seconds."""
        return rfc3339(self.now())

    def latest(self) -> float:
        """The last moment an event may carry: a day ahead of the wall clock, for skewed senders."""
        return self._wall() + DAY_S


def rfc3339(moment_s: float) -> str:
    """RFC 3339 in UTC, whole seconds.

    >>> rfc3339(0.0)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
