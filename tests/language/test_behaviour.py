"""Behaviour is written in order, in the shop's language, as of a moment, in bounded length."""

from __future__ import annotations

import polars as pl
import pytest

from intently.data import Dataset
from intently.errors import InputError
from intently.language.behaviour import BehaviourWriter

DAY_S = 86400
EVENTS = pl.DataFrame(
    {
        "user_id": ["a", "a", "a", "a", "b", "a"],
        "item_id": ["t", "m", "h", "t", "m", "m"],
        "event": ["purchase", "purchase", "view", "rate", "impression", "purchase"],
        "timestamp": [0, 0, 2 * DAY_S, 2 * DAY_S + 7200, 5, 60 * DAY_S],
        "price": [3.99, 1.0, None, None, None, 1.5],
        "value": [None, None, None, 4.0, None, None],
    }
)
ITEMS = pl.DataFrame({"item_id": ["t", "m", "h"], "title": ["green tea", "milk", "garden  hose 🌱"]})


def shop(items: pl.DataFrame = ITEMS) -> Dataset:
    return Dataset.from_frames(EVENTS, items)


def test_events_stand_in_order_with_gaps_prices_and_stars_and_nothing_from_later() -> None:
    at = 2 * DAY_S + 7200 + 3 * 3600.0
    text = BehaviourWriter(shop()).write([0], at)[0]
    assert text == (
        "bought green tea at 3.99, milk at 1; 2 days later viewed garden hose 🌱; "
        "2 hours later rated green tea 4 stars; now 3 hours later"
    )


def test_a_chinese_shop_is_written_in_chinese() -> None:
    items = pl.DataFrame({"item_id": ["t", "m", "h"], "title": ["绿茶", "牛奶", "水管"]})
    text = BehaviourWriter(shop(items)).write([0], 2 * DAY_S + 1.0)[0]
    assert text == "购买绿茶(价格3.99)、牛奶(价格1)；2天后浏览水管；现在"


def test_who_did_nothing_has_no_text_and_each_user_has_an_own_moment() -> None:
    writer = BehaviourWriter(shop())
    import numpy as np

    texts = writer.write([0, 1, -1, 0], np.array([1.0, 9e9, 9e9, 0.0]))
    assert texts == ["bought green tea at 3.99, milk at 1; now", "", "", ""]
    assert len(writer.write()) == 2


def test_what_bears_on_the_candidate_is_written_first_in_order_of_time() -> None:
    items = ITEMS.with_columns(category=pl.Series(["drinks", "drinks", "garden"]))
    writer = BehaviourWriter(shop(items), max_events=2)
    hose, milk, tea = 0, 1, 2
    assert writer.write([0, 0, 0], 61.0 * DAY_S, [hose, milk, tea]) == [
        "viewed garden hose 🌱; 8 weeks later bought milk at 1.50; now 1 day later",
        "bought milk at 1; 1 month later bought milk at 1.50; now 1 day later",
        "bought green tea at 3.99; 2 days later rated green tea 4 stars; now 8 weeks later",
    ]
    early = writer.write([0, -1], 2 * DAY_S + 1.0, [milk, milk])
    assert early == ["bought green tea at 3.99, milk at 1; now 2 days later", ""]


def test_the_latest_events_are_kept_within_the_bound() -> None:
    items = pl.DataFrame({"item_id": ["t", "m", "h"], "title": ["tea " * 2500, "milk", "x" * 10_000]})
    data = shop(items)
    for max_chars in (160, 200, 300, 1000):
        text = BehaviourWriter(data, max_chars=max_chars).write([0])[0]
        assert len(text) <= max_chars
        assert text.endswith("bought milk at 1.50; now")
    assert BehaviourWriter(data, max_events=1).write([0])[0] == "bought milk at 1.50; now"


def test_a_shop_with_only_an_order_names_no_times() -> None:
    data = Dataset.from_sequences([["m", "t"]], items=ITEMS)
    verb = BehaviourWriter(data).write([0])[0]
    assert "later" not in verb
    assert "; then " in verb


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="max_events >= 1"):
        BehaviourWriter(shop(), max_events=0)
    with pytest.raises(InputError, match="one of en, zh"):
        BehaviourWriter(shop(), language="de")
