"""Deep & Cross Network v2 on a vector of inputs: one number a row, the log-odds of an event."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from intently.nn.deep import Deep


class Cross(Deep):
    """Cross layers beside the layers of `Deep`; `inference.log_odds` is the same in numpy.

    x_0 = inputs, x_{l+1} = x_0 * (W_l x_l + b_l) + x_l: after l layers there are products of up to l + 1
    inputs (DCN-v2, Wang et al., WWW 2021, its parallel form). The last x is read out by one linear map,
    which starts at zero, so that the training starts from `Deep`. rank: of each W; 0 for full ones.
    """

    def __init__(self, width: int, hidden: Sequence[int], dropout: float, crosses: int, rank: int) -> None:
        super().__init__(width, hidden, dropout)
        low = 0 < rank < width
        self.crosses = nn.ModuleList(nn.Linear(rank if low else width, width) for _ in range(crosses))
        self.lower = nn.ModuleList(nn.Linear(width, rank, bias=False) for _ in range(crosses if low else 0))
        for layer in [*self.crosses, *self.lower]:
            nn.init.normal_(layer.weight, std=(0.5 / width) ** 0.5)
        self.readout = nn.Linear(width, 1, bias=False)
        nn.init.zeros_(self.readout.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(rows, width) -> (rows,)."""
        at = x
        for index, layer in enumerate(self.crosses):
            inner = self.lower[index](at) if self.lower else at
            at = x * layer(inner) + at
        out: Tensor = super().forward(x) + self.readout(at).squeeze(1)
        return out
