"""Reading token by token gives what reading everything at once gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from intently.nn.cached import Cached
from intently.nn.inference import Weights, encode
from intently.nn.layers import Encoder

SPAN = 7


TIMES = np.cumsum([0.0, 1, 70, 9e3, 5, 8e6, 1e5])


def encoder(blocks: int, heads: int, timed: bool = False) -> Weights:
    """Weights far from their beginnings, so that every norm, bias and distance tells."""
    torch.manual_seed(blocks + heads)
    net = Encoder(16, blocks, heads, span=SPAN, dropout=0.0, timed=timed)
    return {name: (v + 0.3 * torch.randn(v.shape)).numpy() for name, v in net.state_dict().items()}


@pytest.mark.parametrize(("blocks", "heads", "timed"), [(1, 1, False), (2, 2, True), (3, 4, False)])
def test_a_token_after_what_was_kept_equals_a_full_reading(blocks: int, heads: int, timed: bool) -> None:
    weights = encoder(blocks, heads, timed)
    tokens = np.random.default_rng(0).normal(size=(SPAN, 16)).astype(np.float32)
    cached = Cached(weights, heads)
    hidden, kept = cached.read(tokens[:1], TIMES[:1])
    for n in range(1, SPAN + 1):
        whole = encode(tokens[:n], [(1, n)], weights, heads, TIMES[:n])[0]
        np.testing.assert_allclose(hidden, whole, rtol=1e-4, atol=1e-5)
        assert len(kept) == n
        if n < SPAN:
            hidden, kept = cached.step(tokens[n], kept, TIMES[: n + 1])


def test_the_first_token_may_be_a_step_too() -> None:
    cached, token = Cached(encoder(2, 2), 2), np.arange(16, dtype=np.float32)
    hidden, kept = cached.read(token[None], TIMES[:1])
    stepped, same = cached.step(token, kept.before(0), TIMES[:1])
    np.testing.assert_allclose(stepped, hidden, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(same.keys, kept.keys, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(same.values, kept.values, rtol=1e-4, atol=1e-5)


def test_a_step_leaves_what_was_kept_as_it_was() -> None:
    cached, rng = Cached(encoder(2, 2), 2), np.random.default_rng(1)
    _, kept = cached.read(rng.normal(size=(3, 16)).astype(np.float32), TIMES[:3])
    keys, values = kept.keys.copy(), kept.values.copy()
    one, other = rng.normal(size=(2, 16)).astype(np.float32)
    first, _ = cached.step(one, kept, TIMES[:4])
    cached.step(other, kept, TIMES[:4])
    np.testing.assert_array_equal(cached.step(one, kept, TIMES[:4])[0], first)
    np.testing.assert_array_equal(kept.keys, keys)
    np.testing.assert_array_equal(kept.values, values)
