"""The game: its gradient is the exact one, its draws follow the chances, answers are torch's in numpy."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import normalize

from intently.nn.adversarial import Asked, Discriminator, Game, Generator, drawn, fooled
from intently.nn.inference import discriminate, generate


def asked() -> Asked:
    """Two histories, [0, 1] and [2], of six items; 3 and 4 came next."""
    parts = ([0, 1, 2], [0, 2], [1, 0, 0], [3, 4])
    return Asked(*(torch.tensor(part) for part in parts))


def networks() -> tuple[Generator, Discriminator]:
    torch.manual_seed(0)
    return Generator(6, 4, 8, 5, 0.8, 0.0), Discriminator(6, 3, 5, 0.8)


def test_the_gradient_of_the_game_is_that_of_the_whole_expectation() -> None:
    torch.manual_seed(1)
    hidden, table = torch.randn(5, 3, requires_grad=True), torch.randn(7, 3, requires_grad=True)
    odds = torch.randn(5, 7)
    chance = torch.softmax(hidden @ table.T, 1)
    wanted = -(chance * odds).sum(1).mean()
    exact = torch.autograd.grad(wanted, [hidden, table])
    value = fooled(hidden, table, chance.detach(), odds)
    np.testing.assert_allclose(value.detach(), wanted.detach(), rtol=1e-5)
    for got, right in zip(torch.autograd.grad(value, [hidden, table]), exact, strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-4, atol=1e-6)


def test_draws_follow_the_chances() -> None:
    torch.manual_seed(0)
    chance = torch.tensor([[0.0, 0.7, 0.0, 0.3]])
    counts = np.bincount(drawn(chance, 4000)[0].numpy(), minlength=4) / 4000
    np.testing.assert_allclose(counts, chance[0], atol=0.03)
    assert counts[0] == counts[2] == 0


def test_neither_side_moves_the_other() -> None:
    generator, judge = networks()
    game = Game(generator, judge, torch.ones(6) / 6, 100, 0.0)
    before = game.loss((asked(), asked()))
    grads = torch.autograd.grad(before, list(generator.parameters()), retain_graph=True)
    alone = Game(generator, None, torch.ones(6) / 6, 100, 0.0).loss((asked(), asked()))
    for got, right in zip(grads, torch.autograd.grad(alone, list(generator.parameters())), strict=True):
        np.testing.assert_allclose(got, right, atol=1e-7)
    told = torch.autograd.grad(before, list(judge.parameters()))
    assert all(bool(part.any()) for part in told)


def test_a_sampled_catalogue_plays_too() -> None:
    generator, judge = networks()
    loss = Game(generator, judge, torch.ones(6) / 6, 3, 0.5).loss((asked(), asked()))
    assert bool(torch.isfinite(loss.detach()))


def test_numpy_answers_as_torch() -> None:
    generator, judge = (network.eval() for network in networks())
    torch.nn.init.normal_(generator.narrow.weight)
    with torch.no_grad():
        table = generator.table(torch.arange(6))
        logits = generator(asked()) @ table.T
        odds = judge(asked()) @ judge.outward.T + judge.bias
        weights = {f"generator.{n}": v.numpy() for n, v in generator.state_dict().items()}
        weights |= {f"judge.{n}": v.numpy() for n, v in judge.state_dict().items()}
        weights["generator.own"] = normalize(generator.own, dim=1).numpy()
    owner = np.array([[0.8, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0]], np.float32)
    np.testing.assert_allclose(
        generate(owner @ weights["generator.own"], weights), logits, rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(
        discriminate(owner @ weights["judge.inward"], weights), odds, rtol=1e-4, atol=1e-4
    )
