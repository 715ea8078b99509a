"""Linear solves the ridge regression that its docstring states, exactly."""

from __future__ import annotations

import numpy as np
import pytest

from intently.data import Dataset, Histories
from intently.errors import InputError
from intently.models import ridge
from intently.models.linear import FILLER, Linear
from intently.models.moments import moments, next_pairs
from intently.models.ridge import largest, ridge_inverse
from tiny_shops import chain, weekly_basket

WALKS = [["a", "b", "c", "d"], ["b", "c", "a"], ["d"], ["a", "b", "a", "c"], ["c", "d", "b"]]
SHOP = Dataset.from_sequences(WALKS)


def by_hand(decay: float, l2: float) -> np.ndarray:
    """B of the next-item ridge in float64, straight from the definition."""
    past, following = [], []
    for walk in WALKS:
        ids = [SHOP.items.index(name) for name in walk]
        for t in range(1, len(ids)):
            row = np.zeros(SHOP.n_items)
            for s in range(t):
                row[ids[s]] += decay ** (t - 1 - s)
            past.append(row)
            following.append(np.eye(SHOP.n_items)[ids[t]])
    X, Y = np.array(past), np.array(following)
    return np.linalg.solve(X.T @ X + l2 * np.eye(SHOP.n_items), X.T @ Y)


@pytest.mark.parametrize("decay", [0.5, 0.9, 1.0])
def test_next_is_the_ridge_of_its_definition(decay: float) -> None:
    model = Linear(decay=decay, l2=2.0).fit(SHOP)
    np.testing.assert_allclose(model.weights.toarray(), by_hand(decay, 2.0), atol=1e-5)


def test_self_is_ease_with_a_zero_diagonal() -> None:
    met = np.zeros((len(WALKS), SHOP.n_items))
    for row, walk in enumerate(WALKS):
        met[row, [SHOP.items.index(name) for name in walk]] = 1.0
    inverse = np.linalg.inv(met.T @ met + 3.0 * np.eye(SHOP.n_items))
    wanted = np.eye(SHOP.n_items) - inverse / np.diag(inverse)
    weights = Linear(l2=3.0, target="self").fit(SHOP).weights.toarray()
    np.testing.assert_allclose(weights, wanted, atol=1e-5)
    assert (np.diag(weights) == 0).all()


def test_the_next_step_of_a_circle_comes_first() -> None:
    shop = chain()
    model = Linear(l2=1.0).fit(shop)
    for item in range(shop.n_items):
        answer = model.top_k(Histories.of([[(item - 1) % 12, item]]), 1)
        assert answer.items[0, 0] == (item + 1) % shop.n_items


def test_a_basket_is_one_moment_on_both_sides() -> None:
    shop = weekly_basket(n_users=3, weeks=4)
    met, before = moments(shop.histories(), shop.n_items)
    assert before.tolist() == [0, 1, 2, 3] * 3
    assert set(np.diff(met.indptr)) <= {2, 3}
    past, following = next_pairs(shop.histories(), shop.n_items, 0.5)
    assert past.shape == following.shape == (9, shop.n_items)
    np.testing.assert_allclose(past[0].toarray(), met[0].toarray())
    np.testing.assert_allclose(past[1].toarray(), (met[1] + 0.5 * met[0]).toarray())
    np.testing.assert_allclose(following[1].toarray(), met[2].toarray())


def test_a_grocery_gets_its_staples_back() -> None:
    shop = weekly_basket()
    answer = Linear(l2=1.0).fit(shop).top_k(shop.histories(), 2, repeats=True)
    for user, row in zip(shop.users.ids, answer.lists(), strict=True):
        number = int(user[1:]) % 8
        assert {shop.items[i] for i in row} == {f"i{number:03d}", f"i{8 + number:03d}"}


def test_blocks_and_the_dense_product_give_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = chain(n_items=30)
    whole = Linear(l2=1.0).fit(shop).weights.toarray()
    ease = Linear(l2=1.0, target="self").fit(shop).weights.toarray()
    monkeypatch.setattr(ridge, "BLOCK", 7)
    for share in (0.0, 1.0):
        monkeypatch.setattr(ridge, "DENSE_FROM", share)
        np.testing.assert_allclose(Linear(l2=1.0).fit(shop).weights.toarray(), whole, atol=1e-5)
    again = Linear(l2=1.0, target="self").fit(shop).weights.toarray()
    np.testing.assert_allclose(again, ease, atol=1e-5)


def test_the_inverse_is_symmetric_and_inverts() -> None:
    past, _ = next_pairs(SHOP.histories(), SHOP.n_items, 0.8)
    gram = (past.T @ past).toarray() + 0.5 * np.eye(SHOP.n_items)
    inverse = ridge_inverse((past.T @ past).toarray(order="F"), 0.5)
    np.testing.assert_allclose(inverse @ gram, np.eye(SHOP.n_items), atol=1e-5)
    np.testing.assert_array_equal(inverse, inverse.T)


@pytest.mark.parametrize("target", ["next", "self"])
def test_a_catalogue_beyond_max_items_still_answers(target: str) -> None:
    shop = chain()
    model = Linear(l2=1.0, target=target, max_items=5).fit(shop)
    scores = model.scores(shop.histories())
    assert np.isfinite(scores).all()
    answer = model.top_k(Histories.of([[4]]), 3, repeats=False).lists()[0]
    assert len(answer) == 3


def test_items_beyond_max_items_are_still_recommended_and_heard() -> None:
    shop = chain()
    model = Linear(l2=1.0, max_items=3).fit(shop)
    for item in range(shop.n_items):
        assert model.top_k(Histories.of([[item]]), 1, repeats=False).items[0, 0] == (item + 1) % 12


def test_only_the_largest_weights_are_kept() -> None:
    full = Linear(l2=1.0).fit(SHOP).weights.toarray()
    kept = Linear(l2=1.0, n_kept=2).fit(SHOP).weights.toarray()
    assert ((kept != 0).sum(axis=1) <= 2).all()
    for row in range(SHOP.n_items):
        largest = np.sort(np.abs(full[row]))[::-1][:2]
        np.testing.assert_allclose(np.sort(np.abs(kept[row]))[::-1][:2], largest)


def test_of_equal_weights_the_first_are_kept() -> None:
    rows = largest(np.array([[1, -1, 2, 1], [0, 0, 3, 0], [0, 0, 0, 0]], np.float32), 2)
    assert rows.toarray().tolist() == [[1, 0, 2, 0], [0, 0, 3, 0], [0, 0, 0, 0]]
    assert rows.nnz == 3


def test_users_with_one_event_teach_popularity_only() -> None:
    shop = Dataset.from_sequences([["a"], ["b"], ["b"]])
    scores = Linear().fit(shop).scores(Histories.of([[0]]))[0]
    assert scores == pytest.approx([FILLER / 2, FILLER])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decay": 0.0}, "decay must be in"),
        ({"l2": 0.0}, "l2 must be above 0"),
        ({"l2": float("nan")}, "l2 must be above 0"),
        ({"target": "future"}, "target must be 'next' or 'self', got 'future'"),
        ({"keep": "all"}, "keep must be one of weights, sums, got 'all'"),
        ({"max_items": 0}, "max_items must be at least 1"),
        ({"n_kept": 0}, "n_kept must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Linear(**settings)  # type: ignore[arg-type]
