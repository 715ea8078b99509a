"""Deep Interest Network: what of a past bears on a candidate is pooled by the candidate."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from intently.nn.deep import Deep


class Interest(Deep):
    """Attention over the items of a history, beside the inputs of `Deep` (DIN, Zhou et al., KDD 2018).

    An item's weight is a network of (candidate, item, their product, how they are related, how long ago
    and how often), not normalised, as in the paper; ReLU stands for Dice. Pooled are the items' vectors,
    how they are related, and, where there are vectors, the weights themselves. `inference.pooled` is the
    pooling in numpy.

    width: inputs beside; text: width of item vectors, may be 0; ties: ways to be related.
    """

    def __init__(
        self, width: int, hidden: Sequence[int], dropout: float, text: int, ties: int, units: int = 16
    ) -> None:
        super().__init__(width + pooled_width(text, ties), hidden, dropout)
        parts = {"candidate": text, "item": text, "product": text, "ties": ties, "facts": 2}
        self.attention = nn.ModuleDict(
            {name: nn.Linear(size, units, bias=name == "facts") for name, size in parts.items() if size}
        )
        self.weigh = nn.Linear(units, 1)

    def forward(  # type: ignore[override]
        self, x: Tensor, candidate: Tensor, items: Tensor, ties: Tensor, facts: Tensor, there: Tensor
    ) -> Tensor:
        """(rows,); x (rows, width), candidate (rows, text), there (rows, most), else (rows, most, ...)."""
        heard = self.attention["ties"](ties) + self.attention["facts"](facts)
        if candidate.shape[1]:
            heard = heard + self.attention["candidate"](candidate)[:, None]
            heard = heard + self.attention["item"](items)
            heard = heard + self.attention["product"](items * candidate[:, None])
        weight = self.weigh(nn.functional.relu(heard)) * there[..., None]  # (rows, most, 1)
        parts = [items, ties, torch.ones_like(facts[..., :1])] if candidate.shape[1] else [ties]
        pool = (weight * torch.cat(parts, dim=2)).sum(1) * items.shape[1] ** -0.5
        return super().forward(torch.cat([x, pool], dim=1))


def pooled_width(text: int, ties: int) -> int:
    """Columns that the pooling gives."""
    return text + ties + 1 if text else ties
