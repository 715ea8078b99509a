"""A state that goes from event to event answers as a reading of the whole history does."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from intently.data import Dataset, Histories
from intently.errors import InputError, NotReadyError
from intently.models import REGISTRY, model_class
from intently.models.sequence import Sequence
from intently.models.stateful import Stateful, best_of
from tiny_shops import checkerboard

STATEFUL = ["sequence"]
N_ITEMS = checkerboard().n_items  # the last one is never met
EVENT = st.tuples(st.integers(0, N_ITEMS - 1), st.integers(0, 6))  # item, moment: many ties, often late


def test_models_that_carry_a_state_say_so() -> None:
    assert [name for name in REGISTRY if isinstance(model_class(name)(), Stateful)] == STATEFUL


def shop() -> Dataset:
    """A checkerboard with views and purchases, minutes to weeks apart."""
    plain = checkerboard()
    rng = np.random.default_rng(0)
    kinds = pl.Series("event", rng.choice([0, 4], plain.n_events), pl.UInt8)
    apart = pl.Series("time_s", plain.end_s + np.cumsum(np.exp(rng.uniform(4, 14, plain.n_events))))
    return replace(plain, events=plain.events.with_columns(kinds, apart))


@cache
def model(longest: int = 4) -> Sequence:
    tiny = {"d": 16, "blocks": 2, "batch_tokens": 256, "epochs": 6, "learning_rate": 0.02}
    return Sequence(**tiny, max_length=longest, gaps=True).fit(shop())


def test_the_model_of_these_tests_looks_at_gaps_and_kinds() -> None:
    assert np.abs(model().weights["blocks.1.attention.gap"]).max() > 0.01
    assert np.abs(model().kind_vectors[[0, 4]]).max() > 0.01


def history(events: list[tuple[int, int]]) -> Histories:
    """One user's events, ordered by time."""
    items, time_s, kinds = columns(sorted(events, key=lambda event: event[1]))
    return replace(Histories.of([items.tolist()]), time_s=time_s, events=kinds)


def columns(events: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Items, times (of moment m: 4 ** m minutes) and kinds, in the order given."""
    items = np.array([item for item, _ in events], np.int32)
    kinds = np.where((items + 2) // 3 % 2, 0, 4).astype(np.uint8)
    return items, np.array([60.0 * 4**at for _, at in events], np.float64), kinds


class TestWhateverTheWay:
    @given(first=st.lists(EVENT, max_size=6), parts=st.lists(st.lists(EVENT, max_size=3), max_size=6))
    @budget(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    def test_it_answers_as_a_full_reading(
        self, first: list[tuple[int, int]], parts: list[list[tuple[int, int]]]
    ) -> None:
        state, seen = model().begin(history(first)), list(first)
        for part in parts:
            state = model().advance(state, *columns(part))
            seen += part
        whole = history(seen)
        scores = model().scores(whole)[0]
        np.testing.assert_allclose(model().scores_of(state), scores, rtol=1e-4, atol=1e-4)
        for k, repeats in ((3, False), (5, True), (N_ITEMS + 2, False)):
            best, ranked = (
                model().best(state, k, repeats=repeats, exclude=[1]),
                model().top_k(whole, k, repeats=repeats, exclude=[[1]]),
            )
            np.testing.assert_allclose(best.scores, ranked.scores, rtol=1e-4, atol=1e-4)
            assert sorted(best.lists()[0]) == sorted(ranked.lists()[0]) or k < N_ITEMS
            assert not {1, *([] if repeats else whole.items.tolist())} & set(best.lists()[0])

    def test_a_window_that_fills_and_moves_on_goes_on_answering_as_a_full_reading(self) -> None:
        events = [(item % 12, item) for item in range(11)]
        state = model().begin(Histories.of([[]]))
        for n, event in enumerate(events, 1):
            state = model().advance(state, *columns([event]))
            scores = model().scores(history(events[:n]))[0]
            np.testing.assert_allclose(model().scores_of(state), scores, rtol=1e-4, atol=1e-4)
            assert (state.kept is None) is (n >= 4)


def test_the_vector_gives_the_scores() -> None:
    state = model().begin(history([(3, 1), (5, 2)]))
    known = model().table @ model().vector(state)
    np.testing.assert_allclose(known, model().scores_of(state)[model().vocabulary], rtol=1e-5)
    np.testing.assert_array_equal(model().vector(model().begin(Histories.of([[]]))), np.zeros(16))


def test_advancing_leaves_the_state_as_it_was() -> None:
    state = model().begin(history([(3, 1), (5, 2)]))
    before = model().scores_of(state)
    one = model().advance(state, *columns([(7, 3)]))
    model().advance(state, *columns([(8, 2), (9, 4)]))
    model().best(state, 4)
    model().vector(state)[:] = 0
    np.testing.assert_array_equal(model().scores_of(state), before)
    np.testing.assert_array_equal(
        model().scores_of(model().advance(state, *columns([(7, 3)]))), model().scores_of(one)
    )


def test_a_loaded_model_and_a_second_fit_begin_anew(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("kept")
    model().save(folder)
    loaded, asked = Sequence.load(folder), history([(3, 1), (5, 2)])
    np.testing.assert_array_equal(loaded.vector(loaded.begin(asked)), model().vector(model().begin(asked)))
    again = loaded.fit(checkerboard(n_users=30, n_items=12, seed=5))
    np.testing.assert_allclose(
        again.scores_of(again.begin(asked)), again.scores(asked)[0], rtol=1e-4, atol=1e-4
    )


def test_where_nobody_comes_back_states_answer_what_is_popular() -> None:
    days = pl.Series([f"2024-01-{day:02d}" for day in (1, 2, 3)])
    events = pl.DataFrame({"user_id": ["a", "b", "c"], "item_id": ["x", "y", "y"], "timestamp": days})
    made = Sequence(d=16).fit(Dataset.from_frames(events))
    state = made.advance(made.begin(Histories.of([[]])), *columns([(0, 1)]))
    assert made.best(state, 2, repeats=True).lists() == [[1, 0]]
    assert made.best(state, 2, repeats=False).lists() == [[1]]


def test_what_does_not_fit_is_refused() -> None:
    state = model().begin(Histories.of([[2]]))
    with pytest.raises(InputError, match="one user's, got a batch of 2"):
        model().begin(Histories.of([[1], [2]]))
    with pytest.raises(InputError, match=r"one length, got shapes \(1,\), \(2,\) and \(1,\)"):
        model().advance(state, *columns([(1, 1)])[:1], np.zeros(2), np.zeros(1, np.uint8))
    with pytest.raises(InputError, match=f"items must be in 0 to {N_ITEMS - 1}, got 0 to {N_ITEMS}"):
        model().advance(state, *columns([(0, 1), (N_ITEMS, 1)]))
    with pytest.raises(InputError, match="k must be at least 1, got 0"):
        model().best(state, 0)
    with pytest.raises(NotReadyError, match="sequence is not fitted"):
        Sequence().begin(Histories.of([[]]))


@given(
    scores=st.lists(st.integers(-3, 3) | st.just(-np.inf), min_size=1, max_size=12),
    k=st.integers(1, 14),
)
@budget(deadline=None)
def test_the_best_of_a_row_are_those_of_a_full_sort(scores: list[float], k: int) -> None:
    row = np.array(scores, np.float32)
    places, best = best_of(row, k)
    expected = [int(i) for i in np.argsort(-row, kind="stable") if np.isfinite(row[i])][:k]
    assert places.tolist() == expected
    np.testing.assert_array_equal(best, row[expected])
