"""Places instead of values: no unit, no tail."""

from __future__ import annotations

import numpy as np
import pytest

from intently.features.scale import POINTS, Scale


def test_columns_of_any_unit_get_mean_zero_and_spread_one() -> None:
    rng = np.random.default_rng(0)
    table = np.stack([rng.lognormal(5, 2, 5000), rng.integers(0, 3, 5000), np.full(5000, 7.0)], axis=1)
    table[:3000, 0] = 999.0
    scaled = Scale.of(table.astype(np.float32)).apply(table.astype(np.float32))
    np.testing.assert_allclose(scaled[:, :2].mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(scaled[:, :2].std(axis=0), 1, atol=0.02)
    assert (scaled[:, 2] == 0).all()


def test_the_order_of_values_stays_and_equal_ones_stay_equal() -> None:
    rng = np.random.default_rng(1)
    column = rng.integers(-1000, 1000, (800, 1)).astype(np.float32)
    scaled = Scale.of(column).apply(column)
    order = np.argsort(column[:, 0], kind="stable")
    steps = np.diff(scaled[order, 0])
    assert (steps >= 0).all()
    assert (steps[np.diff(column[order, 0]) == 0] == 0).all()


def test_values_beyond_the_training_table_stay_at_its_ends() -> None:
    scale = Scale.of(np.arange(10, dtype=np.float32)[:, None])
    ends = scale.apply(np.array([[-1e6], [0.0], [9.0], [1e6]], np.float32))[:, 0]
    assert ends[0] == ends[1] == pytest.approx(-ends[2])
    assert ends[3] == ends[2]


def test_keeps_one_shape_for_every_column() -> None:
    scale = Scale.of(np.zeros((1, 3), np.float32))
    assert scale.values.shape == scale.places.shape == (3, POINTS)
