"""The deep network in numpy is the one in torch, slopes included."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from intently.nn.deep import Deep
from intently.nn.inference import log_odds, log_odds_slope


@pytest.mark.parametrize("hidden", [(), (5,), (8, 4)])
def test_numpy_and_torch_agree(hidden: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    network = Deep(6, hidden, dropout=0.5).eval()
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    x = torch.randn(20, 6, requires_grad=True)
    out = network(x)
    out.sum().backward()
    assert x.grad is not None
    rows = x.detach().numpy()
    np.testing.assert_allclose(log_odds(rows, weights), out.detach().numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(log_odds_slope(rows, weights), x.grad.numpy(), rtol=1e-4, atol=1e-6)
