"""Repeat answers what this user meets most often, and popular items behind it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from intently.data import Dataset, Histories
from intently.data.histories import DAY_S
from intently.errors import InputError
from intently.models.repeat import FILLER, LEAST, TIE, Repeat
from tiny_shops import START, chain, weekly_basket


def lines(rows: list[tuple[str, str, int]]) -> Dataset:
    """Purchases (user, item, day)."""
    table = [(u, i, datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=d)) for u, i, d in rows]
    frame = pl.DataFrame(table, schema=["user_id", "item_id", "timestamp"], orient="row")
    return Dataset.from_frames(frame)


def test_the_two_weekly_staples_come_first() -> None:
    shop = weekly_basket()
    answer = Repeat().fit(shop).top_k(shop.histories(), 2)
    for user, row in zip(shop.users.ids, answer.lists(), strict=True):
        number = int(user[1:]) % 8
        assert {shop.items[i] for i in row} == {f"i{number:03d}", f"i{8 + number:03d}"}


def test_an_event_is_worth_half_after_each_half_life() -> None:
    shop = lines([("u", "a", 0), ("u", "b", 10), ("v", "c", 20)])
    histories = shop.histories([0])
    scores = Repeat(half_life_days=10.0).fit(shop).scores(histories)[0]
    assert scores[shop.items.index("a")] == pytest.approx(0.25, rel=2 * TIE)
    assert scores[shop.items.index("b")] == pytest.approx(0.5, rel=2 * TIE)


def test_lines_of_one_basket_count_once() -> None:
    shop = lines([("u", "a", 5), ("u", "a", 5), ("u", "a", 5), ("u", "b", 3), ("u", "b", 5)])
    answer = Repeat().fit(shop).top_k(shop.histories(), 2)
    assert [shop.items[i] for i in answer.lists()[0]] == ["b", "a"]


def test_never_met_items_stand_behind_the_oldest_met_one_by_popularity() -> None:
    shop = lines([("u", "old", 0)] + [(f"v{n}", "hit", 4000) for n in range(5)] + [("w", "other", 4000)])
    model = Repeat(half_life_days=14.0).fit(shop)
    scores = model.scores(shop.histories([shop.users.index("u")]))[0]
    assert scores[shop.items.index("old")] >= LEAST
    assert scores[shop.items.index("hit")] == pytest.approx(FILLER)
    answer = model.top_k(shop.histories([shop.users.index("u")]), 3)
    assert [shop.items[i] for i in answer.lists()[0]] == ["old", "hit", "other"]


def test_equally_often_met_items_are_ordered_by_popularity() -> None:
    shop = lines([("u", "a", 0), ("u", "z", 0), ("v", "z", 0)])
    answer = Repeat().fit(shop).top_k(shop.histories([0]), 2)
    assert [shop.items[i] for i in answer.lists()[0]] == ["z", "a"]


def test_without_a_clock_a_step_back_counts_as_a_day() -> None:
    shop = chain()
    model = Repeat(half_life_days=1.0).fit(shop)
    far = Histories.of([[0, 1, 2]], at_s=999 * DAY_S)
    scores = model.scores(far)[0, :3]
    np.testing.assert_allclose(scores, [0.25, 0.5, 1.0], rtol=2 * TIE)


def old_and_new_habits(new_share: float) -> Dataset:
    """Users who bought 'old' daily for 300 days, then 'new' on `new_share` of the days."""
    rng = np.random.default_rng(1)
    rows = []
    for user in range(40):
        for day in range(400):
            if day < 300 or rng.random() > new_share:
                rows.append((f"u{user}", f"old{user % 9}", START + timedelta(days=day)))
            else:
                rows.append((f"u{user}", f"new{user % 9}", START + timedelta(days=day)))
    return Dataset.from_frames(pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row"))


def test_the_half_life_chosen_on_validation_is_short_when_habits_change() -> None:
    chosen = Repeat(half_life_days=None).fit(old_and_new_habits(1.0))
    assert chosen.chosen_days == 14.0


def test_a_tiny_shop_without_a_validation_part_takes_the_usual_half_life() -> None:
    assert Repeat(half_life_days=None).fit(lines([("u", "a", 0)])).chosen_days == 90.0


def test_a_chosen_half_life_survives_saving(tmp_path) -> None:  # type: ignore[no-untyped-def]
    model = Repeat(half_life_days=None).fit(old_and_new_habits(1.0))
    model.save(tmp_path)
    loaded = Repeat.load(tmp_path)
    assert loaded.chosen_days == 14.0
    assert loaded.settings() == {"half_life_days": None}


@pytest.mark.parametrize("days", [0.0, -1.0, float("nan")])
def test_a_half_life_that_is_not_above_zero_is_refused(days: float) -> None:
    with pytest.raises(InputError, match="half_life_days must be above 0"):
        Repeat(half_life_days=days)
