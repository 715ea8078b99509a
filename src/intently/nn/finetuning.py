"""The training loop of language models: warm-up, linear decay, the best evaluation kept, resumed if killed.

Why beside training.py: that loop averages weights and keeps a late epoch, which next-item models want.
A pre-trained model starts good and gets worse when it is trained too long, so this one decays to nothing,
judges often and keeps the best.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from intently import progress
from intently.errors import InputError, IntentlyError
from intently.nn.checkpoint import read_checkpoint, write_checkpoint
from intently.nn.tracking import Tracker

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Schedule:
    """How to train. `minutes` of wall time end it early, 0 means no limit."""

    epochs: int = 3
    learning_rate: float = 5e-5
    weight_decay: float = 0.01  # of matrices; biases and norms are left alone
    warmup: float = 0.06  # share of the training with a rising learning rate
    minutes: float = 0.0
    patience: int = 0  # evaluations without a gain; 0: never stops early
    clip: float = 1.0  # largest norm of a gradient
    every: int = 0  # steps between evaluations and checkpoints; 0: once an epoch
    seed: int = 0


@dataclass(frozen=True)
class Mark:
    """One evaluation: mean training loss since the mark before, and what `evaluate` said."""

    step: int
    epoch: int
    loss: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class Course:
    """How a training went; a resumed one counts the time of all its runs.

    stopped: finished, patience or minutes.
    """

    marks: list[Mark]
    best: Mark | None
    steps: int
    cpu_s: float
    wall_s: float
    stopped: str


def finetune(
    model: nn.Module,
    batches: Callable[[int], Sequence[Batch]],
    loss_of: Callable[[Batch], Tensor],
    schedule: Schedule,
    *,
    evaluate: Callable[[], dict[str, float]] | None = None,
    metric: str = "",
    after_step: Callable[[int], None] | None = None,
    checkpoint: Path | None = None,
    tracker: Tracker | None = None,
) -> Course:
    """Train `model` in place with AdamW (Loshchilov and Hutter, 2019); leave its best weights, in eval mode.

    batches: one epoch, deterministic in its number (from 0). evaluate: asked in eval mode at every mark;
    `metric` is the one of its figures that says which mark is best, larger is better ('': the last one).
    after_step: told how many steps are done, while the gradients are still there. checkpoint: a folder;
    when it holds a checkpoint of this training, that is gone on with.

    Only parameters that require a gradient are trained and kept. Torch's generator is seeded from
    (seed, step) before every step, so a resumed training on one thread repeats the same losses bit for
    bit, dropout and random masks included; with `minutes` the learning rate follows the clock and
    nothing is repeated exactly. Ctrl-C writes a checkpoint and is raised again.

    Raises InputError for no batches, no trained parameter or a checkpoint of another training,
    IntentlyError when the loss is not finite or a checkpoint cannot be written.
    """
    with torch.random.fork_rng(devices=[]):
        run = _Run(model, loss_of, schedule, evaluate, metric, checkpoint, tracker)
        run.after_step = after_step
        try:
            run.epochs(batches)
        except KeyboardInterrupt:
            run.interrupted()
            raise
        return run.finish()


@dataclass
class _State:
    """What a checkpoint holds beside tensors."""

    step: int = 0
    epoch: int = 0
    position: int = 0  # batches done of this epoch
    loss: float = 0.0  # sum since the last mark
    count: int = 0
    marks: list[dict[str, Any]] = field(default_factory=list)
    best: int = -1  # of marks
    pending: bool = False  # a mark is due
    cpu_s: float = 0.0
    wall_s: float = 0.0
    stopped: str = ""


class _Run(Generic[Batch]):
    """One training: optimiser, clock, marks."""

    after_step: Callable[[int], None] | None = None

    def __init__(
        self,
        model: nn.Module,
        loss_of: Callable[[Batch], Tensor],
        schedule: Schedule,
        evaluate: Callable[[], dict[str, float]] | None,
        metric: str,
        checkpoint: Path | None,
        tracker: Tracker | None,
    ) -> None:
        self.model, self.loss_of, self.schedule = model, loss_of, schedule
        self.evaluate, self.metric = evaluate, metric
        self.checkpoint, self.tracker = checkpoint, tracker
        self.trained: dict[str, Tensor] = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not self.trained:
            raise InputError("no parameter of this model requires a gradient: nothing to train")
        self.optimizer = _adamw(list(self.trained.values()), schedule)
        self.best: dict[str, Tensor] = {}
        self.state = _State()
        self.whole = True  # False while weights and step disagree
        self.began_s, self.began_cpu_s = time.monotonic(), time.process_time()
        self._resume()

    # -- training -----------------------------------------------------------------------------

    def epochs(self, batches: Callable[[int], Sequence[Batch]]) -> None:
        state, schedule = self.state, self.schedule
        with progress.track("training", 1000) as advance:
            shown = 0.0
            while state.epoch < schedule.epochs and not state.stopped:
                these = batches(state.epoch)
                if not these:
                    raise InputError(f"epoch {state.epoch + 1} has no batches: nothing to train on")
                while True:
                    last = state.position >= len(these)
                    if state.pending:
                        self._mark(last)
                    if state.stopped:
                        break
                    if last:
                        state.epoch, state.position = state.epoch + 1, 0
                        break
                    share = self._share(len(these))
                    self._step(these[state.position], share)
                    state.pending = self._due(state.position >= len(these))
                    advance(1000 * share - shown)
                    shown = 1000 * share

    def _step(self, batch: Batch, share: float) -> None:
        state = self.state
        self.model.train()
        torch.manual_seed(_seed(self.schedule.seed, state.step))
        loss = self.loss_of(batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise IntentlyError(
                f"training broke down: the loss became {value} at step {state.step + 1}",
                hint="lower learning_rate",
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.trained.values(), self.schedule.clip)
        rate = self.schedule.learning_rate * _height(share, self.schedule.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.whole = False
        self.optimizer.step()
        state.step, state.position = state.step + 1, state.position + 1
        state.loss, state.count = state.loss + value, state.count + 1
        if self.after_step:
            self.after_step(state.step)
        self.whole = True
        self._track({"train/loss": value, "train/learning_rate": rate})

    def _share(self, n_batches: int) -> float:
        """Which share of the training lies behind once the next step is done: of steps or of the clock."""
        done = (self.state.epoch + (self.state.position + 1) / n_batches) / self.schedule.epochs
        if self.schedule.minutes <= 0:
            return done
        return min(1.0, max(done, self._wall_s() / (60.0 * self.schedule.minutes)))

    def _due(self, last: bool) -> bool:
        if self._late() or (last and self.state.epoch + 1 == self.schedule.epochs):
            return True
        return self.state.step % self.schedule.every == 0 if self.schedule.every > 0 else last

    def _late(self) -> bool:
        return 0 < self.schedule.minutes * 60.0 <= self._wall_s()

    def _mark(self, last: bool) -> None:
        """Judge, keep the best, write a checkpoint."""
        state = self.state
        self.model.eval()
        metrics = self.evaluate() if self.evaluate else {}
        self.whole = False
        mark = Mark(state.step, state.epoch, state.loss / max(state.count, 1), metrics)
        state.marks.append(asdict(mark))
        if self._gains(metrics):
            state.best = len(state.marks) - 1
            if self.metric:
                self.best = {name: p.detach().clone() for name, p in self.trained.items()}
        state.loss, state.count, state.pending = 0.0, 0, False
        state.stopped = self._end(last)
        self.whole = True
        self._track(metrics)
        figures = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        progress.note(f"step {mark.step}: loss {mark.loss:.4f}{', ' if figures else ''}{figures}")
        self._save()

    def _end(self, last: bool) -> str:
        """Why the training ends at this mark, '' when it goes on."""
        if last and self.state.epoch + 1 == self.schedule.epochs:
            return "finished"
        if 0 < self.schedule.patience <= len(self.state.marks) - 1 - self.state.best:
            return "patience"
        return "minutes" if self._late() else ""

    def _gains(self, metrics: dict[str, float]) -> bool:
        if not self.metric:
            return True
        if self.metric not in metrics:
            raise InputError(f"evaluate() gave no {self.metric!r}, only {', '.join(metrics) or 'nothing'}")
        best = self.state.best
        return best < 0 or metrics[self.metric] > self.state.marks[best]["metrics"][self.metric]

    def _track(self, figures: dict[str, float]) -> None:
        if self.tracker:
            for name, value in figures.items():
                self.tracker.scalar(name, value, self.state.step)

    # -- keeping ------------------------------------------------------------------------------

    def _wall_s(self) -> float:
        return self.state.wall_s + time.monotonic() - self.began_s

    def _cpu_s(self) -> float:
        return self.state.cpu_s + time.process_time() - self.began_cpu_s

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        tensors = {f"weight/{name}": p for name, p in self.trained.items()}
        tensors |= {f"best/{name}": value for name, value in self.best.items()}
        for name, parameter in self.trained.items():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"adamw/{key}/{name}"] = value
        state = asdict(self.state) | {"cpu_s": self._cpu_s(), "wall_s": self._wall_s()}
        write_checkpoint(self.checkpoint, tensors, {"of": self._identity(), "state": state})

    def _identity(self) -> dict[str, Any]:
        """What must be equal for a checkpoint to belong to this training."""
        settings = {name: value for name, value in asdict(self.schedule).items() if name != "minutes"}
        shapes = {name: list(p.shape) for name, p in self.trained.items()}
        return {"schedule": settings, "metric": self.metric, "shapes": shapes}

    def _resume(self) -> None:
        found = read_checkpoint(self.checkpoint) if self.checkpoint else None
        if found is None:
            return
        tensors, header = found
        if header.get("of") != self._identity():
            raise InputError(
                f"the checkpoint in {self.checkpoint} belongs to a training with other settings",
                hint="give the settings it was started with, or another folder",
            )
        self.state = _State(**header["state"])
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(tensors[f"weight/{name}"])
                moments = {
                    key.split("/", 2)[1]: value
                    for key, value in tensors.items()
                    if key.startswith("adamw/") and key.split("/", 2)[2] == name
                }
                if moments:
                    self.optimizer.state[parameter] = moments
        self.best = {key[5:]: value for key, value in tensors.items() if key.startswith("best/")}
        progress.note(f"going on after step {self.state.step}")

    def interrupted(self) -> None:
        """Ctrl-C: keep where it stands, unless it came inside an update; then the last mark stands."""
        if self.whole:
            self._save()

    def finish(self) -> Course:
        with torch.no_grad():
            for name, value in self.best.items():
                self.trained[name].copy_(value)
        self.model.eval()
        state = self.state
        marks = [Mark(**mark) for mark in state.marks]
        best = marks[state.best] if state.best >= 0 else None
        return Course(marks, best, state.step, self._cpu_s(), self._wall_s(), state.stopped)


def _adamw(parameters: list[Tensor], schedule: Schedule) -> torch.optim.AdamW:
    matrices = [p for p in parameters if p.ndim > 1]
    others = [p for p in parameters if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": schedule.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=schedule.learning_rate, fused=True)


def _seed(seed: int, step: int) -> int:
    """A well mixed seed of torch's generator for one step."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])


def _height(share: float, warmup: float) -> float:
    """Height of the learning rate once `share` of the training is done: up, then linearly to nothing.

    >>> _height(0.05, 0.1), _height(0.1, 0.1), round(_height(0.55, 0.1), 3)
    (0.5, 1.0, 0.5)
    """
    if share < warmup:
        return share / warmup
    return (1.0 - share) / (1.0 - warmup) if share < 1.0 else 0.0
