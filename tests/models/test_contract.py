"""What every model in REGISTRY promises, on tiny shops (see intently/models/base.py)."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from intently.data import Dataset, Histories
from intently.errors import ArtifactError, InputError, NotReadyError
from intently.models import REGISTRY, Recommender, model_class
from intently.models.ranking import Ranked
from tiny_shops import chain, checkerboard, weekly_basket

SETTINGS: dict[str, dict[str, Any]] = {
    "popular": {},
    "repeat": {},
    "basket": {},
    "covisit": {},
    "linear": {"l2": 1.0},
    "als": {"d": 8, "iterations": 5},
    "content": {},
    "blend": {"models": {"linear": {"l2": 1.0}, "covisit": {}, "content": {}}, "weights": None},
    "ensemble": {"models": {"linear": {"l2": 1.0}, "covisit": {}, "content": {}}},
    "boosted": {"inner": {"covisit": {}}, "horizon_days": 1.0, "cuts": 2, "rounds": 40},
    "click": {"inner": {"covisit": {}}, "horizon_days": 1.0, "cuts": 2, "epochs": 10, "learning_rate": 0.01},
    "adversarial": {"d": 16, "judge_d": 8, "epochs": 20, "learning_rate": 0.02},
    "two_tower": {"d": 16, "hidden": 16, "epochs": 15, "learning_rate": 0.01},
    "graph": {"d": 16, "epochs": 15, "learning_rate": 0.02},
    "sequence": {"d": 16, "blocks": 1, "batch_tokens": 256, "epochs": 20, "learning_rate": 0.02},
}
"""Settings under which each model fits a tiny shop in a second or two."""

NOT_COLLABORATIVE = {"popular", "repeat"}
"""Models that cannot know what similar users did."""

NEEDS_A_CLOCK = {"boosted", "click"}
"""Models of a chance within so many days: they refuse a shop that has only an order."""

MODELS = sorted(REGISTRY)
N_ITEMS = 20

HISTORY = st.lists(st.integers(0, N_ITEMS - 1), max_size=12)


def make(name: str) -> Recommender:
    return model_class(name)(**SETTINGS.get(name, {}))


@lru_cache(maxsize=1)
def shop() -> Dataset:
    return checkerboard()


@lru_cache(maxsize=len(MODELS))
def fitted(name: str) -> Recommender:
    return make(name).fit(shop())


def state_bytes(model: Recommender, folder: Path) -> dict[str, bytes]:
    """Everything that the model saves, file by file."""
    model.save(folder)
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def asked() -> Histories:
    """Histories of known users, a stranger, a short and a long one."""
    known = shop().histories([0, 1, 7])
    return join(known, Histories.of([[], [3], list(range(0, 16, 2))], at_s=shop().end_s))


def join(first: Histories, second: Histories) -> Histories:
    names = ("items", "time_s", "events", "users", "at_s")
    parts = {n: np.concatenate([getattr(first, n), getattr(second, n)]) for n in names}
    return Histories(indptr=np.concatenate([first.indptr, second.indptr[1:] + first.indptr[-1]]), **parts)


def same_answer(one: Ranked, other: Ranked) -> None:
    np.testing.assert_array_equal(one.items, other.items)
    np.testing.assert_allclose(one.scores, other.scores, rtol=1e-4, atol=1e-5)


def test_every_model_of_the_registry_is_held_to_the_contract() -> None:
    assert set(SETTINGS) == set(REGISTRY), "give the new model tiny settings in SETTINGS"


def test_an_unknown_model_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="did you mean 'popular'"):
        model_class("populr")


@pytest.mark.parametrize("name", MODELS)
class TestEveryModel:
    def test_is_registered_under_its_own_name(self, name: str) -> None:
        assert model_class(name).name == name

    def test_refuses_before_fit(self, name: str, tmp_path: Path) -> None:
        model = make(name)
        assert not model.fitted
        with pytest.raises(NotReadyError, match="not fitted"):
            model.scores(Histories.of([[0]]))
        with pytest.raises(NotReadyError, match="not fitted"):
            model.top_k(Histories.of([]), 5)
        with pytest.raises(NotReadyError, match="not fitted"):
            model.save(tmp_path)

    def test_refuses_a_shop_without_events(self, name: str) -> None:
        with pytest.raises(InputError, match="no events"):
            make(name).fit(shop().as_of(0.0))

    def test_scores_every_item_as_float32_without_nan(self, name: str) -> None:
        scores = fitted(name).scores(asked())
        assert scores.shape == (6, N_ITEMS)
        assert scores.dtype == np.float32
        assert not np.isnan(scores).any()
        assert not np.isposinf(scores).any()

    def test_answers_k_unique_items_best_first(self, name: str) -> None:
        answer = fitted(name).top_k(asked(), 8)
        assert answer.items.shape == (6, 8)
        for row, scores in zip(answer.lists(), answer.scores, strict=True):
            assert len(set(row)) == len(row) > 0
            assert (np.diff(scores[: len(row)]) <= 0).all()

    def test_k_beyond_the_catalogue_pads_and_k_below_one_is_refused(self, name: str) -> None:
        answer = fitted(name).top_k(asked(), N_ITEMS + 5, repeats=True)
        assert answer.items.shape == (6, N_ITEMS + 5)
        assert (answer.items[:, N_ITEMS:] == -1).all()
        assert np.isneginf(answer.scores[:, N_ITEMS:]).all()
        with pytest.raises(InputError, match="k must be at least 1"):
            fitted(name).top_k(asked(), 0)

    @given(
        histories=st.lists(HISTORY, min_size=1, max_size=3),
        k=st.integers(1, 25),
        barred=st.lists(st.integers(0, N_ITEMS - 1), max_size=8),
        only=st.none() | st.lists(st.integers(0, N_ITEMS - 1), max_size=8),
        repeats=st.booleans(),
    )
    @budget(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    def test_never_answers_what_was_excluded(
        self,
        name: str,
        histories: list[list[int]],
        k: int,
        barred: list[int],
        only: list[int] | None,
        repeats: bool,
    ) -> None:
        asked = Histories.of(histories, at_s=shop().end_s)
        exclude = [barred] * len(histories)
        answer = fitted(name).top_k(asked, k, repeats=repeats, exclude=exclude, only=only)
        for met, row in zip(histories, answer.lists(), strict=True):
            assert len(row) <= k
            assert len(set(row)) == len(row)
            assert not set(row) & set(barred)
            assert repeats or not set(row) & set(met)
            assert only is None or set(row) <= set(only)

    def test_asking_changes_nothing(self, name: str, tmp_path: Path) -> None:
        model, histories = fitted(name), asked()
        before = state_bytes(model, tmp_path / "before")
        kept = {n: getattr(histories, n).copy() for n in ("indptr", "items", "time_s", "events", "at_s")}
        first = model.scores(histories)
        given = first.copy()
        model.top_k(histories, 5, repeats=False, exclude=[[1]] * 6)
        np.testing.assert_array_equal(first, given)
        np.testing.assert_array_equal(first, model.scores(histories))
        for column, values in kept.items():
            np.testing.assert_array_equal(getattr(histories, column), values)
        assert state_bytes(model, tmp_path / "after") == before

    def test_a_caller_who_writes_into_the_scores_harms_nobody(self, name: str) -> None:
        model = fitted(name)
        scores = model.scores(asked())
        kept = scores.copy()
        scores[:] = -7.0
        np.testing.assert_array_equal(model.scores(asked()), kept)

    def test_strangers_get_an_answer(self, name: str) -> None:
        answer = fitted(name).top_k(Histories.of([[]], at_s=shop().end_s), 5)
        assert len(answer.lists()[0]) == 5
        frame = fitted(name).recommend(shop(), ["nobody", "u000"], 5)
        assert frame.filter(frame["user_id"] == "nobody").height == 5

    def test_a_batch_answers_as_each_alone(self, name: str) -> None:
        histories = asked()
        together = fitted(name).top_k(histories, 6)
        for row in range(len(histories)):
            alone = fitted(name).top_k(histories.select([row]), 6)
            same_answer(alone, Ranked(together.items[row : row + 1], together.scores[row : row + 1]))

    def test_an_empty_batch_is_no_error(self, name: str) -> None:
        assert fitted(name).top_k(Histories.of([]), 4).items.shape == (0, 4)

    def test_same_data_and_seed_give_the_same_bytes(self, name: str, tmp_path: Path) -> None:
        again = make(name).fit(checkerboard())
        assert state_bytes(again, tmp_path / "a") == state_bytes(fitted(name), tmp_path / "b")

    def test_save_and_load_give_the_same_list(self, name: str, tmp_path: Path) -> None:
        fitted(name).save(tmp_path)
        loaded = model_class(name).load(tmp_path)
        assert loaded.settings() == fitted(name).settings()
        assert loaded.repeats == fitted(name).repeats
        same_answer(loaded.top_k(asked(), 8), fitted(name).top_k(asked(), 8))
        np.testing.assert_array_equal(loaded.scores(asked()), fitted(name).scores(asked()))

    def test_what_is_loaded_saves_the_same_bytes(self, name: str, tmp_path: Path) -> None:
        before = state_bytes(fitted(name), tmp_path / "a")
        assert state_bytes(model_class(name).load(tmp_path / "a"), tmp_path / "b") == before

    def test_load_refuses_a_damaged_or_foreign_folder(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(ArtifactError, match="no readable"):
            model_class(name).load(tmp_path / "missing")
        fitted(name).save(tmp_path)
        facts = json.loads((tmp_path / "model.json").read_text())
        (tmp_path / "model.json").write_text(json.dumps(facts | {"model": "another"}))
        with pytest.raises(ArtifactError, match=r"another|no readable"):
            model_class(name).load(tmp_path)
        (tmp_path / "model.json").write_text("{")
        with pytest.raises(ArtifactError, match="no readable"):
            model_class(name).load(tmp_path)

    def test_settings_are_json_and_make_the_same_model(self, name: str) -> None:
        told = make(name).settings()
        assert json.loads(json.dumps(told)) == told
        assert model_class(name)(**told).settings() == told

    def test_a_second_fit_forgets_the_first(self, name: str, tmp_path: Path) -> None:
        model = make(name).fit(checkerboard(n_users=30, n_items=12, seed=5))
        model.fit(shop())
        assert state_bytes(model, tmp_path / "a") == state_bytes(fitted(name), tmp_path / "b")

    def test_a_fresh_event_counts_without_a_refit(self, name: str) -> None:
        if name == "popular":
            pytest.skip("popularity knows no history")
        before = fitted(name).scores(Histories.of([[0, 2]], at_s=shop().end_s))
        after = fitted(name).scores(Histories.of([[0, 2, 3]], at_s=shop().end_s))
        assert (before != after).any()

    def test_answers_from_the_history_and_not_from_the_user_id(self, name: str) -> None:
        known = shop().histories([0, 1])
        strangers = replace(known, users=np.full(2, -1, np.int32))
        same_answer(fitted(name).top_k(strangers, 6), fitted(name).top_k(known, 6))

    def test_finds_the_known_answer_of_the_checkerboard(self, name: str) -> None:
        if name in NOT_COLLABORATIVE:
            pytest.skip("knows nothing of other users")
        for parity in (0, 1):
            met = [parity + 2 * j for j in (0, 3, 5)]
            histories = Histories.of([met], at_s=shop().end_s)
            answer = fitted(name).top_k(histories, 4, repeats=False).lists()[0]
            assert {item % 2 for item in answer} == {parity}

    def test_similar_items_are_of_the_same_side(self, name: str) -> None:
        if name in NOT_COLLABORATIVE:
            pytest.skip("knows nothing of other users")
        answer = fitted(name).similar(4, 3).lists()[0]
        assert 4 not in answer
        assert {item % 2 for item in answer} == {0}

    def test_learns_from_the_shop_whether_met_items_come_back(self, name: str) -> None:
        grocery = weekly_basket()
        grocery = grocery.with_vectors(np.eye(grocery.n_items, dtype=np.float32))
        assert make(name).fit(grocery).repeats
        assert fitted(name).repeats is (name == "repeat")

    def test_learns_from_an_order_without_a_clock(self, name: str) -> None:
        walks = chain()
        walks = walks.with_vectors(np.eye(walks.n_items, dtype=np.float32))
        if name in NEEDS_A_CLOCK:
            with pytest.raises(InputError, match="horizons"):
                make(name).fit(walks)
            return
        answer = make(name).fit(walks).top_k(walks.histories(), 3)
        assert (answer.items[:, 0] >= 0).all()

    def test_recommend_speaks_in_outside_ids(self, name: str) -> None:
        frame = fitted(name).recommend(shop(), ["u001", "u004"], 3)
        assert frame.columns == ["user_id", "item_id", "rank", "score"]
        assert frame["rank"].to_list() == [1, 2, 3, 1, 2, 3]
        assert set(frame["item_id"]) <= set(shop().items.ids)
