"""The network of the sequence model: item vectors, encoder, and the loss of a packed batch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from intently.nn.layers import Encoder
from intently.nn.losses import sample_columns, softmax_loss
from intently.nn.packing import Packed

INITIAL = 0.02
INITIAL_LOG_SCALE = 2.5


class NextItem(nn.Module):
    """Packed sequences of bags -> scores of the next bag's items.

    An item's vector is its own, plus a linear map of its text vector where there is one, scaled to
    unit length; the same vector stands for the item as input and as answer. Scores are cosines times
    a learned scale: on Amazon Beauty this took half the epochs of plain products.

    text: (n_items, width) or None. share: (n_items,) how often each item is a target, adds up to one.
    candidates: at most about this many items are in the softmax of a step, see `sample_columns`.
    kinds: how many kinds of events there may be, each with a vector that is added to the item's as input;
    0: they are not told apart.
    """

    text: Tensor | None
    share: Tensor

    kinds: nn.Parameter | None

    def __init__(
        self,
        encoder: Encoder,
        d: int,
        share: Tensor,
        text: Tensor | None,
        candidates: int,
        seed: int,
        kinds: int = 0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.own = nn.Parameter(torch.randn(len(share), d) * INITIAL)
        self.register_buffer("share", share)
        self.register_buffer("text", text)
        self.map = None
        if text is not None:
            self.map = nn.Linear(text.shape[1], d, bias=False)
            nn.init.normal_(self.map.weight, std=INITIAL)
        self.kinds = nn.Parameter(torch.zeros(kinds, d)) if kinds else None
        self.log_scale = nn.Parameter(torch.tensor(INITIAL_LOG_SCALE))
        self.candidates = candidates
        self.generator = torch.Generator().manual_seed(seed)

    def vectors(self) -> Tensor:
        """(n_items, d) item vectors before they are scaled to length one."""
        return self.own if self.map is None else self.own + self.map(self.text)

    def table(self) -> Tensor:
        """(n_items, d) item vectors, of length one."""
        return _unit(self.vectors())

    def rows(self, columns: Tensor) -> Tensor:
        """(columns, d): the vectors of some items, without making all."""
        own = nn.functional.embedding(columns, self.own)
        if self.map is None or self.text is None:
            return _unit(own)
        return _unit(own + self.map(self.text[columns]))

    def hidden(self, inputs: Packed, items: Tensor, table: Tensor) -> Tensor:
        """(tokens, d): what comes after each token, so that hidden @ table.T are logits.

        items: the row of `table` of each of the inputs' items.
        """
        if len(items) == len(inputs.starts) - 1:
            tokens = nn.functional.embedding(items, table)
        else:
            starts = torch.from_numpy(inputs.starts[:-1])
            tokens = nn.functional.embedding_bag(items, table, starts, mode="mean")
        if self.kinds is not None and inputs.kinds is not None:
            codes, first = (
                torch.from_numpy(inputs.kinds.astype(np.int64)),
                torch.from_numpy(inputs.starts[:-1]),
            )
            tokens = tokens + nn.functional.embedding_bag(codes, self.kinds, first, mode="mean")
        ahead = self.encoder(tokens * table.shape[1] ** 0.5, inputs.groups, inputs.times)
        return _unit(ahead) * self.log_scale.exp()

    def loss(self, batch: tuple[Packed, Packed]) -> Tensor:
        """Mean cross-entropy of the next bags; a bag's items have equal shares of it."""
        inputs, targets = batch
        items, columns = torch.from_numpy(inputs.items), torch.from_numpy(targets.items)
        rows, sizes = torch.from_numpy(targets.token), np.diff(targets.starts)
        weights = torch.from_numpy(np.repeat(1.0 / sizes, sizes).astype(np.float32))
        if len(self.own) <= self.candidates:
            table = self.table()
            hidden = self.hidden(inputs, items, table)
            return softmax_loss(hidden, table, rows, columns, weights)
        sample, log_inclusion = sample_columns(columns, self.share, self.candidates, self.generator)
        place = torch.full((len(self.own),), -1)
        place[sample] = torch.arange(len(sample))
        only_input = torch.unique(items[place[items] < 0])
        place[only_input] = torch.arange(len(only_input)) + len(sample)
        table = self.rows(torch.cat([sample, only_input]))
        hidden = self.hidden(inputs, place[items], table)
        return softmax_loss(hidden, table[: len(sample)], rows, place[columns], weights, log_inclusion)


def _unit(vectors: Tensor) -> Tensor:
    return nn.functional.normalize(vectors, dim=1)
