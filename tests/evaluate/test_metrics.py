"""Ranking metrics: worked by hand, against scikit-learn, and by their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from intently.errors import InputError
from intently.evaluate.metrics import METRICS, coverage, hits, novelty, per_user


def ragged(truth: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    indptr = np.concatenate([[0], np.cumsum([len(t) for t in truth])]).astype(np.int64)
    return indptr, np.array([i for t in truth for i in t], np.int32)


def test_one_list_worked_by_hand() -> None:
    """Truth {10, 11, 12}; listed 9, 10, 8, 12, 7: right at ranks 2 and 4."""
    values = per_user(np.array([[9, 10, 8, 12, 7]], np.int32), *ragged([[10, 11, 12]]), ks=(1, 3, 5))
    got = {name: round(float(v[0]), 6) for name, v in values.items()}
    assert got["hit@1"] == got["ndcg@1"] == got["mrr@1"] == got["map@1"] == 0.0
    assert got["recall@3"] == round(1 / 3, 6)
    assert got["precision@3"] == round(1 / 3, 6)
    assert got["recall@5"] == round(2 / 3, 6)
    assert got["precision@5"] == 0.4
    assert got["mrr@5"] == 0.5
    assert got["map@5"] == round((1 / 2 + 2 / 4) / 3, 6)
    ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert got["ndcg@5"] == round((1 / np.log2(3) + 1 / np.log2(5)) / ideal, 6)


def test_the_ideal_holds_no_more_than_k_places() -> None:
    values = per_user(np.array([[1, 2]], np.int32), *ragged([[1, 2, 3, 4]]), ks=(2,))
    assert float(values["ndcg@2"][0]) == 1.0
    assert float(values["map@2"][0]) == 1.0
    assert float(values["recall@2"][0]) == 0.5


def test_padding_is_never_right_and_a_neighbours_truth_is_not_mine() -> None:
    """Row 1's padding -1 must not meet row 0's last item, nor row 1 the truth of row 0."""
    items = np.array([[0, 3], [-1, 3], [2, -1]], np.int32)
    found = hits(items, *ragged([[3], [2], [2]]))
    assert found.tolist() == [[False, True], [False, False], [True, False]]


def test_a_user_without_truth_has_no_value() -> None:
    values = per_user(np.array([[1], [1]], np.int32), *ragged([[1], []]), ks=(1,))
    for value in values.values():
        assert value[0] == 1.0
        assert np.isnan(value[1])


def test_nobody_and_nothing_true_are_answered() -> None:
    none = per_user(np.zeros((0, 3), np.int32), *ragged([]), ks=(3,))
    assert all(v.shape == (0,) for v in none.values())
    assert not hits(np.array([[1, 2]], np.int32), *ragged([[]])).any()


def test_lists_and_truth_of_different_users_are_refused() -> None:
    with pytest.raises(InputError, match="2 ranked lists but truth for 1 users"):
        hits(np.zeros((2, 3), np.int32), *ragged([[1]]))
    with pytest.raises(InputError, match="k must be at least 1, got 0"):
        per_user(np.zeros((1, 3), np.int32), *ragged([[1]]), ks=(0,))


def test_ndcg_and_map_agree_with_scikit_learn() -> None:
    random = np.random.default_rng(7)
    n_items, users, k = 30, 40, 10
    scores = random.random((users, n_items))
    relevant = random.random((users, n_items)) < 0.15
    relevant[np.arange(users), random.integers(0, n_items, users)] = True
    order = np.argsort(-scores, axis=1).astype(np.int32)
    truth = ragged([list(np.flatnonzero(row)) for row in relevant])
    ours = per_user(order, *truth, ks=(k, n_items))
    assert float(ours[f"ndcg@{k}"].mean()) == pytest.approx(ndcg_score(relevant, scores, k=k), abs=1e-12)
    theirs = [average_precision_score(y, s) for y, s in zip(relevant, scores, strict=True)]
    assert ours[f"map@{n_items}"] == pytest.approx(theirs, abs=1e-12)


lists = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.permutations(range(n)),
        st.sets(st.integers(0, n - 1), min_size=1),
        st.integers(0, n),
    )
)


@settings(max_examples=150, deadline=None)
@given(lists)
def test_every_metric_lies_in_0_to_1_and_grows_where_it_must(
    drawn: tuple[list[int], set[int], int],
) -> None:
    order, truth, cut = drawn
    row = np.array([order[:cut] + [-1] * (len(order) - cut)], np.int32)
    ks = tuple(range(1, len(order) + 1))
    values = {k: float(v[0]) for k, v in per_user(row, *ragged([sorted(truth)]), ks=ks).items()}
    assert all(0.0 <= v <= 1.0 + 1e-12 for v in values.values())
    for name in ("recall", "hit", "mrr"):
        series = [values[f"{name}@{k}"] for k in ks]
        assert series == sorted(series)


@settings(max_examples=100, deadline=None)
@given(lists)
def test_moving_a_right_item_up_never_hurts(drawn: tuple[list[int], set[int], int]) -> None:
    order, truth, place = drawn
    place = max(1, min(place, len(order) - 1)) if len(order) > 1 else 0
    if place == 0 or order[place] not in truth or order[place - 1] in truth:
        return
    better = list(order)
    better[place - 1], better[place] = better[place], better[place - 1]
    k = len(order)
    before = per_user(np.array([order], np.int32), *ragged([sorted(truth)]), ks=(k,))
    after = per_user(np.array([better], np.int32), *ragged([sorted(truth)]), ks=(k,))
    assert all(after[f"{name}@{k}"][0] >= before[f"{name}@{k}"][0] for name in METRICS)


def test_coverage_and_novelty_worked_by_hand() -> None:
    items = np.array([[0, 1], [0, -1]], np.int32)
    assert coverage(items, n_items=4, k=1) == 0.25
    assert coverage(items, n_items=4, k=2) == 0.5
    counts = np.array([7, 3, 2, 0])  # plus one each: 8, 4, 3, 1 of 16
    assert novelty(items, counts, k=1) == 1.0
    assert novelty(items, counts, k=2) == pytest.approx((1 + 2 + 1) / 3)
    assert novelty(np.array([[3]]), counts, k=1) == 4.0
    assert np.isnan(novelty(np.array([[-1]]), counts, k=1))
