"""A small deep network on a vector of inputs: one number a row, the log-odds of an event."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


class Deep(nn.Module):
    """Linear layers with ReLU and dropout between; `inference.deep` is the same in numpy."""

    def __init__(self, width: int, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        sizes = [width, *hidden, 1]
        self.layers = nn.ModuleList(nn.Linear(*shape) for shape in pairwise(sizes))
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """(rows, width) -> (rows,)."""
        for layer in self.layers[:-1]:
            x = nn.functional.dropout(nn.functional.relu(layer(x)), self.dropout, self.training)
        out: Tensor = self.layers[-1](x).squeeze(1)
        return out
