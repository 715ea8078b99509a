"""The loss of a batch is that of the moments that are asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from intently.nn.layers import Encoder
from intently.nn.next_item import NextItem
from intently.nn.packing import Bags, pack


def test_the_losses_of_two_halves_make_the_whole() -> None:
    rows = np.repeat(np.arange(3), [4, 6, 3])
    moments = np.array([0, 1, 2, 3, 0, 0, 1, 2, 3, 4, 0, 1, 2], float)  # the second one begins with a pair
    bags = Bags.of(rows, moments, np.arange(13) % 7, 3)
    torch.manual_seed(0)
    net = NextItem(Encoder(8, 1, 2, 20, 0.0, False), 8, torch.ones(7) / 7, None, 1000, 0).eval()
    inputs, targets, _ = pack(bags, bags.ends[:-1], bags.lengths - 1)
    n = len(targets.starts) - 1
    whole = float(net.loss((inputs, targets)).detach())
    some = np.random.default_rng(0).random(n) < 0.5
    assert 0 < some.sum() < n
    parts = [float(net.loss((inputs, replace(targets, asked=half))).detach()) for half in (some, ~some)]
    assert (some.sum() * parts[0] + (~some).sum() * parts[1]) / n == pytest.approx(whole, rel=1e-3)
    assert parts[0] != pytest.approx(parts[1], rel=1e-3)
