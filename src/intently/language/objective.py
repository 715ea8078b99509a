"""What a language model is tuned for: the one shape of every objective.

    next_text.py   history text -> the next item's text      label.py   any text with labels
    together.py    items that are bought together            click.py   (behaviour, candidate) -> click or not

An objective owns its data, its negatives, its loss and its own validation; `tune` owns the method, the
budget, the test before and after and the receipt. No objective knows how the weights are trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from intently.schema import DoubleArray

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

Batch = TypeVar("Batch")


class Objective(Protocol[Batch]):
    """One task for a language model.

    name: as the command line says it. metric: the key of `evaluate` that decides when to stop, larger is
    better. judged: what `measure` gives.
    fresh: prefixes of the names of weights that start new (a head), which every method trains.
    """

    name: str
    metric: str
    judged: str
    fresh: tuple[str, ...]

    def load(self, folder: Path) -> PreTrainedModel:
        """The model of a transformers folder, with a fresh head where the task needs one."""
        ...

    def batches(self, epoch: int) -> Sequence[Batch]:
        """One pass over the training data, the same for the same seed and epoch; augmented, bucketed."""
        ...

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """What is made small: a scalar."""
        ...

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Figures on the validation part; never on the test part."""
        ...

    def finish(self, model: nn.Module) -> None:
        """Once, after the last step: settle what is fitted to the tuned weights in closed form."""
        ...

    def measure(self, model: nn.Module) -> dict[str, DoubleArray]:
        """`judged` on the test part, one value a case, by group ("all", or "warm" and "cold").

        `tune` asks it once before and once after, and makes paired intervals of the two.
        """
        ...

    def save(self, model: PreTrainedModel, folder: Path) -> None:
        """Write a transformers folder with its tokenizer; the model is plain or has its bottlenecks."""
        ...
