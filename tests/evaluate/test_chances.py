"""Probabilities are judged over the pairs a model puts forward, with intervals over users."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np
import polars as pl
import pytest

from intently.data import Dataset, Histories
from intently.errors import InputError
from intently.evaluate import Case, leave_one_out, temporal
from intently.evaluate import classification as plain
from intently.evaluate.chances import (
    FIGURES,
    LIKELY,
    Pairs,
    ask_pairs,
    asked_for_chances,
    differences,
    is_calibrated,
    judge_chances,
)
from intently.evaluate.evaluation import judge_fitted
from intently.evaluate.judgement import judge
from intently.models.ranking import Ranked, top_k


def drawn(users: int = 60, each: int = 50, bend: float = 1.0) -> Pairs:
    """Honest chances where bend is 1; else what happens is chance ** bend."""
    random = np.random.default_rng(5)
    user = np.repeat(np.arange(users, dtype=np.int32), each)
    chance = random.random(users * each) ** 2
    label = random.random(len(chance)) < chance**bend
    return Pairs(user, label, chance, users, int(label.sum()) * 2)


def test_every_figure_is_the_plain_one_and_lies_in_its_interval() -> None:
    pairs = drawn()
    got = judge_chances("m", pairs, 0.4, draws=200)
    y, p = pairs.label, pairs.chance
    made, likely = plain.decide(y, p, 0.4), p > LIKELY
    expected = {
        "auc": plain.auc(y, p),
        "log_loss": plain.log_loss(y, p),
        "brier": plain.brier(y, p),
        "ece": plain.calibration_error(y, p),
        "ece_mass": plain.calibration_error(y, p, equal_mass=True),
        "ece_likely": plain.calibration_error(y[likely], p[likely]),
        "precision": made.precision,
        "recall": made.recall,
        "f1": made.f1,
        "accuracy": made.accuracy,
    }
    assert tuple(expected) == FIGURES
    for name, value in expected.items():
        interval = got.figures[name]
        assert interval.value == pytest.approx(value), name
        assert interval.low <= interval.value <= interval.high
        if not name.startswith("ece"):
            assert interval.low < interval.value < interval.high, name
    assert got.reached == 0.5
    assert (got.pairs, got.positives) == (3000, int(y.sum()))


def test_bent_chances_are_found_out_and_honest_ones_are_not() -> None:
    honest = judge_chances("m", drawn(300), draws=50)
    bent = judge_chances("m", drawn(300, bend=2.0), draws=50)
    assert honest.figures["ece"].value < 0.02
    assert bent.figures["ece"].low > 0.05
    assert bent.figures["log_loss"].value > plain.log_loss(drawn(300, bend=2.0).label, drawn(300).chance ** 2)


def test_a_user_whose_pairs_agree_counts_as_one_not_as_many() -> None:
    """The same pairs shared out over fewer users are less sure."""
    pairs = drawn(600, 10)
    few = Pairs(pairs.user // 20, np.repeat(pairs.label[::200], 200), pairs.chance, 30, 1)
    many = Pairs(pairs.user, pairs.label, pairs.chance, 600, 1)
    width = {n: judge_chances(n, p, draws=200).figures["log_loss"] for n, p in (("few", few), ("many", many))}
    assert width["few"].high - width["few"].low > 2 * (width["many"].high - width["many"].low)


class Sure:
    """Gives item i of five the chance i / 10, and none to item 0."""

    name = "sure"
    calibrated = True
    threshold = 0.3

    def top_k(self, histories: Histories, k: int = 10, *, repeats: bool | None = None) -> Ranked:
        scores = np.tile(np.arange(5, dtype=np.float32) / 10, (len(histories), 1))
        scores[:, 0] = -np.inf
        return top_k(scores, k)


def case() -> Case:
    return leave_one_out(Dataset.from_sequences([["a", "b"], ["a", "c"], ["d", "a"], ["e", "b"]]))


def test_the_pairs_are_what_the_model_puts_forward() -> None:
    pairs = ask_pairs(Sure(), case())  # truth: b, c, a, b
    assert pairs.user.tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    assert pairs.chance.reshape(4, 4)[0].tolist() == pytest.approx([0.4, 0.3, 0.2, 0.1])
    assert pairs.label.reshape(4, 4).tolist() == [
        [False, False, False, True],
        [False, False, True, False],
        [False, False, False, False],
        [False, False, False, True],
    ]
    assert pairs.reached == 0.75


def test_those_who_stay_away_are_pairs_too_and_strangers_are_none() -> None:
    day = [datetime(2020, 1, n) for n in (1, 2, 3, 20, 21)]
    rows = [("ann", "a", 0), ("bob", "b", 1), ("cat", "d", 2), ("ann", "b", 3), ("new", "c", 4)]
    events = pl.DataFrame(
        [(user, item, "purchase", day[at]) for user, item, at in rows],
        schema=["user_id", "item_id", "event", "timestamp"],
        orient="row",
    )
    asked = temporal(Dataset.from_frames(events), datetime(2020, 1, 10))
    assert len(asked) == 2  # ann and the stranger
    pairs = ask_pairs(Sure(), asked)
    assert set(pairs.user.tolist()) == {0, 1, 2}  # ann, then the quiet bob and cat
    assert pairs.n_users == 3
    assert pairs.label.sum() == 1
    assert not pairs.label[pairs.user > 0].any()
    assert pairs.n_true == 1
    found = [len(part) for part in asked_for_chances(asked, most=2)]
    assert sum(found) == 2


def test_asking_once_gives_the_same_judgement_as_asking_for_lists() -> None:
    judgement, chances = judge_fitted(Sure(), case(), (1, 2), name="sure")
    assert chances is not None
    assert chances.threshold == 0.3
    assert judgement.items.shape == (4, 2)
    alone = judge(Sure(), case(), (1, 2))
    assert all(np.array_equal(judgement.of(m), alone.of(m)) for m in alone.values)
    given = judge_fitted(Sure(), case(), (1, 2), name="sure", threshold=0.2)[1]
    assert given is not None
    assert given.threshold == 0.2


def test_an_order_is_not_taken_for_probabilities() -> None:
    class Order(Sure):
        calibrated = False

    assert is_calibrated(Sure())
    assert not is_calibrated(Order())
    assert judge_fitted(Order(), case(), (1,), name="order")[1] is None
    with pytest.raises(InputError, match="Order gives an order, not probabilities"):
        ask_pairs(Order(), case())


def test_scores_that_are_no_probabilities_are_refused() -> None:
    pairs = drawn()
    with pytest.raises(InputError, match="chances must lie in"):
        judge_chances("m", Pairs(pairs.user, pairs.label, pairs.chance * 3, pairs.n_users, 1))


def test_a_difference_of_two_models_is_that_of_their_figures_and_surer_than_either() -> None:
    pairs = drawn()
    worse = replace(pairs, chance=np.clip(pairs.chance + 0.02 * np.sin(np.arange(len(pairs.chance))), 0, 1))
    found = differences(worse, pairs, draws=200)
    one, other = (judge_chances("m", each, draws=200).figures for each in (worse, pairs))
    for key in ("auc", "log_loss"):
        assert found[key].value == pytest.approx(one[key].value - other[key].value, abs=1e-9)
        assert found[key].low <= found[key].value <= found[key].high
        assert found[key].high - found[key].low < 0.2 * (one[key].high - one[key].low)
    same = differences(pairs, pairs, draws=20)
    assert all(same[key].low == same[key].value == same[key].high == 0.0 for key in same)


def test_chances_of_other_pairs_are_not_compared() -> None:
    with pytest.raises(InputError, match="only chances of the same pairs"):
        differences(drawn(), drawn(bend=2.0))
