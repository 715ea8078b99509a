"""The synthetic shop is what it says it is."""

from __future__ import annotations

import numpy as np
import pytest

from intently.data.simulator import DAY_S, FOLLOWS, START_S, simulate
from intently.errors import InputError


def test_the_same_seed_gives_the_same_shop() -> None:
    one, two, other = simulate(20, 12, 60, 1), simulate(20, 12, 60, 1), simulate(20, 12, 60, 2)
    assert one.events.equals(two.events)
    assert one.items.equals(two.items)
    assert not one.events.equals(other.events)


def test_rows_of_the_tables_are_the_dense_ids() -> None:
    shop = simulate(20, 12, 60)
    data = shop.dataset()
    assert list(data.users.ids) == shop.users["user_id"].to_list()
    assert list(data.items.ids) == shop.items["item_id"].to_list()
    assert data.target == "purchase"
    assert any("\u4e00" <= letter <= "\u9fff" for title in data.titles() for letter in title)
    assert all(data.titles())


def test_the_product_due_first_is_bought_next() -> None:
    shop = simulate(100, 60, 120)
    at = START_S + 80 * DAY_S
    right = 0
    for user in range(100):
        after = {
            item: min(moment for moment in moments if moment >= at)
            for (who, item), moments in shop.purchases.items()
            if who == user and moments[-1] >= at
        }
        right += min(after, key=lambda item: after[item]) == shop.due(user, 1, at)[0]
    assert right > 85


def test_the_chance_is_calibrated() -> None:
    shop = simulate(300, 60, 120)
    at = START_S + 90 * DAY_S
    asked = [
        (shop.chance(user, item, 7.0, at), any(at <= moment < at + 7 * DAY_S for moment in moments))
        for (user, item), moments in shop.purchases.items()
    ]
    chance, bought = np.array([a for a, _ in asked]), np.array([b for _, b in asked])
    for low, high in ((0.0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 1.01)):
        inside = (chance >= low) & (chance < high)
        error = chance[inside].mean() - bought[inside].mean()
        assert abs(error) < 4 * 0.5 / np.sqrt(inside.sum())
    assert abs(chance.mean() - bought.mean()) < 0.02


def test_nobody_buys_what_they_never_buy() -> None:
    shop = simulate(10, 12, 60)
    never = np.argwhere(shop.period_days == 0)[0]
    assert shop.chance(int(never[0]), int(never[1]), 28.0) == 0.0


def test_clicks_follow_the_markov_rule() -> None:
    shop = simulate(200, 60, 120)
    data = shop.dataset()
    clicks = data.events.filter(data.events["event"] == 1).sort("user", "time_s", maintain_order=True)
    user, item, time = (clicks[name].to_numpy() for name in ("user", "item", "time_s"))
    together = (user[1:] == user[:-1]) & (time[1:] - time[:-1] == 60.0)
    followed = (shop.successor[item[:-1]] == item[1:])[together].mean()
    assert FOLLOWS < followed < FOLLOWS + 0.06  # a random click is the successor at times, too


def test_a_shop_too_small_is_refused() -> None:
    with pytest.raises(InputError, match="a shop needs 1 user, 6 items and 30 days, got 0 users"):
        simulate(0, 60, 120)
