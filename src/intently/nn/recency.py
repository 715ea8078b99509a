"""Pooling of a past by learned recency: weights by steps back and by days."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from intently.nn.past import Past


class Recency(nn.Module):
    """weight = exp(steps[moments back] - slope * log(1 + days back)) / items of the moment.

    Both are learned; they begin as `decay ** moments back`. `past.pooled` is the same in numpy.
    """

    def __init__(self, longest: int, decay: float) -> None:
        super().__init__()
        self.steps = nn.Parameter(torch.arange(longest) * math.log(decay))
        self.slope = nn.Parameter(torch.zeros(1))

    def forward(self, past: Past) -> Tensor:
        """(n,) weight of everything met."""
        exponent = self.steps[torch.from_numpy(past.steps)] - self.slope * torch.from_numpy(past.log_days)
        return exponent.exp() * torch.from_numpy(past.share)


def pool(table: Tensor, items: Tensor, past: Past, weights: Tensor) -> Tensor:
    """(rows, d): weighted sum of the rows `items` (n,) of `table`; zeros for an empty row."""
    starts = torch.from_numpy(past.starts[:-1])
    out: Tensor = nn.functional.embedding_bag(items, table, starts, mode="sum", per_sample_weights=weights)
    return out
