"""The bootstrap says how sure a mean is, and says it honestly."""

from __future__ import annotations

import numpy as np
import pytest

from intently.errors import InputError
from intently.intervals import (
    Interval,
    difference,
    lift,
    mean_interval,
    mean_intervals,
    resampled_means,
    resamples,
    share,
    share_difference,
)


def test_a_draw_is_as_large_as_the_sample_and_repeats_with_its_seed() -> None:
    first = np.concatenate(list(resamples(50, draws=20, seed=5)))
    assert first.shape == (20, 50)
    assert (first.sum(axis=1) == 50).all()
    assert np.array_equal(first, np.concatenate(list(resamples(50, draws=20, seed=5))))
    assert not np.array_equal(first, np.concatenate(list(resamples(50, draws=20, seed=6))))


def test_chunks_change_nothing_but_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random(30)
    whole = resampled_means(values, draws=40)
    monkeypatch.setattr("intently.intervals._CELLS", 30 * 7)
    assert len(list(resamples(30, draws=40))) == 6
    assert np.allclose(resampled_means(values, draws=40), whole, rtol=1e-12)


def test_the_interval_covers_the_true_mean_about_95_times_in_100() -> None:
    random = np.random.default_rng(11)
    samples = (random.random((400, 120)) < 0.3).astype(float)  # the true mean is 0.3
    covered = [not mean_interval(s, draws=300, seed=i).excludes(0.3) for i, s in enumerate(samples)]
    assert 0.92 <= np.mean(covered) <= 0.98


def test_the_paired_lift_covers_the_true_one_and_is_tighter_than_apart() -> None:
    random = np.random.default_rng(12)
    covered, widths, apart = [], [], []
    for i in range(200):
        ease = random.random(150)  # some users are easy for everybody
        theirs = ease + 0.05 * random.standard_normal(150)
        ours = 1.1 * ease + 0.05 * random.standard_normal(150)
        got = lift(ours, theirs, draws=300, seed=i)
        covered.append(not got.excludes(0.1))
        widths.append(got.high - got.low)
        alone = mean_interval(ours / theirs.mean(), draws=300, seed=i)
        apart.append(alone.high - alone.low)
    assert 0.90 <= np.mean(covered) <= 0.99
    assert np.mean(widths) < 0.5 * np.mean(apart)


def test_lift_and_difference_worked_by_hand() -> None:
    ours, theirs = np.array([0.6, 0.2]), np.array([0.4, 0.1])
    assert difference(ours, theirs).value == pytest.approx(0.15)
    assert lift(ours, theirs).value == pytest.approx(0.6)
    assert difference(ours, ours) == Interval(0.0, 0.0, 0.0, n=2)


def test_a_baseline_of_nothing_has_no_lift() -> None:
    got = lift(np.ones(5), np.zeros(5))
    assert np.isnan(got.value)
    assert np.isnan(got.low)
    assert not got.excludes(0.0)


def test_users_without_a_value_are_left_out() -> None:
    values = np.array([[1.0, np.nan], [3.0, 5.0], [np.nan, 7.0]])
    first, second = mean_intervals(values, draws=200)
    assert (first.value, first.n) == (2.0, 2)
    assert (second.value, second.n) == (6.0, 2)
    assert 1.0 <= first.low <= first.high <= 3.0
    assert lift(values[:, 0], values[:, 1]).n == 1


def test_a_wider_level_is_a_wider_interval() -> None:
    values = np.random.default_rng(4).random(60)
    narrow, wide = mean_interval(values, level=0.5), mean_interval(values, level=0.99)
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


@pytest.mark.parametrize("true", [0.01, 0.3])
def test_score_intervals_cover_a_share_and_a_difference_about_95_times_in_100(true: float) -> None:
    random = np.random.default_rng(4)
    one, two = random.binomial(200, true, 2000), random.binomial(300, true + 0.05, 2000)
    ours, theirs = [share(int(n), 200) for n in one], [share(int(n), 300) for n in two]
    covered = sum(not found.excludes(true) for found in ours) / len(ours)
    assert 0.92 < covered < 0.99
    gaps = [share_difference(a, b) for a, b in zip(ours, theirs, strict=True)]
    assert 0.92 < sum(not gap.excludes(-0.05) for gap in gaps) / len(gaps) < 0.99


def test_a_share_of_nobody_and_of_all() -> None:
    assert np.isnan(share(0, 0).value)
    everyone = share(10, 10)
    assert (everyone.high, everyone.n) == (1.0, 10)
    assert everyone.low < 0.8


def test_it_prints_as_a_value_and_a_range() -> None:
    assert str(Interval(0.5, 0.25, 0.75, n=3)) == "0.5000 [0.2500, 0.7500]"


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(InputError, match="at least one user and one draw, got 0 and 5"):
        list(resamples(0, draws=5))
    with pytest.raises(InputError, match="level must lie between 0 and 1, got 1"):
        mean_interval(np.ones(3), level=1.0)
    with pytest.raises(InputError, match="one value a user from both"):
        difference(np.ones(3), np.ones(4))
