"""Packed attention sees only its own past, and numpy answers as torch does."""

from __future__ import annotations

import numpy as np
import torch

from intently.nn.inference import encode
from intently.nn.layers import Encoder

GROUPS = [(3, 1), (2, 4), (1, 9)]
TOKENS = 3 + 8 + 9


def encoder(dropout: float = 0.0) -> Encoder:
    torch.manual_seed(0)
    made = Encoder(16, blocks=2, heads=2, span=5, dropout=dropout)
    for block in made.blocks:
        torch.nn.init.normal_(block.attention.distance, std=0.5)  # type: ignore[union-attr, arg-type]
    return made.eval()


def test_a_token_sees_itself_and_its_own_past_only() -> None:
    net, x = encoder(), torch.randn(TOKENS, 16)
    base = net(x, GROUPS)
    for changed, own in ((1, {1}), (5, {5, 6}), (3, {3, 4, 5, 6}), (16, {16, 17, 18, 19})):
        other = x.clone()
        other[changed] += torch.randn(16)
        moved = (net(other, GROUPS) - base).abs().amax(1) > 1e-6
        assert set(moved.nonzero()[:, 0].tolist()) == own


def test_packed_sequences_are_encoded_as_each_alone() -> None:
    net, x = encoder(), torch.randn(TOKENS, 16)
    together = net(x, GROUPS)
    start = 0
    for count, length in GROUPS:
        for _ in range(count):
            alone = net(x[start : start + length], [(1, length)])
            torch.testing.assert_close(together[start : start + length], alone, rtol=1e-4, atol=1e-5)
            start += length


def test_the_distance_between_two_tokens_matters() -> None:
    net = encoder()
    x = torch.randn(6, 16)
    swapped = x[[1, 0, 2, 3, 4, 5]]
    assert not torch.allclose(net(x, [(1, 6)])[-1], net(swapped, [(1, 6)])[-1], atol=1e-4)


def test_numpy_answers_as_torch_after_each_last_token() -> None:
    net, x = encoder(dropout=0.5), torch.randn(TOKENS, 16)
    weights = {name: value.numpy() for name, value in net.state_dict().items()}
    with torch.inference_mode():
        expected = net(x, GROUPS).numpy()
    last = [0, 1, 2, 6, 10, 19]
    answer = encode(x.numpy(), GROUPS, weights, heads=2)
    np.testing.assert_allclose(answer, expected[last], rtol=1e-4, atol=1e-5)


def test_dropout_is_on_in_training_only() -> None:
    net, x = encoder(dropout=0.5), torch.randn(TOKENS, 16)
    assert torch.equal(net(x, GROUPS), net(x, GROUPS))
    net.train()
    assert not torch.equal(net(x, GROUPS), net(x, GROUPS))
