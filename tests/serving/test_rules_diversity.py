"""Diversity: a list whose items are not all alike, the best still first, nothing lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from served import keep, publish, repeat

from intently.config import Settings
from intently.data import Dataset
from intently.serving.answer.diversity import likeness, mmr
from intently.serving.answer.draft import Draft
from intently.serving.answer.recommend import recommend
from intently.serving.shapes.answers import RecommendationRequest
from intently.serving.state.engine import Engine
from intently.serving.state.newcomers import directions

PAIRS = np.kron(np.eye(3), np.ones((2, 2))).astype(np.float32)  # 0 and 1 are alike, 2 and 3, 4 and 5


def test_no_share_keeps_the_order_and_a_full_one_takes_one_of_each() -> None:
    assert mmr(PAIRS, 6, 0.0).tolist() == [0, 1, 2, 3, 4, 5]
    assert mmr(PAIRS, 3, 1.0).tolist()[:3] == [0, 2, 4]
    assert mmr(PAIRS, 3, 0.5).tolist() == [0, 2, 4, 1, 3, 5]
    assert mmr(PAIRS, 3, 0.05).tolist()[:2] == [0, 1]  # a little difference does not outweigh the place


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(0, 50), st.floats(0, 1), st.integers(0, 9))
def test_nothing_is_lost_and_the_best_stays_first(m: int, n: int, share: float, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(m, 5)).astype(np.float32)
    order = mmr(np.maximum(rows @ rows.T, 0.0), n, share)
    assert sorted(order.tolist()) == list(range(m))
    assert order[:1].tolist() == [0][:m]
    assert (np.diff(order[n:]) > 0).all()


def test_directions_are_of_length_one_and_keep_who_is_near_whom() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    vectors[1], vectors[2] = vectors[0] * 1.01, 0.0
    short = directions(vectors)
    assert short.shape[0] == 50
    assert np.linalg.norm(short, axis=1)[[0, 1, 3]] == pytest.approx(1.0, abs=1e-4)
    assert not short[2].any()
    assert (short[0] @ short.T).argsort()[-2:].tolist() in ([0, 1], [1, 0])
    assert directions(np.zeros((0, 0), np.float32)).size == 0


@pytest.fixture
def engine(tmp_path: Path, shop: Dataset) -> Engine:
    """The grocery, its things in three categories: the staples up to 15, 16 to 19, and 20 to 23."""
    kinds = [f"kind {(k >= 16) + (k >= 20)}" for k in range(shop.n_items)]
    table = shop.item_table.with_columns(category=pl.Series(kinds))
    named = Dataset(shop.events, shop.users, shop.items, table, shop.user_table)
    keep(tmp_path, named)
    publish(tmp_path, named, repeat(named))
    made = Engine(Settings(home=tmp_path))
    made.live.refresh()
    return made


def test_a_diverse_list_has_more_categories_and_is_the_same_each_time(engine: Engine) -> None:
    try:

        def asked(share: float) -> list[tuple[str, str]]:
            request = {"user_id": "u003", "n": 3, "diversity": share}
            answer = recommend(engine, RecommendationRequest.model_validate(request))
            return [(item.item_id, item.category) for item in answer.items]

        plain, diverse = asked(0.0), asked(0.6)
        assert len({kind for _, kind in diverse}) == 3 > len({kind for _, kind in plain})
        assert diverse[0] == plain[0]
        assert asked(0.6) == diverse
    finally:
        engine.close()


def test_texts_say_who_is_alike_where_they_were_read(engine: Engine) -> None:
    try:
        standing = engine.live.current
        assert standing is not None
        request = RecommendationRequest(user_id="u003")
        draft = Draft(engine.ask("u003"), request, engine.scenarios["home"], 4)
        numbers = np.array([0, 1, 20], np.int32)
        assert likeness(engine, draft, numbers).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
        read = np.eye(24, dtype=np.float32)
        read[standing.dense(numbers)] = np.eye(24, dtype=np.float32)[[0, 1, 0]]
        engine.newcomers._short = (standing, read)  # as the thread that reads texts would
        assert likeness(engine, draft, numbers).tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    finally:
        engine.close()
