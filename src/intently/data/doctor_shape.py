"""Checks of how the tables fit together, and of how much there is."""

from __future__ import annotations

from typing import Any, Final

import polars as pl

from intently.data.doctor_finding import Evidence, Finding, shown
from intently.schema import EVENT_CODES, EVENTS

ENOUGH_USERS: Final = 100
"""Users with the target event at two moments or more, so that a difference can be shown at all.

Measured with benchmarks/enough_events.py, paired difference in recall@10 to popularity: with 100
households of Complete Journey the interval of `repeat` lies above 0 in 3 draws of 3, with 50 in 1.
"""

ENOUGH_EVENTS: Final = 15_000
"""Target events of those users where nobody buys a thing again.

`covisit` on Amazon Beauty, draws whose interval lies above 0: 15,000 events 2 of 2, 8,000 1 of 2,
4,000 0 of 2.
"""

ENOUGH_EVENTS_REPEATED: Final = 3_000
"""The same where at least one purchase in ten is of something the user bought before.

`repeat` on Complete Journey: above 0 in 3 draws of 3 with as little as 3,800 events.
"""

_REPEATED: Final = 0.1


def unknown_items(seen: Evidence) -> Finding:
    """Items that users meet and the catalogue does not list."""
    if seen.catalogue.is_empty():
        return Finding("unknown items", "note", 1.0, "there is no catalogue: items have no text", [])
    stray = seen.met.join(seen.catalogue.select("item_id"), on="item_id", how="anti")
    stray = stray.sort("events", "item_id", descending=[True, False])
    share = int(stray["events"].sum()) / seen.n
    if stray.is_empty():
        return Finding("unknown items", "good", 0.0, "every item met is in the catalogue", [])
    says = f"{stray.height:,} items ({share:.1%} of events) are not in the catalogue"
    return Finding("unknown items", "warning" if share > 0.05 else "note", share, says, shown(stray))


def dead_items(seen: Evidence) -> Finding:
    """Items of the catalogue that nobody ever met."""
    dead = seen.catalogue.join(seen.met, on="item_id", how="anti")
    share = dead.height / max(seen.catalogue.height, 1)
    if dead.is_empty():
        return Finding("dead items", "good", 0.0, "every item of the catalogue was met", [])
    says = (
        f"{dead.height:,} items of the catalogue ({share:.1%}) were never met; only their text can rank them"
    )
    columns = [name for name in ("item_id", "title") if name in dead.columns]
    return Finding(
        "dead items", "warning" if share > 0.5 else "note", share, says, shown(dead.select(columns))
    )


def missing_text(seen: Evidence) -> Finding:
    """Items without a title, the most met first."""
    table = seen.catalogue
    if table.is_empty():
        return Finding("missing text", "note", 1.0, "there is no catalogue to read", [])
    if "title" not in table.columns:
        return Finding("missing text", "warning", 1.0, "the catalogue has no titles to read", [])
    bare = table.filter(pl.col("title").is_null() | (pl.col("title").str.strip_chars() == ""))
    share = bare.height / table.height
    if bare.is_empty():
        return Finding("missing text", "good", 0.0, "every item of the catalogue has a title", [])
    rows = bare.select("item_id").join(seen.met, on="item_id", how="left").fill_null(0)
    rows = rows.sort("events", "item_id", descending=[True, False])
    says = f"{bare.height:,} items of the catalogue ({share:.1%}) have no title"
    return Finding("missing text", "warning" if share > 0.05 else "note", share, says, shown(rows))


def without_effect(seen: Evidence) -> Finding:
    """Kinds of events after which the same user never does the target event on the same item."""
    last = seen.hits.group_by("user_id", "item_id").agg(target_s=pl.col("time_s").max())
    others = seen.events.filter(pl.col("event") != EVENT_CODES[seen.target])
    if others.is_empty():
        return Finding("events without effect", "good", 0.0, f"{seen.target} is the only event", [])
    led = (
        others.join(last, on=["user_id", "item_id"], how="left")
        .group_by("event")
        .agg(events=pl.len(), led_to_target=(pl.col("target_s") >= pl.col("time_s")).fill_null(False).sum())
        .sort("event")
    )
    idle = led.filter(pl.col("led_to_target") == 0)
    share = int(idle["events"].sum()) / seen.n
    if idle.is_empty():
        says = f"each kind of event is followed by a {seen.target} at times"
        return Finding("events without effect", "good", 0.0, says, shown(led))
    names = ", ".join(EVENTS[code] for code in idle["event"].to_list())
    says = f"no {names} is ever followed by a {seen.target} of that item by that user; do the ids match?"
    return Finding("events without effect", "warning", share, says, shown(led))


def returns(seen: Evidence) -> Finding:
    """Target events of a negative quantity: things brought back, which count as wanted otherwise."""
    back = seen.hits.filter(pl.col("quantity") < 0) if "quantity" in seen.hits.columns else seen.hits.clear()
    share = back.height / max(seen.hits.height, 1)
    if back.is_empty():
        return Finding("returns", "good", 0.0, f"no {seen.target} has a negative quantity", [])
    says = f"{back.height:,} {seen.target} events ({share:.1%}) have a negative quantity: returns?"
    rows = back.select("user_id", "item_id", "time_s", "quantity")
    return Finding("returns", "warning" if share > 0.05 else "note", share, says, shown(rows))


def enough(seen: Evidence) -> Finding:
    """Whether personal predictions can be better than the list of best-sellers on this much data."""
    moments = seen.hits.select("user_id", "item_id", "time_s").unique()
    repeated = 1.0 - moments.select("user_id", "item_id").n_unique() / max(moments.height, 1)
    users = moments.group_by("user_id").agg(events=pl.len(), moments=pl.col("time_s").n_unique())
    users = users.filter(pl.col("moments") >= 2)
    events = int(users["events"].sum())
    needed = ENOUGH_EVENTS_REPEATED if repeated >= _REPEATED else ENOUGH_EVENTS
    rows: list[dict[str, Any]] = [
        {"what": "users with two or more moments", "have": users.height, "need": ENOUGH_USERS},
        {"what": f"their {seen.target} events", "have": events, "need": needed},
        {"what": "share bought again", "have": round(repeated, 3), "need": 0},
    ]
    have = min(users.height / ENOUGH_USERS, events / needed)
    counted = f"{users.height:,} returning users with {events:,} {seen.target} events"
    if have >= 1.0:
        says = f"{counted}: as a rule enough to beat popularity"
        return Finding("enough events", "good", have, says, rows)
    says = f"{counted}: popularity is hard to beat with fewer than {ENOUGH_USERS} and {needed:,}"
    return Finding("enough events", "bad" if have < 0.1 else "warning", have, says, rows)
