"""What moment models learn from: some moments, what came before each, and how sampled answers are placed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from intently.nn.losses import sample_columns
from intently.nn.packing import Ints
from intently.nn.past import Past


@dataclass(frozen=True)
class Asked:
    """A batch: row r met `past` and then the items `items[rows == r]`, all columns of the vocabulary."""

    past: Past
    rows: Ints  # (t,) ascending
    items: Ints  # (t,)
    asked_s: NDArray[np.float64]  # (rows,) when; zeros where there is no clock

    @property
    def weights(self) -> Tensor:
        """(t,) each row's items share one."""
        sizes = np.bincount(self.rows, minlength=len(self.past))
        return torch.from_numpy((1.0 / sizes[self.rows]).astype(np.float32))


@dataclass(frozen=True)
class Needed:
    """Items of which a step needs the vector: answers first, then what was only met.

    columns: (needed,) of the vocabulary. answers: how many of them stand in the softmax. log_inclusion:
    (answers,), None when all of the vocabulary does. past, targets: places in `columns`.
    """

    columns: Tensor
    answers: int
    log_inclusion: Tensor | None
    past: Tensor
    targets: Tensor


def needed(
    asked: Asked, share: Tensor, candidates: int, generator: torch.Generator, hard: Tensor | None = None
) -> Needed:
    """All of the vocabulary up to `candidates` items, else a sample of about that many.

    share: (m,) how often each item is a target. hard: more columns that must be answers; they weigh
    one in the softmax, as they were not drawn.
    """
    past, targets = torch.from_numpy(asked.past.items), torch.from_numpy(asked.items)
    if len(share) <= candidates:
        return Needed(torch.arange(len(share)), len(share), None, past, targets)
    sample, log_inclusion = sample_columns(targets, share, candidates, generator)
    place = torch.full((len(share),), -1)
    place[sample] = torch.arange(len(sample))
    if hard is not None:
        hard = torch.unique(hard[place[hard] < 0])
        place[hard] = torch.arange(len(hard)) + len(sample)
        sample = torch.cat([sample, hard])
        log_inclusion = torch.cat([log_inclusion, torch.zeros(len(hard))])
    only_met = torch.unique(past[place[past] < 0])
    place[only_met] = torch.arange(len(only_met)) + len(sample)
    return Needed(torch.cat([sample, only_met]), len(sample), log_inclusion, place[past], place[targets])
