"""A user taken out of a linear model leaves the model that a shop without that user would have."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from intently.data import Dataset, Histories
from intently.data.simulator import simulate
from intently.errors import InputError, NotReadyError
from intently.models.linear import Linear
from tiny_shops import chain, weekly_basket

TARGETS = pytest.mark.parametrize("target", ["next", "self"])


@lru_cache(maxsize=1)
def realistic() -> Dataset:
    """150 customers of 60 products: visits, baskets, repeats, several kinds of events."""
    return simulate(n_users=150, n_days=90).dataset()


def without(shop: Dataset, users: list[int]) -> Dataset:
    return replace(shop, events=shop.events.filter(~pl.col("user").is_in(users)))


def same_model(one: Linear, other: Linear, asked: Histories) -> None:
    np.testing.assert_allclose(one.weights.toarray(), other.weights.toarray(), atol=2e-6)
    np.testing.assert_allclose(one.popularity, other.popularity, rtol=1e-5, atol=1e-7)
    assert one.repeats == other.repeats
    np.testing.assert_allclose(one.scores(asked), other.scores(asked), atol=1e-5)


def same_answers(one: Linear, other: Linear, asked: Histories) -> None:
    first, second = one.top_k(asked, 5), other.top_k(asked, 5)
    differ = first.items != second.items  # only where two scores are equal but for rounding
    np.testing.assert_allclose(first.scores[differ], second.scores[differ], atol=1e-6)
    assert differ.mean() < 0.02


@TARGETS
@pytest.mark.parametrize("users", [[0], [3, 17, 40]])
def test_a_removed_user_leaves_the_model_of_a_shop_without_them(target: str, users: list[int]) -> None:
    shop = realistic()
    model = Linear(target=target, l2=5.0, keep="sums").fit(shop)
    before = model.weights.toarray()
    model.remove_users(shop.histories(users))
    refit = Linear(target=target, l2=5.0).fit(without(shop, users))
    assert np.abs(model.weights.toarray() - before).max() > 5e-5
    same_model(model, refit, shop.histories())
    same_answers(model, refit, shop.histories())


@TARGETS
def test_an_added_user_makes_the_model_of_a_shop_with_them(target: str) -> None:
    shop = realistic()
    model = Linear(target=target, l2=5.0, keep="sums").fit(without(shop, [2, 9]))
    model.add_users(shop.histories([2])).add_users(shop.histories([9]))
    same_model(model, Linear(target=target, l2=5.0).fit(shop), shop.histories())


@TARGETS
def test_what_is_kept_changes_no_answer(target: str) -> None:
    shop = realistic()
    plain = Linear(target=target, l2=5.0).fit(shop)
    same_model(Linear(target=target, l2=5.0, keep="sums").fit(shop), plain, shop.histories())


@TARGETS
def test_other_items_become_the_frequent_ones_as_in_a_new_fit(target: str) -> None:
    shop = realistic()
    heavy = np.argsort(-shop.histories().lengths, kind="stable")[:12].tolist()
    model = Linear(target=target, l2=5.0, max_items=20, n_kept=15, keep="sums").fit(shop)
    exact_before = set(np.argsort(-model._known().heard, kind="stable")[:20])
    model.remove_users(shop.histories(heavy))
    assert set(np.argsort(-model._known().heard, kind="stable")[:20]) != exact_before
    refit = Linear(target=target, l2=5.0, max_items=20, n_kept=15).fit(without(shop, heavy))
    same_model(model, refit, shop.histories())


def test_the_tiny_shop_by_hand() -> None:
    walks = [["a", "b"], ["a", "c"], ["b", "c"]]
    shop = Dataset.from_sequences(walks)
    model = Linear(l2=1.0, keep="sums").fit(shop).remove_users(shop.histories([1]))
    a, b, c = (shop.items.index(name) for name in "abc")
    wanted = np.zeros((3, 3))
    wanted[a, b] = wanted[b, c] = 0.5  # one past of one item: 1 / (1 + l2)
    np.testing.assert_allclose(model.weights.toarray(), wanted, atol=1e-7)
    assert model.weights.nnz == 2  # of the pair that nobody met any more nothing is left
    assert model.popularity.tolist() == [0.5, 1.0, 0.5]


def test_nothing_is_left_of_a_removed_user_in_what_is_saved(tmp_path: Path) -> None:
    """Every array but the order of rounding: the sums hold no entry that the others did not make."""
    shop = realistic()
    model = Linear(l2=5.0, keep="sums").fit(shop).remove_users(shop.histories([5]))
    refit = Linear(l2=5.0, keep="sums").fit(without(shop, [5]))
    ours, theirs = model._state(), refit._state()
    assert set(ours) == set(theirs)
    for name in ("sums_pairs", "sums_nexts"):
        np.testing.assert_array_equal(ours[f"{name}_indices"], theirs[f"{name}_indices"])
        np.testing.assert_array_equal(ours[f"{name}_indptr"], theirs[f"{name}_indptr"])
    np.testing.assert_array_equal(ours["sums_heard"], theirs["sums_heard"])
    np.testing.assert_array_equal(ours["sums_repeats"], theirs["sums_repeats"])


@TARGETS
def test_a_published_model_can_erase_a_user_without_the_log(target: str, tmp_path: Path) -> None:
    shop = realistic()
    Linear(target=target, l2=5.0, keep="sums").fit(shop).save(tmp_path / "live")
    Linear.load(tmp_path / "live").remove_users(shop.histories([7])).save(tmp_path / "erased")
    refit = Linear(target=target, l2=5.0).fit(without(shop, [7]))
    same_model(Linear.load(tmp_path / "erased"), refit, shop.histories())


def test_adding_and_removing_over_and_over_does_not_wear_the_model_out() -> None:
    shop = realistic()
    model = Linear(l2=5.0, keep="sums").fit(shop)
    for user in range(20):
        model.remove_users(shop.histories([user])).add_users(shop.histories([user]))
    same_model(model, Linear(l2=5.0).fit(shop), shop.histories())


def test_whether_items_may_come_back_follows() -> None:
    walks = [["a", "a", "a", "a"], *([x, y] for x, y in ("bc", "cd", "de", "eb"))]
    shop = Dataset.from_sequences(walks)
    model = Linear(keep="sums").fit(shop)
    assert model.repeats
    assert not model.remove_users(shop.histories([0])).repeats
    assert model.add_users(shop.histories([0])).repeats


def test_without_its_sums_a_model_cannot_forget() -> None:
    shop = chain()
    with pytest.raises(NotReadyError, match="keeps only its weights"):
        Linear(l2=1.0).fit(shop).remove_users(shop.histories([0]))
    with pytest.raises(NotReadyError, match="not fitted"):
        Linear(keep="sums").add_users(shop.histories([0]))


def test_a_stranger_cannot_be_removed_and_a_refusal_changes_nothing() -> None:
    shop = weekly_basket(n_users=4, weeks=4)
    model = Linear(l2=1.0, keep="sums").fit(without(shop, [3]))
    before = model.weights.toarray()
    with pytest.raises(InputError, match="not part of the model"):
        model.remove_users(shop.histories([3]))
    model.remove_users(shop.histories([1]))
    with pytest.raises(InputError, match="not part of the model"):
        model.remove_users(shop.histories([1]))
    model.add_users(shop.histories([1]))
    np.testing.assert_allclose(model.weights.toarray(), before, atol=1e-6)
    with pytest.raises(InputError, match="no event is left"):
        model.remove_users(shop.histories([0, 1, 2]))
    with pytest.raises(InputError, match="item 99 is not of this model; items are 0 to 23"):
        model.add_users(Histories.of([[1, 99]]))
