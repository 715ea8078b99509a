"""The one training loop: warm-up, averaged weights, early stopping, a budget of minutes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from intently import progress
from intently.errors import IntentlyError

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Plan:
    """How to train. `minutes` of wall time end the training early, 0 means no limit."""

    epochs: int
    learning_rate: float
    weight_decay: float = 0.01
    warmup: int = 100  # steps of rising learning rate
    average: float = 0.998  # decay of the weights' moving average, a step
    age: int = 0  # steps that the weights count as having behind them: how much the average begins with
    falls_over: int = 0  # steps over which the rate falls to nothing, 0: it stays
    patience: int = 8  # epochs without a better validation figure
    tolerance: float = 0.1  # share of the best figure that the kept epoch may lack
    minutes: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Epoch:
    """What one pass over the data gave; `validation` is nan where nothing was held out."""

    loss: float
    validation: float


def train(
    model: nn.Module,
    batches: Callable[[], Iterable[Batch]],
    loss_of: Callable[[Batch], Tensor],
    validate: Callable[[], float] | None,
    plan: Plan,
) -> list[Epoch]:
    """Train `model` in place; leave it in eval mode, holding the averaged weights of the kept epoch.

    The learning rate rises, then stays: a moving average of the weights (Polyak and Juditsky, 1992)
    does the annealing, so that stopping at any epoch leaves a finished model; with `falls_over` it falls
    to nothing after so many steps. `batches()` gives one epoch; `validate()` is asked with the averaged
    weights in place, larger is better. Torch's global generator is seeded inside and put back as it was.

    Training ends `patience` epochs after the best figure. Kept is the latest epoch that comes within
    `tolerance` of the best, not the best itself: what is held back from the training data is older
    than what will be asked, and the young items of the future are learned last (on Amazon Beauty the
    held-back figure peaks at epoch 7, that of the true next item after epoch 15).

    Raises IntentlyError when the loss is not a finite number.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        return _Run(model, loss_of, plan).epochs(batches, validate)


class _Run(Generic[Batch]):
    """One training: the optimiser, the average, the clock."""

    def __init__(self, model: nn.Module, loss_of: Callable[[Batch], Tensor], plan: Plan) -> None:
        self.model, self.loss_of, self.plan = model, loss_of, plan
        parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            parameters, lr=plan.learning_rate, weight_decay=plan.weight_decay, fused=True
        )
        self.parameters = parameters
        self.averaged = [p.detach().clone() for p in parameters]
        self.steps = 0
        self.deadline = time.monotonic() + plan.minutes * 60 if plan.minutes > 0 else math.inf

    def epochs(
        self, batches: Callable[[], Iterable[Batch]], validate: Callable[[], float] | None
    ) -> list[Epoch]:
        done: list[Epoch] = []
        best, best_at, kept = -math.inf, 0, self.averaged
        with progress.track("training", self.plan.epochs) as advance:
            for number in range(1, self.plan.epochs + 1):
                loss = self.pass_over(batches())
                own = self._swap(self.averaged)
                figure = validate() if validate else math.nan
                done.append(Epoch(loss, figure))
                if validate is None or figure > best:
                    best, best_at = figure, number
                if validate is None or figure >= best - self.plan.tolerance * abs(best):
                    kept = [p.clone() for p in self.averaged]
                self._swap(own)
                advance(1)
                judged = "" if math.isnan(figure) else f", validation {figure:.4f}"
                progress.note(f"epoch {number}: loss {loss:.4f}{judged}")
                progress.epoch(number, {"loss": loss, "validation": figure})
                if number - best_at >= self.plan.patience or time.monotonic() >= self.deadline:
                    break
        self._swap(kept)
        self.model.eval()
        return done

    def pass_over(self, batches: Iterable[Batch]) -> float:
        """One epoch's mean loss."""
        self.model.train()
        total, count = 0.0, 0
        for batch in batches:
            loss = self.loss_of(batch)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise IntentlyError(
                    f"training broke down: the loss became {value} at step {self.steps + 1}",
                    hint="lower learning_rate",
                )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self._step()
            total, count = total + value, count + 1
            if time.monotonic() >= self.deadline:
                break
        self.model.eval()
        return total / max(count, 1)

    def _step(self) -> None:
        self.steps += 1
        nn.utils.clip_grad_norm_(self.parameters, 5.0)
        rate = self.plan.learning_rate * min(1.0, self.steps / max(self.plan.warmup, 1))
        if self.plan.falls_over:
            rate *= max(0.0, 1.0 - (self.steps - 1) / self.plan.falls_over)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        # a young average follows the weights closely, an old one remembers 1 / (1 - average) steps
        old = self.steps + self.plan.age
        decay = min(self.plan.average, old / (old + 9.0))
        with torch.no_grad():
            torch._foreach_lerp_(self.averaged, [p.detach() for p in self.parameters], 1.0 - decay)

    def _swap(self, values: list[Tensor]) -> list[Tensor]:
        """Put `values` into the model; the values that were there."""
        with torch.no_grad():
            before = [p.detach().clone() for p in self.parameters]
            for parameter, value in zip(self.parameters, values, strict=True):
                parameter.copy_(value)
        return before
