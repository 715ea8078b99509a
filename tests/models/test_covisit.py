"""CoVisit is item-kNN cosine, weighted by how long ago the history's items were met."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from scipy import sparse

from intently.data import Dataset, Histories
from intently.errors import InputError
from intently.models import covisit
from intently.models.covisit import FILLER, CoVisit, cosines

SHOP = Dataset.from_sequences([["a", "b"], ["a", "b", "c"], ["a", "a"], ["d", "c"]])


def test_a_score_worked_by_hand() -> None:
    """a has 3 users, b 2, c 2, d 1: cos(a, b) = 2 / sqrt 6, cos(a, c) = 1 / sqrt 6."""
    a, b, c, d = (SHOP.items.index(name) for name in "abcd")
    model = CoVisit(decay=0.5).fit(SHOP)
    alone = model.scores(Histories.of([[a]]))[0]
    assert alone[[b, c, d]] == pytest.approx([2 / 6**0.5, 1 / 6**0.5, 0.0], abs=2 * FILLER)
    both = model.scores(Histories.of([[d, a]]))[0]  # d one step back: half
    assert both[c] == pytest.approx(1 / 6**0.5 + 0.5 / 2**0.5, abs=2 * FILLER)


def test_items_of_one_moment_weigh_the_same() -> None:
    a, b, c, d = (SHOP.items.index(name) for name in "abcd")
    model = CoVisit(decay=0.5).fit(SHOP)
    spread = Histories.of([[d, a]])
    basket = Histories(spread.indptr, spread.items, np.zeros(2), spread.events, spread.users, spread.at_s)
    assert model.scores(basket)[0, c] == pytest.approx(1 / 6**0.5 + 1 / 2**0.5, abs=2 * FILLER)
    assert b != c


def test_a_stranger_gets_the_popular_items() -> None:
    answer = CoVisit().fit(SHOP).top_k(Histories.of([[]]), 4)
    assert SHOP.items[answer.lists()[0][0]] == "a"


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=12),
    st.integers(1, 4),
)
@budget(max_examples=40, deadline=None)
def test_pruned_cosines_are_the_largest_of_the_full_ones(baskets: list[list[int]], k: int) -> None:
    met = np.zeros((len(baskets), 10), np.float32)
    for row, items in enumerate(baskets):
        met[row, items] = 1
    unit = met / np.maximum(np.linalg.norm(met, axis=0), 1)
    full = unit.T @ unit
    np.fill_diagonal(full, 0)
    near = cosines(sparse.csc_matrix(unit), k).toarray()
    for row in range(10):
        wanted = np.sort(full[row])[::-1][:k]
        np.testing.assert_allclose(np.sort(near[row])[::-1][:k], wanted, atol=1e-6)
        assert (near[row] > 0).sum() <= k
    kept = near > 0
    np.testing.assert_allclose(near[kept], full[kept], atol=1e-6)


def test_small_blocks_give_the_same_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    unit = sparse.random(30, 50, 0.2, format="csc", random_state=rng, dtype=np.float32)
    whole = cosines(unit, 5).toarray()
    monkeypatch.setattr(covisit, "CELLS", 60)
    np.testing.assert_array_equal(cosines(unit, 5).toarray(), whole)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"decay": 0.0}, "decay must be in"), ({"decay": 1.5}, "decay must be in"),
     ({"n_neighbours": 0}, "n_neighbours must be at least 1")],
)  # fmt: skip
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CoVisit(**settings)  # type: ignore[arg-type]
