"""The networks of the two-tower model: items from what is said of them, users from what they met."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from intently.nn.losses import softmax_loss
from intently.nn.next_moment import Asked, needed
from intently.nn.past import Past
from intently.nn.recency import Recency, pool

INITIAL = 0.02
INITIAL_LOG_SCALE = 2.5
CONTEXT = 4
"""Sine and cosine of the hour and of the day of the week."""

REFRESH = 64
ANCHORS = 4096
NEAR = 10
"""Hard negatives: every 64 steps, the 10 items nearest to each of at most 4,096 are looked up."""


class Residual(nn.Module):
    """start + narrow(gelu(widen(inputs))); `narrow` begins at zero, so that nothing is changed at first."""

    def __init__(self, width: int, hidden: int, d: int, dropout: float) -> None:
        super().__init__()
        self.widen = nn.Linear(width, hidden)
        self.narrow = nn.Linear(hidden, d)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)
        self.dropout = dropout

    def forward(self, start: Tensor, inputs: Tensor) -> Tensor:
        """(rows, d), (rows, width) -> (rows, d)."""
        wide = nn.functional.gelu(self.widen(inputs), approximate="tanh")
        out: Tensor = start + self.narrow(nn.functional.dropout(wide, self.dropout, self.training))
        return out


class ItemTower(nn.Module):
    """Text, attributes, price and, where there is one, an own vector -> a vector of length one.

    The text's map begins as the identity on the main directions, so that the untrained tower is the
    cosine of whitened texts; what is learned is added to it.
    """

    start: Tensor

    def __init__(self, d: int, width: int, n_tokens: int, n_own: int, hidden: int, dropout: float) -> None:
        super().__init__()
        start = torch.zeros(width, d)
        kept = min(width, d)
        start[width - kept :, :kept] = torch.eye(kept)  # the main directions come last
        self.register_buffer("start", start)
        self.text = nn.Parameter(torch.zeros(width, d))
        self.attributes = nn.Embedding(n_tokens + 1, d, padding_idx=0)
        self.own = nn.Embedding(n_own + 1, d, padding_idx=0)
        self.price = nn.Linear(2, d, bias=False)
        for part in (self.attributes.weight, self.own.weight, self.price.weight):
            nn.init.normal_(part, std=INITIAL)
        with torch.no_grad():
            self.attributes.weight[0] = 0.0
            self.own.weight[0] = 0.0
        self.deep = Residual(d, hidden, d, dropout)

    def forward(self, text: Tensor, tokens: Tensor, price: Tensor, own: Tensor) -> Tensor:
        """(n, width), (n, t) with 0 for none, (n, 2), (n,) with 0 for a new item -> (n, d)."""
        x = text @ (self.start + self.text) + self.attributes(tokens).sum(1) + self.price(price)
        return nn.functional.normalize(self.deep(x, x) + self.own(own), dim=1)


class UserTower(nn.Module):
    """Recency-weighted mean of what was met, bent by the latest of it and by the moment of asking."""

    def __init__(self, d: int, longest: int, decay: float, hidden: int, dropout: float) -> None:
        super().__init__()
        self.recency = Recency(longest, decay)
        self.deep = Residual(2 * d + CONTEXT, hidden, d, dropout)

    def forward(self, pooled: Tensor, latest: Tensor, context: Tensor) -> Tensor:
        """(rows, d) sums of item vectors, (rows, CONTEXT) -> (rows, d) of length one."""
        mean = nn.functional.normalize(pooled, dim=1)
        inputs = torch.cat([mean, nn.functional.normalize(latest, dim=1), context], 1)
        return nn.functional.normalize(self.deep(mean, inputs), dim=1)

    def of_past(self, table: Tensor, items: Tensor, past: Past, context: Tensor) -> Tensor:
        """(rows, d): the towers of a ragged batch; `items` are rows of `table`."""
        share = torch.from_numpy(past.share)
        now = share * torch.from_numpy(past.steps == 0)
        met = pool(table, items, past, self.recency(past))
        return self.forward(met, pool(table, items, past, now), context)


class TwoTowers(nn.Module):
    """Both towers and their loss; items are columns of the vocabulary.

    text, tokens, price: features of the vocabulary, as ItemTower reads them. share: (m,) how often each
    item is a target. own_dropout: chance that a step reads items without their own vectors.
    """

    share: Tensor
    said: Tensor
    text: Tensor
    tokens: Tensor
    price: Tensor

    def __init__(
        self,
        items: ItemTower,
        users: UserTower,
        features: tuple[Tensor, Tensor, Tensor],
        share: Tensor,
        own_dropout: float,
        candidates: int,
        hard: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.items, self.users = items, users
        for name, value in zip(("text", "tokens", "price"), features, strict=True):
            self.register_buffer(name, value)
        self.register_buffer("share", share)
        self.register_buffer("said", self.text.any(1) | self.tokens.any(1))
        self.log_scale = nn.Parameter(torch.tensor(INITIAL_LOG_SCALE))
        self.own_dropout, self.candidates, self.hard = own_dropout, candidates, hard
        self.generator = torch.Generator().manual_seed(seed)
        self.steps = 0
        self.near = torch.zeros(0, NEAR, dtype=torch.long)

    def rows(self, columns: Tensor) -> Tensor:
        """(columns, d) item vectors; some steps of the training read only what is said of items."""
        own = columns + 1
        if self.training and self.own_dropout:
            kept = torch.rand(1, generator=self.generator) >= self.own_dropout
            own = own * (kept | ~self.said[columns])
        out: Tensor = self.items(self.text[columns], self.tokens[columns], self.price[columns], own)
        return out

    def loss(self, asked: Asked, context: Tensor) -> Tensor:
        """Mean cross-entropy of the next moment's items; a sample is corrected for how it was drawn."""
        need = needed(asked, self.share, self.candidates, self.generator, self._hard(asked))
        table = self.rows(need.columns)
        users = self.users.of_past(table, need.past, asked.past, context) * self.log_scale.exp()
        rows = torch.from_numpy(asked.rows)
        answers = table[: need.answers]
        return softmax_loss(users, answers, rows, need.targets, asked.weights, need.log_inclusion)

    def _hard(self, asked: Asked) -> Tensor | None:
        """Columns that lie near the batch's targets, as the towers saw it lately."""
        if not self.hard or len(self.share) <= self.candidates:
            return None
        if self.steps % REFRESH == 0:
            self._look_up()
        self.steps += 1
        near = self.near[torch.from_numpy(asked.items)].flatten()
        near = near[near >= 0]
        return near[torch.randperm(len(near), generator=self.generator)[: self.hard]]

    @torch.no_grad()
    def _look_up(self) -> None:
        m = len(self.share)
        anchors = torch.randperm(m, generator=self.generator)[:ANCHORS]
        table = torch.cat([self.rows(part) for part in torch.split(torch.arange(m), ANCHORS)])
        self.near = torch.full((m, NEAR), -1)
        for part in torch.split(anchors, 256):
            products = table[part] @ table.T
            products[torch.arange(len(part)), part] = -2.0
            count = min(NEAR, m - 1)
            self.near[part, :count] = products.topk(count, dim=1).indices
