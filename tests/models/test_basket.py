"""Basket weighs habits, popularity and neighbours as the shop's own past shows."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from intently.data import Dataset, Histories
from intently.errors import InputError
from intently.features import HABITS, PAIR_FEATURES, habits
from intently.models.basket import FILLER, LEAST, Basket
from intently.models.listwise import listwise
from intently.models.neighbours import Neighbours, strongest, values_at
from tiny_shops import START, checkerboard, weekly_basket

QUICK: dict[str, Any] = {"horizon_days": 14.0, "cuts": 3}


def shop_of(rows: list[tuple[str, str, float]]) -> Dataset:
    """Purchases (user, item, day)."""
    table = [(user, item, START + timedelta(days=day)) for user, item, day in rows]
    return Dataset.from_frames(pl.DataFrame(table, schema=["user_id", "item_id", "timestamp"], orient="row"))


def rhythms(n_users: int = 40, weeks: int = 30) -> Dataset:
    """Every user buys `weekly u` each week and, every fourth week in turn, one of four monthly items.

    Right answer: the monthly item whose turn it is stands above those that were just bought.
    """
    rows = []
    for user in range(n_users):
        for week in range(weeks):
            day = 7.0 * week + user % 7 + 0.1
            rows.append((f"u{user:02}", f"weekly {user % 5}", day))
            rows.append((f"u{user:02}", f"monthly {(week + user) % 4}", day))
    return shop_of(rows)


def test_the_staples_come_first_and_their_weights_are_learned() -> None:
    shop = weekly_basket()
    model = Basket(**QUICK).fit(shop)
    assert model.learned
    for user, row in zip(shop.users.ids, model.top_k(shop.histories(), 2).lists(), strict=True):
        number = int(user[1:]) % 8
        assert {shop.items[i] for i in row} == {f"i{number:03d}", f"i{8 + number:03d}"}


def test_what_is_due_stands_above_what_was_just_bought() -> None:
    shop = rhythms()
    model = Basket(horizon_days=7.0, cuts=6).fit(shop)
    assert model.learned
    answer = model.top_k(shop.histories(), 2).lists()
    for user, row in enumerate(answer):
        due = f"monthly {(30 + user) % 4}"
        assert {shop.items[i] for i in row} == {f"weekly {user % 5}", due}


def test_a_past_that_is_too_short_leaves_the_usual_weights() -> None:
    model = Basket().fit(checkerboard())
    assert not model.learned
    assert model.weights[HABITS.index("met")] == 3.0


def test_candidates_share_one_and_everything_else_stands_behind_by_popularity() -> None:
    shop = weekly_basket()
    model = Basket(**QUICK, n_new=2).fit(shop)
    scores = model.scores(shop.histories([0]))[0]
    named = scores > FILLER
    assert 0 < named.sum() < shop.n_items
    assert scores[named].sum() == pytest.approx(1.0, abs=1e-5)
    assert scores[named].min() >= LEAST
    behind = np.flatnonzero(~named)
    np.testing.assert_allclose(scores[behind], FILLER * model.popularity[behind])


def test_fresh_counts_are_taken_over_and_the_weights_stay(tmp_path: Path) -> None:
    shop = weekly_basket()
    model = Basket(**QUICK).fit(shop.as_of(shop.end_s - 30 * 86400))
    before, popular = model.weights.copy(), model.popularity.copy()
    model.refresh(shop)
    np.testing.assert_array_equal(model.weights, before)
    assert (model.popularity != popular).any()
    model.save(tmp_path)
    loaded = Basket.load(tmp_path)
    assert loaded.learned
    np.testing.assert_array_equal(loaded.scores(shop.histories()), model.scores(shop.histories()))
    with pytest.raises(InputError, match="refresh needs the fitted shop's 24 items"):
        model.refresh(checkerboard())


def test_trees_are_added_where_there_are_pairs_enough(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shop = weekly_basket()
    assert Basket(**QUICK).fit(shop).trees is None
    monkeypatch.setattr("intently.models.basket.TREE_PAIRS", 100)
    model, plain = Basket(**QUICK, rounds=5).fit(shop), Basket(**QUICK, rounds=0).fit(shop)
    assert plain.trees is None
    assert model.trees is not None
    assert model.trees.num_trees() == 5
    np.testing.assert_array_equal(model.weights, plain.weights)
    scores = model.scores(shop.histories())
    assert (scores != plain.scores(shop.histories())).any()
    model.save(tmp_path)
    np.testing.assert_array_equal(Basket.load(tmp_path).scores(shop.histories()), scores)


def test_few_rows_are_learned_from_where_that_is_said() -> None:
    shop = weekly_basket()
    every, some = Basket(**QUICK).fit(shop), Basket(**QUICK, max_rows=6_000).fit(shop)
    assert some.learned
    assert (every.weights != some.weights).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"horizon_days": 0.0}, "horizon_days must be above 0"),
        ({"rounds": -1}, "rounds must be 0 or more"),
        ({"half_life_days": float("nan")}, "half_life_days must be above 0"),
        ({"cuts": 0}, "cuts must be at least 1"),
        ({"neighbours": 0}, "neighbours must be at least 1"),
        ({"n_new": 0}, "n_new must be at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Basket(**settings)  # type: ignore[arg-type]


def test_the_nearest_users_are_found_and_oneself_says_nothing() -> None:
    known = Histories.of([[0, 1, 2], [0, 1, 3], [4, 5]], at_s=1e9)
    near = Neighbours.of(known, 6, 1e9, nearest=1, seed=0)
    plain, rare = near.met(known.select([0]))
    for table in (plain, rare):
        np.testing.assert_allclose(table.toarray()[0], np.array([1, 1, 0, 1, 0, 0]) / np.sqrt(3), atol=1e-6)


def test_one_history_alone_is_told_what_it_is_told_among_others() -> None:
    rng = np.random.default_rng(0)
    lists = [rng.integers(0, 40, rng.integers(0, 30)).tolist() for _ in range(60)]
    everyone = Histories.of([*lists, []], at_s=1e9)
    near = Neighbours.of(everyone, 40, 30.0, nearest=7, seed=0)
    every_item = np.arange(40, dtype=np.int32)
    among_others = near.told(everyone, np.repeat(np.arange(61), 40), np.tile(every_item, 61))
    assert np.count_nonzero(among_others[0]) > 500
    for row in range(61):
        alone = near.told(everyone.select([row]), np.zeros(40, np.int64), every_item)
        for one, all_of_them in zip(alone, among_others, strict=True):
            np.testing.assert_array_equal(one, all_of_them[40 * row : 40 * (row + 1)])


def test_the_strongest_of_a_row_are_kept_and_found_again() -> None:
    table = sparse.csr_matrix(np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 5.0]]))
    kept = strongest(table, 1)
    np.testing.assert_array_equal(kept.toarray(), [[3, 0, 0], [0, 5, 0]])
    found = values_at(kept, np.array([0, 1, 1]), np.array([0, 1, 2], np.int32))
    np.testing.assert_array_equal(found, [3, 5, 0])


def test_weights_lift_what_was_taken_and_ignore_what_a_group_shares() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(4_000, 3)).astype(np.float32)
    table[:, 2] = 1.0
    starts = np.arange(0, 4_000, 8)
    chosen = (2.0 * table[:, 0] - 1.0 * table[:, 1] + rng.gumbel(size=4_000)).reshape(-1, 8).argmax(axis=1)
    gains = np.zeros(4_000, np.float32)
    gains[starts + chosen] = 1.0
    weights = listwise(table, gains, starts, 1e-5)
    np.testing.assert_allclose(weights, [2.0, -1.0, 0.0], atol=0.25)


def test_habits_of_an_item_never_met_are_nought() -> None:
    pairs = np.zeros((1, len(PAIR_FEATURES)), np.float32)
    pairs[0, PAIR_FEATURES.index("own_last_age_days")] = 999.0
    row = habits(pairs, np.zeros(1, np.float32), np.zeros(1, np.float32))[0]
    assert np.isfinite(row).all()
    own = [
        at for at, name in enumerate(HABITS) if name.startswith(("met", "age", "overdue", "decayed", "share"))
    ]
    np.testing.assert_array_equal(row[own], 0.0)
