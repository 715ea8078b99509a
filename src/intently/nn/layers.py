"""Causal self-attention over packed sequences: many lengths in one row of tokens, no padding.

A batch is one matrix (tokens, d). Sequences of equal length lie side by side, so a group of them is a
dense (count, length, d) view: attention runs a group at a time, everything else on all tokens at once.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from intently.nn.gaps import BUCKETS, Doubles, within

Groups = list[tuple[int, int]]
"""(count, length) of each run of equally long sequences, in the order of the tokens."""


class Attention(nn.Module):
    """Causal multi-head attention with a learned bias for each head and distance.

    A distance is counted in steps back; those beyond `span` share the last bias. Relative distances
    (T5, Raffel et al. 2020; here one bias a step, no buckets) need no position vectors, so a window
    may start anywhere. Where there is a clock, a second bias stands for the time between the two tokens
    (as in HSTU, Zhai et al. 2024; here in the buckets of gaps.py).
    """

    gap: nn.Parameter | None

    def __init__(self, d: int, heads: int, span: int, dropout: float, timed: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.inward = nn.Linear(d, 3 * d)
        self.outward = nn.Linear(d, d)
        self.distance = nn.Parameter(torch.zeros(heads, span))
        self.gap = nn.Parameter(torch.zeros(heads, BUCKETS)) if timed else None

    def forward(self, x: Tensor, groups: Groups, gaps: list[Tensor]) -> Tensor:
        """(tokens, d) -> (tokens, d). gaps: (count, length, length) buckets of each group, or none."""
        longest = max(length for _, length in groups)
        step = torch.arange(longest)
        back = step[:, None] - step[None, :]
        bias = self.distance[:, back.clamp(0, self.distance.shape[1] - 1)]
        bias = bias.masked_fill(back < 0, float("-inf"))  # (heads, longest, longest)
        parts = self.inward(x).split([count * length for count, length in groups])
        between: list[Tensor | None] = [*gaps] if self.gap is not None else [None] * len(groups)
        done = [
            self.group(part, *shape, bias, gap)
            for part, shape, gap in zip(parts, groups, between, strict=True)
        ]
        out: Tensor = self.outward(torch.cat(done))
        return out

    def group(self, part: Tensor, count: int, length: int, bias: Tensor, gaps: Tensor | None) -> Tensor:
        """(count * length, 3 d) -> (count * length, d)."""
        d = part.shape[1] // 3
        if length == 1:
            return part[:, 2 * d :]
        width = d // self.heads
        query, key, value = part.view(count, length, 3, self.heads, width).permute(2, 0, 3, 1, 4)
        scores = query @ (key.transpose(2, 3) * width**-0.5) + bias[:, :length, :length]
        if gaps is not None and self.gap is not None:
            scores = scores + nn.functional.embedding(gaps, self.gap.T).permute(0, 3, 1, 2)
        weights = nn.functional.dropout(scores.softmax(-1), self.dropout, self.training)
        mixed: Tensor = weights @ value  # (count, heads, length, width)
        return mixed.transpose(1, 2).reshape(count * length, d)


class Block(nn.Module):
    """Pre-norm attention and a feed-forward part, each added to the stream."""

    def __init__(self, d: int, heads: int, span: int, dropout: float, timed: bool = False) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(d)
        self.attention = Attention(d, heads, span, dropout, timed)
        self.forward_norm = nn.LayerNorm(d)
        self.widen = nn.Linear(d, 4 * d)
        self.narrow = nn.Linear(4 * d, d)
        self.dropout = dropout

    def forward(self, x: Tensor, groups: Groups, gaps: list[Tensor]) -> Tensor:
        """(tokens, d) -> (tokens, d)."""
        x = x + self._drop(self.attention(self.attention_norm(x), groups, gaps))
        wide = nn.functional.gelu(self.widen(self.forward_norm(x)), approximate="tanh")
        return x + self._drop(self.narrow(wide))

    def _drop(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, self.dropout, self.training)


class Encoder(nn.Module):
    """Packed tokens to what comes next: blocks, then a last norm. timed: the time between tokens counts."""

    def __init__(
        self, d: int, blocks: int, heads: int, span: int, dropout: float, timed: bool = False
    ) -> None:
        super().__init__()
        self.timed = timed
        self.blocks = nn.ModuleList(Block(d, heads, span, dropout, timed) for _ in range(blocks))
        self.norm = nn.LayerNorm(d)
        self.dropout = dropout

    def forward(self, x: Tensor, groups: Groups, times: Doubles | None = None) -> Tensor:
        """(tokens, d) -> (tokens, d). times: (tokens,) seconds, looked at when `timed`."""
        gaps: list[Tensor] = []
        if self.timed and times is not None:
            gaps = [torch.from_numpy(part) for part in within(times, groups)]
        x = nn.functional.dropout(x, self.dropout, self.training)
        for block in self.blocks:
            x = block(x, groups, gaps)
        out: Tensor = self.norm(x)
        return out
