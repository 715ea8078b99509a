"""The score that trees start from: what it learns, where it stays silent, and what it tells of itself."""

from __future__ import annotations

import numpy as np
import pytest
from test_boosted import fitted, grocery

from intently.data.histories import DAY_S
from intently.features import HABITS, PAIR_FEATURES, TOLD_IN
from intently.models.boosted import Boosted
from intently.models.habit_score import LEAST_LISTS, HabitScore
from intently.models.neighbours import NEAR_COLUMNS
from intently.models.reasons import reasons
from intently.models.tables import Pairs, Table

NAMES = [*PAIR_FEATURES, *NEAR_COLUMNS]


def lists(n: int, seed: int = 0) -> list[Table]:
    """n lists of five items; the one that the user met most often is taken, all else is noise."""
    rng = np.random.default_rng(seed)
    features = rng.random((5 * n, len(NAMES))).astype(np.float32)
    times = np.stack([rng.permutation(5) + 1.0 for _ in range(n)])
    features[:, NAMES.index("own_times")] = times.ravel()
    pairs = Pairs(
        np.repeat(np.arange(n), 5),
        np.tile(np.arange(5, dtype=np.int32), n),
        np.ones(5 * n, bool),
        features,
        np.zeros((n, 0), np.float32),
    )
    return [Table(pairs, np.repeat(np.arange(n), 5), (times.ravel() == 5.0).astype(np.float32))]


def test_what_was_taken_stands_first_on_lists_that_it_did_not_see() -> None:
    score = HabitScore.learn(lists(400), NAMES)
    unseen = lists(200, seed=1)[0]
    best = score.of(unseen.pairs.features, NAMES).reshape(-1, 5).argmax(axis=1)
    taken = unseen.labels.reshape(-1, 5).argmax(axis=1)
    assert (best == taken).mean() > 0.95


def test_few_lists_teach_nothing() -> None:
    few = lists(LEAST_LISTS - 1)
    assert not HabitScore.learn(few, NAMES).weights.any()
    assert not HabitScore.learn(few, NAMES).of(few[0].pairs.features, NAMES).any()
    assert HabitScore.learn(lists(LEAST_LISTS), NAMES).weights.any()


def test_lists_of_which_nothing_was_taken_change_nothing() -> None:
    table = lists(100)[0]
    quiet = Table(table.pairs, table.users, np.zeros_like(table.labels))
    with_quiet = HabitScore.learn([quiet, table, quiet], NAMES)
    np.testing.assert_array_equal(with_quiet.weights, HabitScore.learn([table], NAMES).weights)


def test_every_habit_is_told_in_a_column_that_pairs_have() -> None:
    assert set(TOLD_IN) == set(HABITS)
    assert set(TOLD_IN.values()) <= set(NAMES)


def test_effects_of_a_score_add_up_to_it() -> None:
    score, asked = HabitScore.learn(lists(100), NAMES), lists(3, seed=2)[0].pairs.features
    np.testing.assert_allclose(score.effects(asked, NAMES).sum(axis=1), score.of(asked, NAMES), atol=1e-5)


def test_effects_of_a_ranker_add_up_to_its_log_odds() -> None:
    """TreeSHAP leaves one constant, the same for all pairs."""
    model, histories = fitted(), grocery().histories([3, 8])
    assert model.habit.weights.any()
    pairs = model._pairs(histories)
    rest = model._log_odds(pairs) - model._effects(histories, pairs).sum(axis=1)
    np.testing.assert_allclose(rest, rest[0], atol=1e-4)


def test_a_model_kept_before_there_was_a_score_answers_as_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its state has neither neighbours nor a start, and its trees know no such columns."""
    past = grocery().as_of(grocery().end_s - 7 * DAY_S)
    histories = past.histories([1, 2, 3])
    settings = {"inner": {"popular": {}}, "horizon_days": 7.0, "cuts": 2, "rounds": 20}
    with monkeypatch.context() as before:
        before.setattr(Boosted, "neighbours", False)
        before.setattr(Boosted, "_first", lambda _self, pairs: np.zeros(len(pairs)))
        before.setattr(HabitScore, "learn", lambda _tables, _names: HabitScore.none())
        older = Boosted(**settings).fit(past)  # type: ignore[arg-type]
        expected = older.scores(histories)
    added = ("habit.", "start", "near.")
    state = {name: value for name, value in older._state().items() if not name.startswith(added)}
    now = Boosted(**settings)  # type: ignore[arg-type]
    now.models, now.n_items = older.models, older.n_items
    now._restore(state)
    np.testing.assert_array_equal(now.scores(histories), expected)
    assert not set(NEAR_COLUMNS) & set(now._ready().names)


@pytest.mark.parametrize("column", NEAR_COLUMNS)
def test_trees_are_told_what_neighbours_meet(column: str) -> None:
    pairs = fitted()._pairs(grocery().histories([3]))
    assert (pairs.features[:, fitted()._ready().names.index(column)] > 0).any()


def test_what_near_users_meet_is_a_reason_of_its_own() -> None:
    names = fitted()._ready().names
    row = fitted()._pairs(grocery().histories([3])).features[0]
    effects = np.where([name in NEAR_COLUMNS for name in names], 0.5, 0.0)
    found = reasons(names, row, effects)
    assert [reason.code for reason in found] == ["alike"]
    assert found[0].text == "bought by customers like this one"
    assert found[0].effect == pytest.approx(1.0)
