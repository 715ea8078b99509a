"""The softmax over the catalogue equals the textbook one, in value and gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from intently.nn import losses
from intently.nn.losses import sample_columns, softmax_loss


def drawn(n: int, m: int, d: int = 8, kind: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    hidden = torch.randn(n, d, dtype=kind, requires_grad=True)
    return hidden, torch.randn(m, d, dtype=kind, requires_grad=True)


@pytest.mark.parametrize("buffer", [10_000, 90, 1])
def test_loss_and_gradients_are_those_of_cross_entropy(monkeypatch: pytest.MonkeyPatch, buffer: int) -> None:
    monkeypatch.setattr(losses, "BUFFER", buffer)
    monkeypatch.setattr(losses, "BLOCK", 13)
    hidden, table = drawn(7, 30)
    targets = torch.tensor([3, 29, 0, 3, 3, 11, 12])
    ours = softmax_loss(hidden, table, torch.arange(7), targets, torch.ones(7, dtype=torch.float64))
    grads = torch.autograd.grad(2.0 * ours, [hidden, table])
    plain = torch.nn.functional.cross_entropy(hidden @ table.T, targets)
    expected = torch.autograd.grad(2.0 * plain, [hidden, table])
    torch.testing.assert_close(ours, plain, rtol=1e-6, atol=0.0)
    for got, want in zip(grads, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-12)


def test_a_basket_shares_its_weight_among_its_items() -> None:
    hidden, table = drawn(2, 10)
    rows, columns = torch.tensor([0, 0, 1]), torch.tensor([4, 7, 2])
    weights = torch.tensor([0.5, 0.5, 1.0], dtype=torch.float64)
    ours = softmax_loss(hidden, table, rows, columns, weights)
    chances = torch.log_softmax(hidden @ table.T, 1)
    plain = -(0.5 * chances[0, 4] + 0.5 * chances[0, 7] + chances[1, 2]) / 2
    torch.testing.assert_close(ours, plain, rtol=1e-6, atol=0.0)
    got = torch.autograd.grad(ours, table)[0]
    torch.testing.assert_close(got, torch.autograd.grad(plain, table)[0], rtol=1e-6, atol=1e-12)


def test_low_precision_stays_close() -> None:
    hidden, table = drawn(64, 500, kind=torch.float32)
    targets = torch.randint(0, 500, (64,))
    ours = softmax_loss(hidden, table, torch.arange(64), targets, torch.ones(64))
    plain = torch.nn.functional.cross_entropy(hidden @ table.T, targets)
    assert ours.item() == pytest.approx(plain.item(), rel=5e-3)
    got, want = (torch.autograd.grad(loss, hidden)[0] for loss in (ours, plain))
    assert (got - want).norm() < 0.02 * want.norm()


def test_a_sampled_softmax_estimates_the_whole_one() -> None:
    hidden, table = drawn(40, 400)
    rng = np.random.default_rng(0)
    chance = 1.0 / np.arange(1, 401)
    share = torch.from_numpy(chance / chance.sum())
    whole, sampled, generator = [], [], torch.Generator().manual_seed(1)
    for _ in range(200):
        targets = torch.from_numpy(rng.choice(400, 40, p=share.numpy()))
        columns, log_inclusion = sample_columns(targets, share, 150, generator)
        assert set(targets.tolist()) <= set(columns.tolist())
        place = torch.full((400,), -1)
        place[columns] = torch.arange(len(columns))
        ones = torch.ones(40, dtype=torch.float64)
        rows = torch.arange(40)
        whole.append(softmax_loss(hidden, table, rows, targets, ones).item())
        sampled.append(softmax_loss(hidden, table[columns], rows, place[targets], ones, log_inclusion).item())
    assert len(columns) == pytest.approx(150, abs=35)
    assert np.mean(sampled) == pytest.approx(np.mean(whole), rel=0.02)


def test_steps_of_nearly_equal_size_share_their_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "BUFFER", 40_000)
    seen = set()
    multiply = losses._logits

    def watched(part: torch.Tensor, table: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        seen.add((part.shape, table.shape, out.shape))
        return multiply(part, table, out)

    monkeypatch.setattr(losses, "_logits", watched)
    for n, m in ((300, 1000), (303, 1017), (291, 900)):
        hidden, table = drawn(n, m)
        columns, even = torch.arange(n), torch.full((m,), 0.5, dtype=torch.float64)
        ours = softmax_loss(hidden, table, torch.arange(n), columns, torch.ones(n), even.log())
        plain = hidden @ table.T - even.log()
        plain[torch.arange(n), columns] += even.log()[0]
        expected = torch.nn.functional.cross_entropy(plain, columns)
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=0.0)
        for got, want in zip(
            torch.autograd.grad(ours, [hidden, table]),
            torch.autograd.grad(expected, [hidden, table]),
            strict=True,
        ):
            torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-12)
    assert len(seen) == 1
