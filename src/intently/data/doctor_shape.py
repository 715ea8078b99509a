"""Checks of how the tables fit together, and of how much there is."""

from __future__ import annotations

from typing import Final

import polars as pl

from intently.data.doctor_finding import Evidence, Finding, shown
from intently.schema import EVENT_CODES, EVENTS

ENOUGH_RETURNING: Final = 100
"""Users with the target event at two moments or more."""

ENOUGH_EVENTS: Final = 3000
"""Target events of those users."""


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


def enough(seen: Evidence) -> Finding:
    """Whether personal predictions can be better than the list of best-sellers on this much data."""
    moments = seen.hits.group_by("user_id").agg(
        events=pl.len(), moments=pl.col("time_s").n_unique(), items=pl.col("item_id").n_unique()
    )
    back = moments.filter(pl.col("moments") >= 2)
    events = int(back["events"].sum())
    rows = shown(
        pl.DataFrame(
            [
                {"what": "users with two or more moments", "have": back.height, "need": ENOUGH_RETURNING},
                {"what": f"their {seen.target} events", "have": events, "need": ENOUGH_EVENTS},
            ]
        )
    )
    have = min(back.height / ENOUGH_RETURNING, events / ENOUGH_EVENTS)
    counted = f"{back.height:,} returning users with {events:,} {seen.target} events"
    if have >= 1.0:
        says = f"{counted} are enough to beat popularity as a rule"
        return Finding("enough events", "good", have, says, rows)
    says = f"{counted}; best-sellers are hard to beat below {ENOUGH_RETURNING} and {ENOUGH_EVENTS:,}"
    return Finding("enough events", "bad" if have < 0.1 else "warning", have, says, rows)
