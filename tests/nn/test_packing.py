"""Windows and packed batches: every moment once, nothing from the future, no padding."""

from __future__ import annotations

import numpy as np
import pytest

from intently.nn.packing import Bags, pack, windows

LENGTHS = np.array([1, 4, 2, 13, 4, 0, 30])


def bags_of(lengths: np.ndarray) -> Bags:
    """Sequences of single items; the item's number is the place in the log."""
    rows = np.repeat(np.arange(len(lengths)), lengths)
    total = int(lengths.sum())
    return Bags.of(rows, np.arange(total, dtype=float), np.arange(total), len(lengths))


@pytest.mark.parametrize("longest", [1, 3, 10, 50])
def test_every_moment_with_a_later_one_is_a_token_once(longest: int) -> None:
    bags = bags_of(LENGTHS)
    seen: list[int] = []
    generator = np.random.default_rng(0)
    for first, size in windows(bags.ends, bags.lengths, longest, 8, generator):
        assert size.min() >= 1
        assert size.max() <= longest
        inputs, targets, _ = pack(bags, first, size)
        np.testing.assert_array_equal(targets.items, inputs.items + 1)
        seen += inputs.items.tolist()
    last = bags.ends[1:][bags.lengths > 0] - 1
    assert sorted(seen) == sorted(set(range(int(LENGTHS.sum()))) - set(last.tolist()))


def test_a_held_back_moment_is_neither_input_nor_target() -> None:
    bags = bags_of(LENGTHS)
    lengths = bags.lengths.copy()
    lengths[3] -= 1
    held = bags.ends[4] - 1
    for first, size in windows(bags.ends, lengths, 5, 16, np.random.default_rng(1)):
        inputs, targets, _ = pack(bags, first, size)
        assert held not in inputs.items
        assert held not in targets.items


def test_equally_long_windows_lie_side_by_side() -> None:
    bags = bags_of(LENGTHS)
    first, size = bags.ends[[3, 1, 4, 6]], np.array([5, 3, 3, 5])
    inputs, _, order = pack(bags, first, size)
    assert inputs.groups == [(2, 3), (2, 5)]
    assert order.tolist() == [1, 2, 0, 3]
    assert inputs.items[:3].tolist() == list(range(int(first[1]), int(first[1]) + 3))


def test_batches_hold_about_as_many_tokens_as_asked() -> None:
    bags = bags_of(np.full(200, 6))
    sizes = [
        int(size.sum()) for _, size in windows(bags.ends, bags.lengths, 50, 100, np.random.default_rng(2))
    ]
    assert sum(sizes) == 1000
    assert all(90 <= size <= 110 for size in sizes[:-1])


def test_items_of_one_moment_are_one_token() -> None:
    rows = np.array([0, 0, 0, 0, 1, 1])
    moments = np.array([1.0, 1.0, 2.0, 3.0, 3.0, 3.0])
    bags = Bags.of(rows, moments, np.array([9, 8, 7, 6, 5, 4]), 2)
    assert bags.lengths.tolist() == [3, 1]
    inputs, targets, _ = pack(bags, bags.ends[:1], np.array([2]))
    assert inputs.token.tolist() == [0, 0, 1]
    assert inputs.items.tolist() == [9, 8, 7]
    assert targets.items.tolist() == [7, 6]
