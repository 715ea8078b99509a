"""Probability metrics against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from intently.errors import InputError
from intently.evaluate.classification import (
    auc,
    best_threshold,
    bin_of,
    brier,
    calibration_error,
    decide,
    log_loss,
    reliability,
)

RANDOM = np.random.default_rng(3)
CHANCE = np.round(RANDOM.random(500), 2)  # rounded: ties
LABELS = RANDOM.random(500) < CHANCE**2
WEIGHTS = RANDOM.random(500) + 0.1


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_auc_log_loss_and_brier_agree_with_scikit_learn(weights: np.ndarray | None) -> None:
    assert auc(LABELS, CHANCE, weights) == pytest.approx(
        oracle.roc_auc_score(LABELS, CHANCE, sample_weight=weights)
    )
    inside = np.clip(CHANCE, 1e-6, 1 - 1e-6)
    assert log_loss(LABELS, inside, weights) == pytest.approx(
        oracle.log_loss(LABELS, inside, sample_weight=weights)
    )
    assert brier(LABELS, CHANCE, weights) == pytest.approx(
        oracle.brier_score_loss(LABELS, CHANCE, sample_weight=weights)
    )


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.77, 1.0])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_decisions_agree_with_scikit_learn(threshold: float, weights: np.ndarray | None) -> None:
    made = decide(LABELS, CHANCE, threshold, weights)
    yes = threshold <= CHANCE
    pairs = {
        made.precision: oracle.precision_score(LABELS, yes, sample_weight=weights, zero_division=0),
        made.recall: oracle.recall_score(LABELS, yes, sample_weight=weights),
        made.f1: oracle.f1_score(LABELS, yes, sample_weight=weights),
        made.accuracy: oracle.accuracy_score(LABELS, yes, sample_weight=weights),
    }
    for ours, theirs in pairs.items():
        assert ours == pytest.approx(theirs)


def test_no_threshold_beats_the_best_one() -> None:
    threshold, f1 = best_threshold(LABELS, CHANCE)
    every = [decide(LABELS, CHANCE, t).f1 for t in np.unique(CHANCE)]
    assert f1 == pytest.approx(max(every))
    assert decide(LABELS, CHANCE, threshold).f1 == pytest.approx(f1)


def test_one_class_alone_has_no_auc() -> None:
    assert np.isnan(auc(np.array([1, 1]), np.array([0.2, 0.3])))
    assert auc(np.array([1, 0]), np.array([0.5, 0.5])) == 0.5


def test_a_sure_mistake_costs_much_but_not_everything() -> None:
    assert log_loss(np.array([1]), np.array([0.0])) == pytest.approx(-np.log(1e-15))
    assert log_loss(np.array([1, 0]), np.array([1.0, 0.0])) == 0.0


def test_calibration_error_worked_by_hand() -> None:
    """Bins of a fifth: (.1, .1) happened 1 of 2; (.9, .9, 1.0) happened 3 of 3."""
    labels, chance = np.array([0, 1, 1, 1, 1]), np.array([0.1, 0.1, 0.9, 0.9, 1.0])
    curve = reliability(labels, chance, bins=5)
    assert curve.weight.tolist() == [2, 3]
    assert curve.said == pytest.approx([0.1, 2.8 / 3])
    assert curve.happened == pytest.approx([0.5, 1.0])
    assert curve.error == pytest.approx((2 * 0.4 + 3 * (1 - 2.8 / 3)) / 5)
    assert curve.worst == pytest.approx(0.4)


def test_the_edges_of_equal_width_bins() -> None:
    assert bin_of(np.array([0.0, 0.1999, 0.2, 0.999, 1.0]), 5).tolist() == [0, 0, 1, 4, 4]


def test_equal_mass_bins_hold_as_many_pairs_each() -> None:
    chance = np.random.default_rng(0).random(1000) ** 6  # nearly all small
    mass = np.bincount(bin_of(chance, 10, equal_mass=True))
    assert mass.tolist() == [100] * 10
    assert np.bincount(bin_of(chance, 10)).max() > 600


def test_equal_chances_share_a_bin() -> None:
    place = bin_of(np.array([0.5] * 90 + [0.7] * 10), 10, equal_mass=True)
    assert len(set(place[:90].tolist())) == 1
    assert place[0] != place[-1]


def test_honest_chances_have_almost_no_calibration_error_and_others_do() -> None:
    random = np.random.default_rng(1)
    chance = random.random(200_000) ** 3
    labels = random.random(200_000) < chance
    for equal_mass in (False, True):
        assert calibration_error(labels, chance, equal_mass=equal_mass) < 0.005
        assert calibration_error(labels, chance**2, equal_mass=equal_mass) > 0.05


def test_a_weight_counts_a_pair_as_often() -> None:
    labels, chance, times = LABELS[:50], CHANCE[:50], np.random.default_rng(2).integers(1, 4, 50)
    many, more = np.repeat(labels, times), np.repeat(chance, times)
    assert auc(labels, chance, times) == pytest.approx(auc(many, more))
    assert calibration_error(labels, chance, times) == pytest.approx(calibration_error(many, more))
    assert best_threshold(labels, chance, times) == pytest.approx(best_threshold(many, more))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=40))
def test_all_of_them_stay_inside_their_range(pairs: list[tuple[bool, float]]) -> None:
    labels = np.array([y for y, _ in pairs])
    chance = np.array([p for _, p in pairs])
    area = auc(labels, chance)
    assert np.isnan(area) or 0 <= area <= 1
    assert 0 <= log_loss(labels, chance) <= 34.6
    assert 0 <= brier(labels, chance) <= 1
    for equal_mass in (False, True):
        assert 0 <= calibration_error(labels, chance, equal_mass=equal_mass) <= 1


@pytest.mark.parametrize(
    ("labels", "chance", "weights", "message"),
    [
        ([1], [0.1, 0.2], None, "must match in length"),
        ([], [], None, "no pairs to judge"),
        ([1], [1.2], None, "must lie in"),
        ([1], [float("nan")], None, "must lie in"),
        ([1], [0.5], [-1.0], "weights must be 0 or more"),
        ([1], [0.5], [0.0], "weights must be 0 or more"),
    ],
)
def test_what_cannot_be_judged_is_refused(
    labels: list[int], chance: list[float], weights: list[float] | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        log_loss(np.array(labels), np.array(chance), None if weights is None else np.array(weights))


def test_no_bins_are_refused() -> None:
    with pytest.raises(InputError, match="bins must be at least 1, got 0"):
        reliability(np.array([1]), np.array([0.5]), bins=0)
