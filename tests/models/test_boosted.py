"""The two-stage ranker: probabilities that hold, reasons that are true, nothing from the future."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import polars as pl
import pytest

from intently.data import Dataset, Histories
from intently.data.histories import DAY_S
from intently.errors import InputError
from intently.models.basket import Basket
from intently.models.boosted import Boosted
from intently.models.popular import share_of_best
from intently.models.reasons import FAMILIES
from intently.schema import FloatArray


@lru_cache(maxsize=4)
def grocery(n_users: int = 150, n_items: int = 30, n_days: int = 120, seed: int = 0) -> Dataset:
    """Each user buys each of six own items on a day with that item's own chance, known by the test."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        for place, item in enumerate(rng.permutation(n_items)[:6]):
            chance = (0.3, 0.2, 0.1, 0.05, 0.02, 0.01)[place]
            days = np.flatnonzero(rng.random(n_days) < chance)
            rows += [(f"u{user:03d}", f"i{item:02d}", int(day * DAY_S)) for day in days]
    events = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    items = pl.DataFrame({"item_id": [f"i{i:02d}" for i in range(n_items)], "category": ["a", "b", "c"] * 10})
    return Dataset.from_frames(events, items)


@lru_cache(maxsize=4)
def fitted(seed: int = 0) -> Boosted:
    past = grocery(seed=seed).as_of(grocery(seed=seed).end_s - 7 * DAY_S)
    return Boosted(inner={"popular": {}}, horizon_days=7.0, cuts=3, rounds=60).fit(past)


def judged(seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """Probabilities and labels of all candidates on the week after the fit."""
    shop = grocery(seed=seed)
    past, future = shop.split_at(shop.end_s - 7 * DAY_S)
    scores = fitted(seed).scores(past.histories())
    rows, items = np.nonzero(np.isfinite(scores))
    indptr, truth = future.baskets()
    bought = np.zeros(scores.shape, bool)
    bought[np.repeat(np.arange(shop.n_users), np.diff(indptr)), truth] = True
    return scores[rows, items], bought[rows, items].astype(np.float32)


def test_probabilities_mean_what_they_say() -> None:
    chance, label = judged()
    assert len(chance) > 2000
    for low, high in ((0.0, 0.1), (0.1, 0.4), (0.4, 0.8), (0.8, 1.0)):
        here = (chance >= low) & (chance < high)
        assert here.sum() > 50
        assert label[here].mean() == pytest.approx(chance[here].mean(), abs=0.08)


def test_over_four_shops_they_mean_it_more_closely() -> None:
    """In one shop, a few hundred pairs of one week leave chance more room."""
    chance, label = (np.concatenate(parts) for parts in zip(*map(judged, range(4)), strict=True))
    assert len(chance) > 8000
    for low, high in ((0.0, 0.1), (0.1, 0.4), (0.4, 0.8), (0.8, 1.0)):
        here = (chance >= low) & (chance < high)
        assert here.sum() > 200
        assert label[here].mean() == pytest.approx(chance[here].mean(), abs=0.05)


def test_beats_counting_in_log_loss() -> None:
    chance, label = judged()
    base = label.mean()
    constant = -(base * np.log(base) + (1 - base) * np.log(1 - base))
    loss = -np.mean(label * np.log(chance) + (1 - label) * np.log(1 - chance))
    assert loss < 0.7 * constant


def test_probability_of_a_pair_is_the_score_of_the_list() -> None:
    histories = grocery().histories([4, 9], at=grocery().end_s - 7 * DAY_S)
    listed = fitted().top_k(histories, 5)
    given = fitted().probability(histories, listed.items.tolist())
    np.testing.assert_allclose(np.stack(given), listed.scores, rtol=1e-5)


def test_probability_answers_for_items_that_are_no_candidates_and_for_none() -> None:
    histories = grocery().histories([4, 9])
    first, second = fitted().probability(histories, [[], [0, 29]])
    assert len(first) == 0
    assert ((second > 0) & (second < 1)).all()


def test_a_reason_is_true_without_the_evidence_the_chance_falls() -> None:
    histories = grocery().histories([7])
    best = int(fitted().top_k(histories, 1).items[0, 0])
    reason = fitted().reasons(histories, [best])[0][0]
    assert reason.code in ("habit", "rhythm")
    times = int((histories.items == best).sum())
    habit = [r for r in fitted().reasons(histories, [best])[0] if r.code == "habit"]
    assert not habit or habit[0].values["times"] == times
    keep = histories.items != best
    without = Histories(
        np.array([0, keep.sum()]),
        histories.items[keep],
        histories.time_s[keep],
        histories.events[keep],
        histories.users,
        histories.at_s,
    )
    before = fitted().probability(histories, [[best]])[0][0]
    assert fitted().probability(without, [[best]])[0][0] < 0.5 * before


def test_reasons_are_positive_and_strongest_first() -> None:
    histories = grocery().histories([7])
    for found in fitted().reasons(histories, fitted().top_k(histories, 5).items[0].tolist()):
        effects = [reason.effect for reason in found]
        assert effects == sorted(effects, reverse=True)
        assert all(effect > 0 for effect in effects)
        assert {reason.code for reason in found} <= set(FAMILIES)
    assert fitted().reasons(histories, []) == []


def test_the_future_cannot_reach_a_fit() -> None:
    shop = grocery()
    cut = shop.end_s - 7 * DAY_S
    only_past = Dataset(
        shop.events.filter(pl.col("time_s") < cut), shop.users, shop.items, shop.item_table, shop.user_table
    )
    again = Boosted(inner={"popular": {}}, horizon_days=7.0, cuts=3, rounds=60).fit(only_past)
    histories = shop.histories([1, 2], at=cut)
    np.testing.assert_array_equal(again.scores(histories), fitted().scores(histories))


def test_too_short_a_span_is_refused_with_what_to_do() -> None:
    with pytest.raises(InputError, match=r"needs 3 horizons of 60 days .* spans 1\d\d days"):
        Boosted(horizon_days=60.0).fit(grocery())


def test_refresh_moves_the_counters_and_leaves_the_trees() -> None:
    shop = grocery()
    model = Boosted(inner={"popular": {}}, horizon_days=7.0, cuts=2, rounds=10).fit(shop.as_of(80 * DAY_S))
    trees = model._state()["trees"].tobytes()
    facts = model._state()["facts"].copy()
    model.refresh(shop)
    assert model._state()["trees"].tobytes() == trees
    assert not np.array_equal(model._state()["facts"], facts)
    with pytest.raises(InputError, match="refresh needs"):
        Boosted().refresh(shop)


def test_an_inner_model_answers_with_counters_of_each_moment_and_weights_of_the_earliest() -> None:
    past = grocery().as_of(grocery().end_s - 7 * DAY_S)
    basket = {"horizon_days": 7.0, "cuts": 4}
    model = Boosted(inner={"basket": basket}, horizon_days=7.0, cuts=2, rounds=10).fit(past)
    early = Basket(**basket).fit(past.as_of(past.end_s - 14 * DAY_S))  # type: ignore[arg-type]
    inner = model.models["basket"]
    assert isinstance(inner, Basket)
    assert inner.learned
    np.testing.assert_array_equal(inner.weights, early.weights)
    np.testing.assert_array_equal(inner.popularity, share_of_best(past))
    model.refresh(grocery())
    np.testing.assert_array_equal(inner.popularity, share_of_best(grocery()))
