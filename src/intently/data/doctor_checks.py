"""Checks of behaviour: moments, copies and users that are no shoppers."""

from __future__ import annotations

from typing import Final

import polars as pl

from intently.data.doctor_finding import Evidence, Finding, shown

_DAY: Final = 86400.0
_1990: Final = 631152000.0

BOT_MOMENTS_AN_HOUR: Final = 600
"""Different moments in one hour: one action every six seconds without a pause."""

BOT_HOURS_A_DAY: Final = 20
"""Active in so many hours of one day: nobody sleeps that little."""

BOT_EVENTS_A_DAY: Final = 3000

_FIELDS: Final = ("user_id", "item_id", "event", "time_s")


def future(seen: Evidence) -> Finding:
    """Events after now: a clock that is wrong, or a zone that was not said."""
    late = seen.events.filter(pl.col("time_s") > seen.now_s).sort("time_s", descending=True)
    if late.is_empty():
        return Finding("future events", "good", 0.0, "no event lies in the future", [])
    ahead = (float(late["time_s"][0]) - seen.now_s) / 3600
    says = f"{late.height:,} events lie in the future, up to {ahead:,.1f} hours; check clock and --timezone"
    severity = "bad" if late.height > 0.01 * seen.n else "warning"
    return Finding("future events", severity, late.height / seen.n, says, shown(late.select(_FIELDS)))


def ancient(seen: Evidence) -> Finding:
    """Events before 1990: a zero or a wrong unit read as a time."""
    early = seen.events.filter(pl.col("time_s") < _1990).sort("time_s")
    if early.is_empty():
        return Finding("events before 1990", "good", 0.0, "no event lies before 1990", [])
    says = f"{early.height:,} events lie before 1990: zeros or wrong units read as times"
    severity = "bad" if early.height > 0.01 * seen.n else "warning"
    return Finding("events before 1990", severity, early.height / seen.n, says, shown(early.select(_FIELDS)))


def midnight(seen: Evidence) -> Finding:
    """Days instead of moments: the order within a day is unknown."""
    clock = (seen.events["time_s"] % _DAY).round(0).value_counts(sort=True)
    share = int(clock["count"][0]) / seen.n
    if not seen.daily:
        return Finding("time of day", "good", share, "events have a time of day", [])
    says = f"{share:.0%} of events share one time of day: times are days, their order within one is unknown"
    return Finding("time of day", "note", share, says, shown(seen.events.select(_FIELDS)))


def gaps(seen: Evidence) -> Finding:
    """Stretches without any event, far longer than usual for this shop."""
    days = (seen.events["time_s"] // _DAY).unique().sort()
    lengths = days.diff().drop_nulls()
    usual = lengths.median()
    limit = max(3.0, 10.0 * usual) if isinstance(usual, float) else 3.0
    found = pl.DataFrame({"time_s": days * _DAY, "days_until_next": days.diff().shift(-1)})
    found = found.filter(pl.col("days_until_next") > limit).sort("days_until_next", descending=True)
    if found.is_empty():
        return Finding(
            "time gaps", "good", 0.0, f"no stretch of more than {limit:.0f} days without events", []
        )
    longest = float(found["days_until_next"][0])
    says = f"{found.height} gaps without any event, the longest of {longest:.0f} days; is an export missing?"
    return Finding("time gaps", "warning", longest, says, shown(found))


def duplicates(seen: Evidence) -> Finding:
    """The same user, item, event and moment more than once, told apart by another field only."""
    groups = seen.events.group_by(_FIELDS).len("copies").filter(pl.col("copies") > 1)
    extra = int((groups["copies"] - 1).sum())
    share = extra / seen.n
    if not extra:
        return Finding("duplicates", "good", 0.0, "no event is there twice", [])
    says = f"{extra:,} events ({share:.1%}) repeat user, item, event and moment of another"
    severity = "bad" if share > 0.2 else "warning" if share > 0.01 else "note"
    worst = groups.sort("copies", "time_s", descending=[True, False])
    return Finding("duplicates", severity, share, says, shown(worst))


def bots(seen: Evidence) -> Finding:
    """Users at a pace, or with hours, that no person keeps."""
    day, hour = pl.col("time_s") // _DAY, pl.col("time_s") // 3600.0
    days = seen.events.group_by("user_id", day.alias("day")).agg(
        events=pl.len(), hours=hour.n_unique(), time_s=pl.col("time_s").min()
    )
    paces = seen.events.group_by("user_id", hour.alias("hour"), day.alias("day")).agg(
        moments=pl.col("time_s").n_unique()
    )
    pace = paces.group_by("user_id", "day").agg(moments_an_hour=pl.col("moments").max())
    found = (
        days.join(pace, on=["user_id", "day"])
        .filter(
            (pl.col("moments_an_hour") > BOT_MOMENTS_AN_HOUR)
            | (pl.col("hours") >= BOT_HOURS_A_DAY)
            | (pl.col("events") > BOT_EVENTS_A_DAY)
        )
        .sort("events", "user_id", descending=[True, False])
        .select("user_id", "time_s", "events", "hours", "moments_an_hour")
    )
    n_users = found["user_id"].n_unique()
    if not n_users:
        return Finding("bots", "good", 0.0, "no user acts faster or longer than a person can", [])
    theirs = seen.events.filter(pl.col("user_id").is_in(found["user_id"].unique().to_list())).height
    share = theirs / seen.n
    says = f"{n_users:,} users act like machines; they made {share:.1%} of all events"
    return Finding("bots", "bad" if share > 0.05 else "warning", share, says, shown(found))


def domination(seen: Evidence) -> Finding:
    """One user who makes a large part of all events."""
    top = seen.events.group_by("user_id").len("events").sort("events", "user_id", descending=[True, False])
    share = int(top["events"][0]) / seen.n
    fair = 1.0 / top.height
    says = f"the busiest of {top.height:,} users made {share:.1%} of all events"
    if top.height < 5 or share <= max(0.05, 10 * fair):
        return Finding("one user", "good", share, says, [])
    return Finding("one user", "bad" if share > 0.2 else "warning", share, says, shown(top))
