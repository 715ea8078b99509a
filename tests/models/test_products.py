"""Dense products of decayed histories are those of every event, however long ago."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from intently.data import Histories
from intently.models.products import decayed, dense_product


@pytest.mark.parametrize("length", [1, 12, 400])
def test_what_is_left_out_of_a_long_history_changes_no_score(length: int) -> None:
    random = np.random.default_rng(length)
    lists = [random.integers(0, 50, n).tolist() for n in (length, 0, 3)]
    histories, decay = Histories.of(lists), 0.6
    table = sparse.random(50, 80, 0.3, format="csr", dtype=np.float32, random_state=1)
    whole = np.zeros((3, 50))
    for row, items in enumerate(lists):
        for back, item in enumerate(reversed(items)):
            whole[row, item] += decay**back
    rows = decayed(histories, 50, decay)
    assert rows.shape == (3, 50)
    assert rows.nnz <= 45 + 3
    np.testing.assert_allclose(dense_product(rows, table), whole @ table.toarray(), rtol=1e-5, atol=1e-8)


def test_a_history_of_many_items_is_gathered_row_by_row_with_the_same_result() -> None:
    random = np.random.default_rng(0)
    table = sparse.random(300, 2000, 0.5, format="csr", dtype=np.float32, random_state=2)
    rows = Histories.of([random.integers(0, 300, 30).tolist(), [], [7]]).matrix(300)
    np.testing.assert_allclose(dense_product(rows, table), (rows @ table).toarray(), rtol=1e-5)
