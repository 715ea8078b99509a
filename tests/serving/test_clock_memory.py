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


def test_events_together_are_remembered_as_one_by_one() -> None:
    rows = [
        ("session:s1", "x", "cart_add", 1.0, "s1"),
        ("a", "y", "click", 2.0, "s2"),
        ("session:s2", "y", "view", 2.5, "s2"),
        ("a", "x", "purchase", 3.0, "s1"),
        ("session:s1", "z", "click", 2.0, "s1"),
        ("b", "z", "cart_remove", 4.0, "s1"),
        ("c", "new", "cart_add", 5.0, None),
        ("c", "x", "impression", 6.0, None),
        ("a", "y", "cart_add", 7.0, None),
    ]
    made = [(user, item, EVENT_CODES[event], *rest) for user, item, event, *rest in rows]
    told: list[list[tuple[int, ...]]] = [[], []]
    memories = [Memory(log([("a", "x", "click", 0.0)])) for _ in told]
    for memory, heard in zip(memories, told, strict=True):
        memory.watch = lambda *columns, heard=heard: heard.extend(zip(*columns, strict=True))
    for row in made:
        memories[0].add(*row)
    memories[1].add_all(*zip(*made, strict=True))
    singly, together = memories
    assert told[0] == told[1]
    assert len(told[0]) == len(rows)
    assert together.users.ids == singly.users.ids
    assert together.items.ids == singly.items.ids
    assert together.n_events == singly.n_events == 8
    for number, name in enumerate(singly.users.ids):
        assert [part.tolist() for part in together.of(name)] == [part.tolist() for part in singly.of(name)]
        assert together.carts.of(number, 8.0).tolist() == singly.carts.of(number, 8.0).tolist()
    for number in range(len(singly.items)):
        assert together.times(number) == singly.times(number)


def test_users_are_found_by_what_they_did_lately_and_before_and_not_once_they_are_erased() -> None:
    memory = Memory(
        log([("ann", "x", "click", 1.0), ("Anna", "x", "click", 1.0), ("joan", "x", "view", 1.0)])
    )
    memory.add_all(
        ["new", "new", "Anna", "JOAN"], ["x"] * 4, [EVENT_CODES["click"]] * 4, [2.0] * 4, [None] * 4
    )

    def names(query: str) -> list[str]:
        return [memory.users.ids[number] for number in memory.find(query, 0, 10)[0]]

    assert names("") == ["Anna", "new", "ann", "joan", "JOAN"]
    assert names("ANN") == ["ann", "Anna"]
    assert names("an") == ["Anna", "ann", "joan", "JOAN"]
    memory.forget("Anna")
    assert names("an") == ["ann", "joan", "JOAN"]
    assert memory.find("nobody", 0, 10) == ([], 0)
