"""The best of a row: by score, ties to the smaller id, whatever is missing or is no number."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from intently.models import products
from intently.models.products import dense_product
from intently.models.ranking import top_k


def by_sorting(row: np.ndarray, k: int) -> list[int]:
    order = [int(i) for i in np.argsort(-row, kind="stable") if np.isfinite(row[i])]
    return [*order[:k], *[-1] * (k - len(order[:k]))]


@pytest.mark.parametrize("missing", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("n", [5, 400])
def test_the_best_are_those_that_sorting_gives(missing: float, n: int) -> None:
    random = np.random.default_rng(n)
    scores = random.integers(0, 30, (40, n)).astype(np.float32)  # many ties
    scores[random.random(scores.shape) < missing] = -np.inf
    found = top_k(scores, 7)
    assert found.items.tolist() == [by_sorting(row, 7) for row in scores]
    there = found.items >= 0
    assert (found.scores[there] == np.take_along_axis(scores, np.maximum(found.items, 0), 1)[there]).all()
    assert np.isneginf(found.scores[~there]).all()


def test_what_is_no_number_is_never_among_the_best() -> None:
    scores = np.arange(50, dtype=np.float32)[None].repeat(2, axis=0)
    scores[0, 40:] = np.nan
    scores[1, 10:] = np.nan
    assert top_k(scores, 3).items.tolist() == [[39, 38, 37], [9, 8, 7]]


@pytest.mark.parametrize("long", [0, 10**9])
def test_a_dense_product_is_the_sparse_one(long: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "LONG", long)
    rows = sparse.random_array((6, 30), density=0.2, rng=np.random.default_rng(0), dtype=np.float32).tocsr()
    table = sparse.random_array((30, 50), density=0.1, rng=np.random.default_rng(1), dtype=np.float32).tocsr()
    empty = sparse.csr_matrix((1, 30), dtype=np.float32)
    rows = sparse.vstack([rows, empty], format="csr")
    np.testing.assert_allclose(dense_product(rows, table), (rows @ table).toarray(), rtol=1e-6)
