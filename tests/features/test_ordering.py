"""Keys are put in order as a stable sort puts them."""

from __future__ import annotations

import numpy as np
import pytest

from intently.ordering import in_order


@pytest.mark.parametrize("largest", [1, 50, 2**40, 2**62])
def test_keys_are_sorted_as_by_a_stable_sort_however_large(largest: int) -> None:
    random = np.random.default_rng(largest)
    keys = random.choice([0, largest // 2, largest, *random.integers(0, largest, 5)], 300)
    order = np.argsort(keys, kind="stable")
    found, places = in_order(keys)
    assert found.tolist() == keys[order].tolist()
    assert places.tolist() == order.tolist()
    assert [len(part) for part in in_order(keys[:0])] == [0, 0]
