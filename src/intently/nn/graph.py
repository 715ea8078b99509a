"""The network of the graph model: item vectors smoothed over the graph, users made of what they met."""

from __future__ import annotations

from typing import Any

import torch
from scipy import sparse
from torch import Tensor, nn

from intently.nn.losses import softmax_loss
from intently.nn.next_moment import Asked, needed
from intently.nn.recency import Recency, pool

INITIAL = 0.1
INITIAL_LOG_SCALE = 2.5


class Smoothed(nn.Module):
    """Items are `spread @ own`; a user is the recency-weighted mean of the items that were met.

    spread: (m, m), rows of neighbours; None leaves each item alone. share: (m,) how often each item is
    a target. loss: "softmax" scores by cosine times a learned scale, "bpr" by plain products.
    """

    share: Tensor

    def __init__(
        self,
        d: int,
        spread: sparse.csr_matrix | None,
        share: Tensor,
        recency: Recency,
        loss: str,
        candidates: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.own = nn.Parameter(torch.randn(len(share), d) * INITIAL)
        self.recency = recency
        self.log_scale = nn.Parameter(torch.tensor(INITIAL_LOG_SCALE))
        self.register_buffer("share", share)
        self.spread, self.kind, self.candidates = spread, loss, candidates
        self.generator = torch.Generator().manual_seed(seed)

    def table(self) -> Tensor:
        """(m, d) item vectors; of length one under the softmax."""
        return self.rows(None)

    def rows(self, columns: Tensor | None) -> Tensor:
        """(columns, d): the vectors of some items (None: of all), without making the others."""
        if self.spread is None:
            vectors = self.own if columns is None else nn.functional.embedding(columns, self.own)
        else:
            part = self.spread if columns is None else self.spread[columns.numpy()]
            vectors = _Spread.apply(self.own, part)  # type: ignore[no-untyped-call]
        return nn.functional.normalize(vectors, dim=1) if self.kind == "softmax" else vectors

    def loss(self, asked: Asked) -> Tensor:
        """Mean loss of the items of each next moment."""
        return self._softmax(asked) if self.kind == "softmax" else self._bpr(asked)

    def _softmax(self, asked: Asked) -> Tensor:
        need = needed(asked, self.share, self.candidates, self.generator)
        table = self.rows(None if need.log_inclusion is None else need.columns)
        users = pool(table, need.past, asked.past, self.recency(asked.past))
        users = nn.functional.normalize(users, dim=1) * self.log_scale.exp()
        rows = torch.from_numpy(asked.rows)
        answers = table[: need.answers]
        return softmax_loss(users, answers, rows, need.targets, asked.weights, need.log_inclusion)

    def _bpr(self, asked: Asked) -> Tensor:
        """Rendle et al. (UAI 2009): a met item above one drawn evenly from all."""
        met = torch.from_numpy(asked.items)
        other = torch.randint(len(self.share), (len(met),), generator=self.generator)
        past = torch.from_numpy(asked.past.items)
        if self.spread is None:
            columns, place = torch.cat([past, met, other]), None
        else:
            columns, place = torch.unique(torch.cat([past, met, other]), return_inverse=True)
        table = self.rows(columns)
        at = torch.arange(len(columns)) if place is None else place
        n, t = len(past), len(met)
        weights = self.recency(asked.past)
        users = pool(table, at[:n], asked.past, weights)
        total = torch.zeros(len(asked.past)).index_add(0, owners(asked), weights)
        rows = torch.from_numpy(asked.rows)
        apart = ((users / total[:, None])[rows] * (table[at[n : n + t]] - table[at[n + t :]])).sum(1)
        return -(nn.functional.logsigmoid(apart) * asked.weights).sum() / len(asked.past)


def owners(asked: Asked) -> Tensor:
    """(n,) the row of everything met."""
    starts = torch.from_numpy(asked.past.starts)
    return torch.repeat_interleave(torch.arange(len(asked.past)), starts.diff())


class _Spread(torch.autograd.Function):
    """A constant sparse matrix times a dense parameter."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, spread: sparse.csr_matrix) -> Tensor:
        ctx.spread = spread
        return torch.from_numpy(spread @ own.detach().numpy())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return torch.from_numpy(ctx.spread.T @ grads[0].numpy()), None
