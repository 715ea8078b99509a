"""The loop learns, stops, repeats itself, and leaves the process as it found it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from intently.errors import IntentlyError
from intently.nn.training import Plan, train


def line(seed: int = 0) -> nn.Linear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(2, 1)


def data() -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(16, 2, generator=generator) for _ in range(8)]


def error_of(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Mean squared error against y = 3 a - b, with noise from the global generator."""

    def loss(x: Tensor) -> Tensor:
        noisy = x + 0.01 * torch.randn_like(x)
        return (model(noisy)[:, 0] - (3 * x[:, 0] - x[:, 1])).square().mean()

    return loss


PLAN = Plan(epochs=40, learning_rate=0.05, warmup=5, average=0.9, weight_decay=0.0)


def test_finds_the_line_and_reports_each_epoch() -> None:
    model = line()
    epochs = train(model, data, error_of(model), None, PLAN)
    assert len(epochs) == 40
    assert epochs[-1].loss < 0.01 < epochs[0].loss
    assert all(math.isnan(epoch.validation) for epoch in epochs)
    torch.testing.assert_close(model.weight, torch.tensor([[3.0, -1.0]]), rtol=0.02, atol=0.02)
    assert not model.training


def test_the_same_seed_gives_the_same_bytes() -> None:
    first, second, other = line(), line(), line()
    for model, seed in ((first, 1), (second, 1), (other, 2)):
        train(model, data, error_of(model), None, Plan(epochs=3, learning_rate=0.01, seed=seed))
    assert torch.equal(first.weight, second.weight)
    assert not torch.equal(first.weight, other.weight)


def test_a_rate_that_falls_ends_at_nothing() -> None:
    short, long = line(), line()
    for model, epochs in ((short, 2), (long, 3)):  # 8 steps an epoch: nothing is left for the third
        train(model, data, error_of(model), None, Plan(epochs, 0.05, warmup=1, average=0.0, falls_over=16))
    torch.testing.assert_close(short.weight, long.weight, rtol=0, atol=1e-6)
    assert not torch.equal(short.weight, line().weight)


def test_the_average_of_weights_with_a_past_moves_slowly() -> None:
    moved = []
    for age in (0, 1000):
        model = line()
        train(model, data, error_of(model), None, Plan(1, 0.05, warmup=1, age=age))
        moved.append(float((model.weight - line().weight).detach().abs().sum()))
    assert 0 < moved[1] < 0.1 * moved[0]


def test_the_global_generator_is_put_back() -> None:
    model = line()
    before = torch.random.get_rng_state()
    train(model, data, error_of(model), None, Plan(epochs=1, learning_rate=0.01))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("tolerance", "kept", "shift"),
    [(0.0, 1, 0), (0.25, 2, 0), (0.45, 3, 0), (1.0, 4, 0), (0.0, 1, -1), (0.25, 2, -1)],
)
def test_stops_when_nothing_gets_better_and_keeps_the_latest_good_epoch(
    tolerance: float, kept: int, shift: int
) -> None:
    model = line()
    worth = [0.1 + shift, 0.5 + shift, 0.4 + shift, 0.3 + shift, 0.2 + shift]  # below zero, too
    figures = iter(worth)
    asked: list[Tensor] = []

    def validate() -> float:
        asked.append(model.weight.detach().clone())
        return next(figures)

    plan = Plan(epochs=40, learning_rate=0.05, patience=3, tolerance=tolerance)
    epochs = train(model, data, error_of(model), validate, plan)
    assert [epoch.validation for epoch in epochs] == worth
    assert torch.equal(model.weight, asked[kept])


def test_a_spent_budget_ends_the_training_with_a_usable_model() -> None:
    model = line()
    epochs = train(model, data, error_of(model), lambda: 1.0, Plan(40, 0.05, minutes=1e-9))
    assert len(epochs) == 1
    assert math.isfinite(epochs[0].loss)
    assert not torch.equal(model.weight, line().weight)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_degenerate_loss_is_refused(bad: float) -> None:
    model = line()
    with pytest.raises(IntentlyError, match=r"the loss became (nan|-?inf) at step 1 .*lower learning_rate"):
        train(model, data, lambda x: model(x).sum() * bad, None, PLAN)
