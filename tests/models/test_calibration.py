"""Raw scores to probabilities: the curve, and what no candidate's chance is held to."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import polars as pl
import pytest

from intently.data import Dataset
from intently.data.histories import DAY_S
from intently.models.boosted import Boosted
from intently.models.calibration import platt, shift_to, sigmoid
from intently.models.click import Click
from intently.models.two_stage import TwoStage

N_USERS, N_ITEMS, WEEK_S = 200, 500, 7 * DAY_S


@lru_cache(maxsize=1)
def curious() -> Dataset:
    """Each user buys three own items again and again, and now and then anything from a large catalogue."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(N_USERS):
        own = rng.permutation(N_ITEMS)[:3]
        for day in range(70):
            item = int(rng.choice(own)) if rng.random() < 0.9 else int(rng.integers(N_ITEMS))
            rows.append((f"u{user:03d}", f"i{item:03d}", int(day * DAY_S)))
    events = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    items = pl.DataFrame({"item_id": [f"i{i:03d}" for i in range(N_ITEMS)]})
    return Dataset.from_frames(events, items)


def test_platt_recovers_a_known_slope_and_shift() -> None:
    rng = np.random.default_rng(0)
    raw = rng.normal(0, 2, 40_000)
    label = (rng.random(40_000) < sigmoid(0.7 * raw - 0.5)).astype(np.float32)
    np.testing.assert_allclose(platt(raw, label), [0.7, -0.5], atol=0.05)


@pytest.mark.parametrize("mean", [1e-6, 0.2, 0.999])
def test_a_shift_gives_the_mean_that_is_asked_for(mean: float) -> None:
    raw = np.random.default_rng(0).normal(0, 3, 500)
    assert sigmoid(raw + shift_to(mean, raw)).mean() == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        Boosted({"popular": {}}, 7.0, cuts=3, n_new=5, rounds=60),
        Click({"popular": {}}, 7.0, cuts=3, n_new=5, epochs=6),
    ],
    ids=lambda model: model.name,
)
def test_chances_hold_for_items_that_are_no_candidates(model: TwoStage) -> None:
    shop = curious()
    past, future = shop.split_at(shop.end_s - WEEK_S)
    histories = past.histories()
    model.fit(past)
    outside = np.isneginf(model.scores(histories))
    assert outside.mean() > 0.9
    said = np.stack(model.probability(histories, [list(range(N_ITEMS))] * N_USERS))
    indptr, items = future.baskets()
    happened = np.zeros(outside.shape, bool)
    happened[np.repeat(np.arange(N_USERS), np.diff(indptr)), items] = True
    assert said[outside].mean() == pytest.approx(happened[outside].mean(), rel=0.4)
