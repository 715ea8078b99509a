"""What a check sees and what it says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from intently.schema import EVENT_CODES, EVENTS

SHOWN = 10


@dataclass(frozen=True)
class Finding:
    """severity: bad | warning | note | good. figure: the share or count that decided it.

    rows: at most ten rows that show it, empty when there is nothing to show.
    """

    name: str
    severity: str
    figure: float
    says: str
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Evidence:
    """The tables a check looks at; see doctor.examine_tables."""

    events: pl.DataFrame
    items: pl.DataFrame
    target: str
    now_s: float

    @property
    def n(self) -> int:
        """Events."""
        return self.events.height

    @cached_property
    def hits(self) -> pl.DataFrame:
        """Events of the target kind."""
        return self.events.filter(pl.col("event") == EVENT_CODES[self.target])

    @cached_property
    def met(self) -> pl.DataFrame:
        """item_id, events: how often each item was met."""
        return self.events.group_by("item_id").len("events")

    @cached_property
    def catalogue(self) -> pl.DataFrame:
        """Items that have at least one attribute."""
        known = [name for name in self.items.columns if name != "item_id"]
        if not known:
            return self.items.clear()
        return self.items.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in known))

    @cached_property
    def daily(self) -> bool:
        """Whether nearly all times fall on one time of day: they are days, not moments."""
        clock = (self.events["time_s"] % 86400.0).round(0)
        return self.n >= 10 and int(clock.value_counts(sort=True)["count"][0]) > 0.99 * self.n


def shown(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """The first rows, with times and event names as people read them."""
    head = frame.head(SHOWN)
    if "time_s" in head.columns:
        moment = pl.from_epoch((pl.col("time_s") * 1e6).cast(pl.Int64), "us")
        head = head.with_columns(moment.dt.strftime("%Y-%m-%dT%H:%M:%SZ").alias("time_s"))
        head = head.rename({"time_s": "time"})
    if "event" in head.columns and head["event"].dtype == pl.UInt8:
        names = [EVENTS[code] for code in head["event"].to_list()]
        head = head.with_columns(pl.Series("event", names, dtype=pl.String))
    return head.to_dicts()
