"""The shop's clock and the memory of what users did."""

from __future__ import annotations

import polars as pl
import pytest

from intently.schema import EVENT_CODES
from intently.serving.state.clock import ShopClock
from intently.serving.state.memory import Memory

DAY = 86400.0


def log(rows: list[tuple[str, str, str, float]]) -> pl.DataFrame:
    table = [(user, item, EVENT_CODES[event], time_s) for user, item, event, time_s in rows]
    schema = {"user_id": pl.String, "item_id": pl.String, "event": pl.UInt8, "time_s": pl.Float64}
    return pl.DataFrame(table, schema=schema, orient="row")


def test_a_finished_log_goes_on_from_its_end_at_our_speed() -> None:
    wall = [1000 * DAY]
    clock = ShopClock(900 * DAY, wall=lambda: wall[0])
    assert clock.historic
    assert clock.now() == 900 * DAY
    wall[0] += 5.0
    assert clock.now() == 900 * DAY + 5.0
    assert clock.latest() == 1001 * DAY + 5.0


@pytest.mark.parametrize("end", [None, 999 * DAY, 980 * DAY, 1010 * DAY])
def test_a_running_shop_or_an_empty_one_has_our_time(end: float | None) -> None:
    clock = ShopClock(end, wall=lambda: 1000 * DAY)
    assert not clock.historic
    assert clock.now() == 1000 * DAY


def test_histories_are_in_order_of_time_whatever_the_order_of_arrival() -> None:
    memory = Memory(log([("a", "x", "click", 3.0), ("b", "x", "view", 2.0), ("a", "y", "purchase", 1.0)]))
    assert [memory.items.ids[i] for i in memory.of("a").items] == ["y", "x"]
    memory.add("a", "z", EVENT_CODES["click"], 2.0)
    memory.add("a", "w", EVENT_CODES["click"], 4.0)
    memory.add("a", "v", EVENT_CODES["search"], 5.0)
    done = memory.of("a")
    assert [memory.items.ids[i] for i in done.items] == ["y", "z", "x", "w"]
    assert done.time_s.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert memory.count(memory.users.get("a")) == 4
    assert memory.n_events == 5
    assert len(memory.of("nobody").items) == 0


def test_what_was_met_lately_is_popular() -> None:
    old = [(f"u{i}", "old", "purchase", 0.0) for i in range(5)]
    new = [(f"u{i}", "new", "purchase", 200 * DAY) for i in range(2)]
    memory = Memory(log(old + new))
    assert [memory.items.ids[i] for i in memory.popular] == ["new", "old"]


def test_the_chooser_puts_the_exact_match_first_then_the_most_active() -> None:
    rows = [("12", "x", "click", 0.0)] + [("112", "x", "click", float(i)) for i in range(5)]
    rows += [("121", "x", "click", float(i)) for i in range(2)]
    memory = Memory(log([*rows, ("7", "x", "click", 0.0)]))
    found, total = memory.find("12", 0, 10)
    assert ([memory.users.ids[i] for i in found], total) == (["12", "121", "112"], 3)
    every, total = memory.find("", 0, 2)
    assert ([memory.users.ids[i] for i in every], total) == (["112", "121"], 4)
