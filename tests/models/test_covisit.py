"""CoVisit is a shrunk item-kNN cosine that knows how long ago and in which order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from scipy import sparse

from intently.data import Dataset, Histories
from intently.errors import InputError
from intently.models import covisit
from intently.models.covisit import FILLER, CoVisit, nearest
from tiny_shops import chain

SHOP = Dataset.from_sequences([["a", "b"], ["a", "b", "c"], ["a"], ["d", "c"]])
A, B, C, D = (SHOP.items.index(name) for name in "abcd")
PLAIN = {"gap": 1.0, "backward": 1.0, "shrink": 0.0}


def test_without_order_and_shrinking_it_is_the_plain_cosine() -> None:
    """a has 3 users, b 2, c 2, d 1: cos(a, b) = 2 / sqrt 6, cos(a, c) = 1 / sqrt 6."""
    model = CoVisit(decay=0.5, **PLAIN).fit(SHOP)
    alone = model.scores(Histories.of([[A]]))[0]
    assert alone[[B, C, D]] == pytest.approx([2 / 6**0.5, 1 / 6**0.5, 0.0], abs=2 * FILLER)
    both = model.scores(Histories.of([[D, A]]))[0]  # d one step back: half
    assert both[C] == pytest.approx(1 / 6**0.5 + 0.5 / 2**0.5, abs=2 * FILLER)


def test_order_distance_and_shrinking_worked_by_hand() -> None:
    near = CoVisit(gap=0.5, backward=0.25, shrink=1.0).fit(SHOP).near.toarray()
    assert near[A, B] == pytest.approx(2 / (4 * 3) ** 0.5)  # twice at once after a
    assert near[A, C] == pytest.approx(0.5 / (4 * 3) ** 0.5)  # once, a moment in between
    assert near[C, A] == pytest.approx(0.125 / (4 * 3) ** 0.5)  # the other way round
    assert near[C, D] == pytest.approx(0.25 / (3 * 2) ** 0.5)


def test_products_of_one_basket_count_fully_both_ways() -> None:
    one = replace(SHOP, events=SHOP.events.with_columns(time_s=SHOP.events["time_s"] * 0))
    near = CoVisit(gap=0.5, backward=0.25, shrink=0.0).fit(one).near.toarray()
    assert near[A, B] == near[B, A] == pytest.approx(2 / 6**0.5)
    assert near[A, C] == near[C, A] == pytest.approx(1 / 6**0.5)


def test_the_next_step_of_a_circle_is_nearer_than_the_last() -> None:
    shop = chain()
    model = CoVisit().fit(shop)
    for item in range(shop.n_items):
        assert model.top_k(Histories.of([[item]]), 1, repeats=False).items[0, 0] == (item + 1) % 12


def test_items_of_one_moment_weigh_the_same_when_asked() -> None:
    model = CoVisit(decay=0.5, **PLAIN).fit(SHOP)
    basket = replace(Histories.of([[D, A]]), time_s=np.zeros(2))
    assert model.scores(basket)[0, C] == pytest.approx(1 / 6**0.5 + 1 / 2**0.5, abs=2 * FILLER)


def test_a_stranger_gets_the_popular_items() -> None:
    answer = CoVisit().fit(SHOP).top_k(Histories.of([[]]), 4)
    assert answer.lists()[0][0] == A


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=12),
    st.integers(1, 4),
)
@budget(max_examples=40, deadline=None)
def test_pruned_rows_are_the_largest_of_the_full_ones(baskets: list[list[int]], k: int) -> None:
    met = np.zeros((len(baskets), 10), np.float32)
    for row, items in enumerate(baskets):
        met[row, items] = 1
    scale = 1 / np.sqrt(np.maximum(met.sum(axis=0), 1)).astype(np.float64)
    full = (met.T @ met) * scale[:, None] * scale[None, :]
    np.fill_diagonal(full, 0)
    table = sparse.csr_matrix(met)
    near = nearest([(table, table, 1.0)], scale, k).toarray()
    for row in range(10):
        wanted = np.sort(full[row])[::-1][:k]
        np.testing.assert_allclose(np.sort(near[row])[::-1][:k], wanted, atol=1e-6)
        assert (near[row] > 0).sum() <= k
    kept = near > 0
    np.testing.assert_allclose(near[kept], full[kept], atol=1e-6)


def test_small_blocks_give_the_same_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = chain(n_users=40, n_items=30)
    whole = CoVisit(n_neighbours=5).fit(shop).near.toarray()
    monkeypatch.setattr(covisit, "CELLS", 60)
    np.testing.assert_array_equal(CoVisit(n_neighbours=5).fit(shop).near.toarray(), whole)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decay": 0.0}, "decay must be in"),
        ({"decay": 1.5}, "decay must be in"),
        ({"gap": 0.0}, "gap must be in"),
        ({"backward": -0.1}, "backward must be in"),
        ({"shrink": float("nan")}, "shrink must be 0 or more"),
        ({"n_neighbours": 0}, "n_neighbours must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CoVisit(**settings)  # type: ignore[arg-type]
