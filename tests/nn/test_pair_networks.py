"""Cross layers and attention in numpy are the ones in torch; cross layers multiply inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from intently.nn.cross import Cross
from intently.nn.inference import log_odds, log_odds_slope, pooled
from intently.nn.interest import Interest


def crossed(rank: int = 0, hidden: tuple[int, ...] = (5,)) -> Cross:
    torch.manual_seed(1)
    network = Cross(6, hidden, 0.5, 3, rank)
    torch.nn.init.normal_(network.readout.weight)
    return network.eval()


def arrays(network: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("hidden", [(), (5,)])
def test_cross_and_its_slope_agree_with_torch(rank: int, hidden: tuple[int, ...]) -> None:
    network = crossed(rank, hidden)
    x = torch.randn(20, 6, requires_grad=True)
    out = network(x)
    out.sum().backward()
    assert x.grad is not None
    rows, weights = x.detach().numpy(), arrays(network)
    np.testing.assert_allclose(log_odds(rows, weights), out.detach().numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(log_odds_slope(rows, weights), x.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_low_rank_matrices_are_smaller_and_a_rank_of_the_width_is_full() -> None:
    size = {rank: sum(p.numel() for p in crossed(rank).parameters()) for rank in (0, 2, 6)}
    assert size[2] < size[0] == size[6]


def test_one_cross_layer_learns_a_product_that_a_line_cannot() -> None:
    torch.manual_seed(0)
    network = Cross(4, (), 0.0, 1, 0)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    x = torch.randn(512, 4)
    wanted = x[:, 0] * x[:, 1]
    for _ in range(300):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(network(x), wanted)
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.1 * float(wanted.var())


@pytest.mark.parametrize("text", [0, 3])
def test_attention_agrees_with_torch_and_hears_nothing_of_what_is_not_there(text: int) -> None:
    torch.manual_seed(2)
    network = Interest(6, (5,), 0.5, text, 2, units=4).eval()
    x = torch.randn(7, 6)
    parts = [torch.randn(7, text), torch.randn(7, 9, text), torch.randn(7, 9, 2), torch.randn(7, 9, 2)]
    there = (torch.rand(7, 9) < 0.6).float()
    there[0] = 0.0
    out = network(x, *parts, there).detach().numpy()
    weights = arrays(network)
    pool = pooled(*(part.numpy() for part in (*parts, there)), weights)
    assert not pool[0].any()
    np.testing.assert_allclose(
        log_odds(np.concatenate([x.numpy(), pool], axis=1), weights), out, rtol=1e-4, atol=1e-5
    )
    parts[1][there == 0] = 99.0
    parts[2][there == 0] = 99.0
    np.testing.assert_allclose(network(x, *parts, there).detach().numpy(), out, rtol=1e-4, atol=1e-5)
