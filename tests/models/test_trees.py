"""onnxruntime walks LightGBM's trees to the same leaves."""

from __future__ import annotations

from pathlib import Path

import lightgbm
import numpy as np
import pytest

from intently.data import Dataset
from intently.models import trees
from intently.models.ensemble import Ensemble
from intently.models.trees import predicted, single


def grown(rows: np.ndarray, labels: np.ndarray, **more: object) -> lightgbm.Booster:
    settings = {"objective": "binary", "num_leaves": 31, "verbose": -1, "num_threads": 1} | more
    return lightgbm.train(settings, lightgbm.Dataset(rows, labels), 60)


def shop(n: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    rows = random.standard_normal((n, 9)).astype(np.float32)
    rows[:, :3] = random.integers(-4, 5, (n, 3))  # many values stand exactly at a threshold's neighbours
    return rows, (rows[:, 0] + rows[:, 4] * rows[:, 5] + random.standard_normal(n) > 0).astype(np.float32)


@pytest.mark.parametrize("more", [{}, {"objective": "regression"}, {"boost_from_average": False}])
def test_scores_are_those_of_lightgbm(more: dict[str, object]) -> None:
    rows, labels = shop()
    booster = grown(rows, labels, **more)
    np.testing.assert_allclose(predicted(booster, rows), booster.predict(rows, raw_score=True), atol=2e-5)
    assert predicted(booster, rows[:0]).shape == (0,)
    assert predicted(booster, rows[:1]) == pytest.approx(predicted(booster, rows)[:1], abs=0.0)


def test_a_row_at_a_threshold_takes_the_same_branch() -> None:
    rows, labels = shop()
    booster = grown(rows, labels)
    table = booster.trees_to_dataframe().dropna(subset=["threshold"])
    table = table[table["threshold"].abs() > 1e-30]  # LightGBM takes smaller numbers for 0
    at = rows[: len(table)].copy()
    columns = [int(name.removeprefix("Column_")) for name in table["split_feature"]]
    below = np.array([single(value) for value in table["threshold"]], np.float32)
    for values in (below, np.nextafter(below, np.float32(np.inf))):
        at[np.arange(len(at)), columns[: len(at)]] = values[: len(at)]
        np.testing.assert_allclose(predicted(booster, at), booster.predict(at, raw_score=True), atol=2e-5)


def test_only_the_best_rounds_count_and_what_is_no_number_is_lightgbms() -> None:
    rows, labels = shop()
    booster = grown(rows, labels)
    booster.best_iteration = 7
    expected = booster.predict(rows, raw_score=True, num_iteration=7)
    np.testing.assert_allclose(predicted(booster, rows), expected, atol=2e-5)
    rows[5, 2] = np.nan
    np.testing.assert_array_equal(predicted(booster, rows), booster.predict(rows, raw_score=True))


def test_a_split_by_kinds_is_refused() -> None:
    rows, labels = shop()
    rows[:, 0] = np.abs(rows[:, 0])
    data = lightgbm.Dataset(rows, labels, categorical_feature=[0])
    booster = lightgbm.train({"objective": "binary", "verbose": -1}, data, 5)
    with pytest.raises(ValueError, match="=="):
        predicted(booster, rows)


def test_a_loaded_model_is_ready_before_it_is_asked(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    walks = [[f"i{(at + s) % 12}" for s in range(6)] for at in random.integers(0, 12, 400)]
    shop = Dataset.from_sequences(walks)
    made = Ensemble({"covisit": {}, "linear": {}}, way="stack", rounds=5).fit(shop)
    made.save(tmp_path)
    kept = Ensemble.load(tmp_path)
    assert kept.fused.trees in trees._WALKERS
    histories = shop.histories().select(range(20))
    np.testing.assert_allclose(kept.scores(histories), made.scores(histories), rtol=1e-6)
