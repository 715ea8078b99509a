"""Each illness is found in a shop that has it, and not in a healthy one."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from intently.data.doctor import CHECKS, SEVERITIES, examine, examine_tables
from intently.data.doctor_finding import Finding
from intently.data.simulator import DAY_S, SimulatedShop, simulate
from intently.schema import EVENT_CODES
from intently.store import SqliteStore

SHOP = simulate(150, 30, 120)


def tables(shop: SimulatedShop) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The simulated tables as a store hands them out."""
    codes = pl.col("event").replace_strict(EVENT_CODES, return_dtype=pl.UInt8)
    events = shop.events.with_columns(codes, time_s=pl.col("timestamp").dt.epoch("us") / 1e6)
    return events.drop("timestamp"), shop.items


def examined(events: pl.DataFrame, items: pl.DataFrame, now_s: float = SHOP.end_s) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine_tables(events, items, now_s)}


def with_rows(*rows: tuple[str, str, str, float]) -> pl.DataFrame:
    events, _ = tables(SHOP)
    names = ("user_id", "item_id", "event", "time_s")
    more = pl.DataFrame([dict(zip(names, row, strict=True)) for row in rows])
    codes = pl.col("event").replace_strict(EVENT_CODES, return_dtype=pl.UInt8)
    return pl.concat([events, more.with_columns(codes).select(events.columns)])


def test_a_healthy_shop_has_no_complaint() -> None:
    found = examined(*tables(SHOP))
    assert len(found) == len(CHECKS)
    assert {finding.severity for finding in found.values()} == {"good"}


def test_worst_comes_first_and_a_store_is_examined(tmp_path: Path) -> None:
    events, items = tables(SHOP)
    with SqliteStore(tmp_path / "s.db") as store:
        store.add_events(events)
        store.upsert_items(items.head(20))
        findings = examine(store, SHOP.end_s - 100 * DAY_S)
    order = [SEVERITIES.index(finding.severity) for finding in findings]
    assert order == sorted(order)
    assert findings[0].name == "future events"


def test_no_events_is_one_bad_finding() -> None:
    events, items = tables(SHOP)
    findings = examine_tables(events.clear(), items, 0.0)
    assert [(finding.name, finding.severity) for finding in findings] == [("events", "bad")]


def test_events_from_the_future_and_the_past() -> None:
    events = with_rows(("u0001", "i0001", "click", SHOP.end_s + 7200), ("u0002", "i0001", "click", 0.0))
    found = examined(events, SHOP.items)
    assert found["future events"].severity == "warning"
    assert found["future events"].rows[0]["time"] == "2024-04-30T02:00:00Z"
    assert found["events before 1990"].rows == [
        {"user_id": "u0002", "item_id": "i0001", "event": "click", "time": "1970-01-01T00:00:00Z"}
    ]
    assert found["time gaps"].figure > 15_000


def test_days_without_a_time_of_day() -> None:
    events, items = tables(SHOP)
    days = events.with_columns(time_s=(pl.col("time_s") // DAY_S) * DAY_S)
    assert examined(days, items)["time of day"].severity == "note"


def test_a_missing_fortnight() -> None:
    events, items = tables(SHOP)
    day = (pl.col("time_s") - SHOP.end_s) / DAY_S
    finding = examined(events.filter((day < -60) | (day > -46)), items)["time gaps"]
    assert finding.severity == "warning"
    assert 14 <= finding.figure <= 15


def test_copies_that_differ_in_another_field() -> None:
    row = ("u0001", "i0001", "purchase", SHOP.end_s - DAY_S)
    finding = examined(with_rows(*[row] * 5), SHOP.items)["duplicates"]
    assert finding.severity == "note"
    assert finding.rows[0] == {
        "user_id": "u0001",
        "item_id": "i0001",
        "event": "purchase",
        "time": "2024-04-29T00:00:00Z",
        "copies": 5,
    }


@pytest.mark.parametrize(
    "moments",
    [
        [SHOP.end_s - DAY_S + n for n in range(700)],  # one a second
        [SHOP.end_s - DAY_S + 3600.0 * n for n in range(24)],  # never asleep
    ],
)
def test_machines_are_found(moments: list[float]) -> None:
    events = with_rows(*[("robot", "i0001", "click", moment) for moment in moments])
    finding = examined(events, SHOP.items)["bots"]
    assert finding.severity in ("warning", "bad")
    assert {row["user_id"] for row in finding.rows} == {"robot"}


def test_a_grocery_basket_at_one_moment_is_no_machine() -> None:
    basket = [("u0001", f"i{n:04d}", "purchase", SHOP.end_s - DAY_S) for n in range(30)]
    assert examined(with_rows(*basket), SHOP.items)["bots"].severity == "good"


def test_one_user_who_makes_half_of_everything() -> None:
    events, items = tables(SHOP)
    half = events.with_columns(
        user_id=pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("whale")).otherwise("user_id")
    )
    finding = examined(half, items)["one user"]
    assert (finding.severity, finding.rows[0]["user_id"]) == ("bad", "whale")
    assert finding.figure == pytest.approx(0.5, abs=0.01)


def test_items_without_a_catalogue_line_a_buyer_or_a_title() -> None:
    events, items = tables(SHOP)
    unlisted = examined(events, items.slice(2))["unknown items"]
    assert {row["item_id"] for row in unlisted.rows} == {"i0000", "i0001"}
    unsold = pl.concat([items, items.head(1).with_columns(item_id=pl.lit("new"))])
    assert examined(events, unsold)["dead items"].rows == [{"item_id": "new", "title": "Colombian Beans"}]
    bare = items.with_columns(title=pl.when(pl.col("item_id") == "i0003").then(None).otherwise("title"))
    assert examined(events, bare)["missing text"].rows[0]["item_id"] == "i0003"
    nothing = examined(events, items.select("item_id"))
    assert nothing["unknown items"].says == "there is no catalogue: items have no text"
    assert examined(events, items.drop("title"))["missing text"].severity == "warning"


def test_views_that_never_lead_to_a_purchase() -> None:
    events = with_rows(*[(f"guest{n}", "i0001", "view", SHOP.end_s - n * DAY_S) for n in range(9)])
    finding = examined(events, SHOP.items)["events without effect"]
    assert finding.severity == "warning"
    assert {"event": "view", "events": 9, "led_to_target": 0} in finding.rows


def test_returns_are_not_purchases() -> None:
    events, items = tables(SHOP)
    back = events.with_columns(quantity=pl.when(pl.int_range(pl.len()) < 500).then(-1.0).otherwise(1.0))
    finding = examined(back, items)["returns"]
    assert finding.severity in ("note", "warning")
    assert finding.rows[0]["quantity"] == -1.0


def test_a_shop_without_repeats_needs_more_events() -> None:
    n = 12_000
    events = pl.DataFrame(
        {
            "user_id": [f"u{row % 500}" for row in range(n)],
            "item_id": [f"i{row}" for row in range(n)],
            "event": pl.Series([EVENT_CODES["purchase"]] * n, dtype=pl.UInt8),
            "time_s": [SHOP.end_s - 60.0 * row for row in range(n)],
        }
    )
    finding = examined(events, SHOP.items)["enough events"]
    assert (finding.severity, finding.figure) == ("warning", 0.8)


def test_too_little_to_beat_the_best_sellers() -> None:
    events, items = tables(SHOP)
    finding = examined(events.head(200), items)["enough events"]
    assert finding.severity in ("warning", "bad")
    assert finding.figure < 1
    assert next(row["what"] for row in finding.rows) == "users with two or more moments"
