"""Tune a model for an objective, and say what it cost and what it brought.

`tune` trains one method and writes a transformers folder with its receipt; `compare` trains several under
one budget, each in a process of its own, so that its memory and its seconds are its own. What a shop then
reads its catalogue with is decided by publish.py.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from intently import progress
from intently.errors import InputError
from intently.intervals import LEVEL, difference, mean_interval
from intently.language import methods, receipt
from intently.language.folder import open_folder
from intently.language.methods import METHODS, Method
from intently.language.objective import Objective
from intently.language.receipt import Group, Receipt
from intently.nn.finetuning import Course, Schedule, finetune
from intently.nn.tracking import Tracker
from intently.schema import DoubleArray

RATES = {"full": 1e-4, "lora": 5e-4, "adalora": 2e-3, "adapter": 5e-4}
"""Learning rate of each method where none is given: what moves fewer weights moves them further."""

_TIMED_STEPS = 3


def tune(
    folder: Path | None,
    objective: Objective[Any],
    method: Method,
    schedule: Schedule,
    out: Path,
    *,
    before: Mapping[str, DoubleArray] | None = None,
    checkpoint: Path | None = None,
    tracker: Tracker | None = None,
    level: float = LEVEL,
) -> Receipt:
    """Tune `folder` (None: the English model) and write the tuned folder to `out`, whole or not at all.

    A learning_rate of 0 takes the method's own. before: what `measure` said of the untuned model, when it
    is known already. checkpoint: where an interrupted training is kept and gone on from; it is removed
    once `out` is there. Ctrl-C keeps the last state there and is raised again. level: of the interval of
    the gain.

    Raises InputError for what cannot be trained, IntentlyError when training breaks down.
    """
    base = open_folder(folder)
    model = objective.load(base.path)
    known = objective.measure(model) if before is None else before
    schedule = _with_rate(schedule, method)
    steps = _steps(objective, schedule, model) if method.name == "adalora" else 0
    tuned = methods.attach(model, method, fresh=objective.fresh, steps=steps)
    trained, parameters = methods.trainable(tuned)
    own_mb = sum(p.numel() * p.element_size() for p in tuned.parameters() if p.requires_grad) / 2**20
    course = finetune(
        tuned,
        objective.batches,
        lambda batch: objective.loss(tuned, batch),
        schedule,
        evaluate=lambda: objective.evaluate(tuned),
        metric=objective.metric,
        after_step=lambda step: methods.after_step(tuned, step),
        checkpoint=checkpoint,
        tracker=tracker,
    )
    plain = methods.merged(tuned)
    objective.finish(plain)
    after = objective.measure(plain)
    draft = _draft(out)
    objective.save(plain, draft)
    paper = Receipt(
        objective=objective.name,
        method=method.name,
        base=base.path.name if not base.bundled else "all-MiniLM-L6-v2 (bundled)",
        metric=objective.judged,
        trained=trained,
        parameters=parameters,
        steps=course.steps,
        cpu_s=course.cpu_s,
        wall_s=course.wall_s,
        peak_mb=receipt.peak_mb(),
        disk_mb=receipt.size_mb(draft),
        own_mb=own_mb,
        validation=_best(course, objective.metric),
        stopped=course.stopped,
        settings=_settings(method, schedule),
        groups=groups(known, after, level),
    )
    paper.write(draft)
    told = receipt.verdict([paper])[1]
    (draft / "README.md").write_text(receipt.card(paper, told), encoding="utf-8")
    replace_folder(draft, out)
    if checkpoint is not None:
        shutil.rmtree(checkpoint, ignore_errors=True)
    return paper


def compare(
    folder: Path | None,
    objective: Objective[Any],
    chosen: Sequence[Method],
    schedule: Schedule,
    out: Path,
    *,
    before: Mapping[str, DoubleArray] | None = None,
    apart: bool = True,
    tracks: Path | None = None,
    wandb: bool = False,
) -> list[Receipt]:
    """Tune every method into out/NAME; their receipts, in order.

    schedule.minutes is the budget of all methods together, each gets the same part of it. Of several
    methods one may seem better by chance alone, so each gain's interval is as wide as Bonferroni asks.
    before: what `measure` said of the untuned model, when it is known already. apart: each in a process of
    its own. tracks: a folder that takes each method's curves (nn/tracking.py); wandb: they also go to W&B.
    Raises what `tune` raises.
    """
    if not chosen:
        raise InputError(f"no method to compare; allowed: {', '.join(METHODS)}", field="method")
    own = replace(schedule, minutes=schedule.minutes / len(chosen))
    base = open_folder(folder)
    model = objective.load(base.path)
    known = objective.measure(model) if before is None else before
    level = 1.0 - (1.0 - LEVEL) / len(chosen)
    found = []
    for method in chosen:
        progress.note(f"tuning {method.name}")
        kept = out / f"{method.name}.checkpoint"
        track = tracks / method.name if tracks else None
        job = _Job(folder, objective, method, own, out / method.name, kept, dict(known), level, track, wandb)
        found.append(_apart(job) if apart else _run(job))
    return found


@dataclass(frozen=True)
class _Job:
    """What a process needs to tune one method."""

    folder: Path | None
    objective: Objective[Any]
    method: Method
    schedule: Schedule
    out: Path
    checkpoint: Path
    before: dict[str, DoubleArray]
    level: float
    track: Path | None
    wandb: bool


def _run(job: _Job) -> Receipt:
    name = f"{job.objective.name}-{job.method.name}"
    with Tracker(job.track, wandb=job.wandb, name=name) as tracker:
        return tune(
            job.folder,
            job.objective,
            job.method,
            job.schedule,
            job.out,
            before=job.before,
            checkpoint=job.checkpoint,
            tracker=tracker,
            level=job.level,
        )


def _apart(job: _Job) -> Receipt:
    context = multiprocessing.get_context("spawn")  # a fork would inherit memory and threads
    shown = progress.shown()
    with ProcessPoolExecutor(1, context, initializer=progress.show, initargs=(shown,)) as pool:
        return pool.submit(_run, job).result()


def groups(
    before: Mapping[str, DoubleArray], after: Mapping[str, DoubleArray], level: float = LEVEL
) -> dict[str, Group]:
    """Means with their intervals, and the paired difference of each group with one at `level`."""
    return {
        name: Group(
            mean_interval(before[name]),
            mean_interval(after[name]),
            difference(after[name], before[name], level=level),
        )
        for name in after
    }


def replace_folder(draft: Path, out: Path) -> None:
    """Put `draft` in the place of `out` by renaming; what was there goes."""
    old = out.with_name(f".{out.name}.old-{os.getpid()}")
    if out.exists():
        os.replace(out, old)
    os.replace(draft, out)
    shutil.rmtree(old, ignore_errors=True)


def _draft(out: Path) -> Path:
    draft = out.with_name(f".{out.name}.draft-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    return draft


def _with_rate(schedule: Schedule, method: Method) -> Schedule:
    if schedule.learning_rate > 0.0:
        return schedule
    return replace(schedule, learning_rate=RATES[method.name])


def _steps(objective: Objective[Any], schedule: Schedule, model: nn.Module) -> int:
    """Steps that the schedule will make: by its epochs, or by the time that a few steps take."""
    these = objective.batches(0)
    planned = schedule.epochs * len(these)
    if schedule.minutes <= 0.0:
        return planned
    began = time.monotonic()
    for batch in these[:_TIMED_STEPS]:
        objective.loss(model, batch).backward()  # type: ignore[no-untyped-call]
    model.zero_grad(set_to_none=True)
    each_s = (time.monotonic() - began) / min(_TIMED_STEPS, len(these))
    return min(planned, max(10, math.ceil(60.0 * schedule.minutes / each_s)))


def _best(course: Course, metric: str) -> float:
    return course.best.metrics.get(metric, math.nan) if course.best else math.nan


def _settings(method: Method, schedule: Schedule) -> dict[str, float | int | str]:
    own = {
        "full": (),
        "lora": ("rank", "alpha", "dropout"),
        "adalora": ("rank", "alpha", "dropout"),
        "adapter": ("placement", "bottleneck"),
    }[method.name]
    given = asdict(method)
    return {name: given[name] for name in own} | asdict(schedule)
