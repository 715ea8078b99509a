"""A generator that names the next item, and a discriminator that tells its guesses from what came."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, embedding_bag, gelu, normalize, softplus

from intently.nn.inference import BAG_LENGTH, JUDGE_LENGTH
from intently.nn.losses import sample_columns, softmax_loss

INITIAL = 0.02
INITIAL_LOG_SCALE = 2.5
JUDGE_INITIAL = 0.1

PLAYED = 256
"""Histories of a step that the discriminator looks at."""

FAKES = 8
"""Guesses of the generator drawn for each of them."""


@dataclass(frozen=True)
class Asked:
    """A batch of histories and what came next: items and back are flat, `starts` where each begins.

    back: moments between an item and what is asked for, 0 for the latest; truth: (rows,).
    """

    items: Tensor
    starts: Tensor
    back: Tensor
    truth: Tensor


class Generator(nn.Module):
    """Weighted bag of a history's items, one residual layer, cosines with all items as logits."""

    def __init__(self, n_items: int, d: int, hidden: int, max_length: int, decay: float, drop: float) -> None:
        super().__init__()
        self.own = nn.Parameter(torch.randn(n_items, d) * INITIAL)
        self.log_weight = nn.Parameter(torch.tensor(decay).log() * torch.arange(max_length).float())
        self.widen, self.narrow = nn.Linear(d, hidden), nn.Linear(hidden, d)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)
        self.log_scale = nn.Parameter(torch.tensor(INITIAL_LOG_SCALE))
        self.drop = drop

    def table(self, columns: Tensor) -> Tensor:
        """(columns, d) vectors of length one."""
        return normalize(nn.functional.embedding(columns, self.own), dim=1)

    def forward(self, asked: Asked) -> Tensor:
        """(rows, d): times `table` they are logits."""
        known, place = torch.unique(asked.items, return_inverse=True)
        weight = self.log_weight.exp()[asked.back]
        bag = embedding_bag(place, self.table(known), asked.starts, mode="sum", per_sample_weights=weight)
        x = dropout(normalize(bag, dim=1) * float(BAG_LENGTH), self.drop, self.training)
        wide = dropout(gelu(self.widen(x), approximate="tanh"), self.drop, self.training)
        return normalize(x + self.narrow(wide), dim=1) * self.log_scale.exp()


class Discriminator(nn.Module):
    """Log-odds that an item came next and was not the generator's guess: a product of two vectors."""

    decay: Tensor

    def __init__(self, n_items: int, d: int, max_length: int, decay: float) -> None:
        super().__init__()
        self.inward = nn.Parameter(torch.randn(n_items, d) * JUDGE_INITIAL)
        self.outward = nn.Parameter(torch.randn(n_items, d) * JUDGE_INITIAL)
        self.bias = nn.Parameter(torch.zeros(n_items))
        self.register_buffer("decay", decay ** torch.arange(max_length).float())

    def forward(self, asked: Asked) -> Tensor:
        """(rows, d): times `outward`, plus `bias`, they are log-odds."""
        bag = embedding_bag(
            asked.items, self.inward, asked.starts, mode="sum", per_sample_weights=self.decay[asked.back]
        )
        return normalize(bag, dim=1) * float(JUDGE_LENGTH)


class Game(nn.Module):
    """Both networks and one loss; neither's part of it moves the other.

    share: (n_items,) how often each item is a target, adds up to one. candidates: at most about this
    many items are in the softmax of a step. weight: of the adversarial term. judged: whether there is
    a discriminator at all.
    """

    share: Tensor

    def __init__(
        self, generator: Generator, judge: Discriminator | None, share: Tensor, candidates: int, weight: float
    ) -> None:
        super().__init__()
        self.generator, self.judge = generator, judge
        self.register_buffer("share", share)
        self.candidates, self.weight = candidates, weight
        self.draws = torch.Generator().manual_seed(0)

    def loss(self, batch: tuple[Asked, Asked]) -> Tensor:
        """Cross-entropy of what came + weight * generator's part of the game + discriminator's part.

        batch: the histories, and the first few of them, which are played with.
        """
        asked, played = batch
        columns, log_inclusion = self._columns(asked.truth)
        table, hidden = self.generator.table(columns), self.generator(asked)
        rows, place = torch.arange(len(asked.truth)), torch.searchsorted(columns, asked.truth)
        named = softmax_loss(hidden, table, rows, place, torch.ones(len(rows)), log_inclusion)
        if self.judge is None:
            return named
        few = hidden[: len(played.truth)]
        chance = torch.softmax(few.detach() @ table.detach().T, 1)  # (played, columns)
        user = self.judge(played)
        told = self._discriminate(user, played.truth, columns[drawn(chance, FAKES)])
        if self.weight == 0:
            return named + told
        with torch.no_grad():
            odds = torch.addmm(self.judge.bias[columns], user, self.judge.outward[columns].T)
        return named + told + self.weight * fooled(few, table, chance, odds)

    def _columns(self, truth: Tensor) -> tuple[Tensor, Tensor | None]:
        if len(self.share) <= self.candidates:
            return torch.arange(len(self.share)), None
        return sample_columns(truth, self.share, self.candidates, self.draws)

    def _discriminate(self, user: Tensor, truth: Tensor, fakes: Tensor) -> Tensor:
        """Logistic loss: what came is real, the generator's guesses (played, FAKES) are not."""
        assert self.judge is not None
        items = torch.cat([truth[:, None], fakes], dim=1)
        outward = nn.functional.embedding(items, self.judge.outward)
        odds = torch.einsum("bd,bkd->bk", user, outward) + self.judge.bias[items]
        return softplus(-odds[:, 0]).mean() + softplus(odds[:, 1:]).mean()


def drawn(chance: Tensor, size: int) -> Tensor:
    """(rows, size) columns drawn from each row's chances, with repeats.

    >>> drawn(torch.tensor([[0.0, 1.0, 0.0]]), 2).tolist()
    [[1, 1]]
    """
    total = chance.cumsum(1)
    # above zero, so that a column without a chance is never found
    point = (1.0 - torch.rand(len(chance), size)) * total[:, -1:]
    return torch.searchsorted(total, point).clamp(max=chance.shape[1] - 1)


def fooled(hidden: Tensor, table: Tensor, chance: Tensor, odds: Tensor) -> Tensor:
    """Minus the discriminator's mean log-odds of the generator's guesses, exact over all columns.

    IRGAN estimates this gradient from a few draws (REINFORCE); here chance * (odds - their mean) is the
    gradient in every logit. hidden: (rows, d). table: (columns, d). chance, odds: (rows, columns).
    """
    with torch.no_grad():
        mean = (chance * odds).sum(1, keepdim=True)
        slope = chance * (mean - odds) / len(odds)
        d_hidden, d_table = slope @ table, slope.T @ hidden
        value = -mean.mean()
    moving = (hidden * d_hidden).sum() + (table * d_table).sum()
    return value + moving - moving.detach()
