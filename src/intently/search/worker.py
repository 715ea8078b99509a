"""A process that tries settings: fits a model before the validation cut, judges it, and says what came out.

The searching process sends a `Job` and answers each epoch with go on or give up; the worker sends an
`Outcome`. When the searching process is gone, the worker ends with its next word. Every trial is a recorded
run.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from intently import progress
from intently.errors import IntentlyError
from intently.evaluate import Case
from intently.evaluate.judgement import judge
from intently.models import model_class
from intently.runs import record
from intently.runs.record import FOLDER

K = 10
METRIC = f"ndcg@{K}"
USERS = "ndcg.npy"
"""File in a trial's folder: NDCG@10 of each user, in the case's order."""

ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
)


@dataclass(frozen=True)
class Job:
    """One trial. number: -1 is the default. settings: all that are not the model's own defaults. may_stop:
    whether to ask after each epoch."""

    number: int
    settings: dict[str, Any]
    may_stop: bool


@dataclass(frozen=True)
class Outcome:
    """state: done, pruned or failed. epochs: (number, validation figure) of the model's own training."""

    number: int
    state: str
    run: str = ""
    value: float = float("nan")
    reason: str = ""
    cpu_s: float = 0.0
    epochs: list[tuple[int, float]] = field(default_factory=list)


class PrunedError(Exception):
    """Given up: what the epochs say is worse than most of the others' at the same point."""

    state = "pruned"


class GoneError(Exception):
    """The searching process is no more."""

    state = "cut off"


@dataclass(frozen=True)
class Place:
    """Where trials are recorded, and as part of which search."""

    home: Path
    search: str
    wandb: bool


class Worker:
    """One process and the line to it; `job` is what it works on, None when it waits."""

    def __init__(self, model: str, case: Case, place: Place) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit locks of threads
        self.line, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=work, args=(theirs, model, case, place), daemon=True, name="intently search"
        )
        self.process.start()
        theirs.close()
        self.job: Job | None = None

    def start(self, job: Job) -> None:
        """Hand over a job."""
        self.job = job
        self.line.send(job)

    def stop(self) -> None:
        """End the process, whatever it does."""
        self.process.terminate()
        self.process.join()
        self.line.close()


@contextmanager
def one_thread_each(on: bool) -> Iterator[None]:
    """Processes that are started inside compute on one thread, as there are as many of them as cores."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    if on:
        os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def work(line: Connection, model: str, case: Case, place: Place) -> None:
    """What the process runs: jobs until the line ends. Ctrl-C is the searching process's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        while True:
            line.send(attempt(line.recv(), line, model, case, place))
    except (EOFError, OSError, GoneError):
        return


def attempt(job: Job, line: Connection, model: str, case: Case, place: Place) -> Outcome:
    """Fit and judge one trial; a failure is an outcome too."""
    epochs: list[tuple[int, float]] = []

    def hear(part: str, number: int, figures: Mapping[str, float]) -> None:
        value = float(figures.get("validation", float("nan")))
        if part or not np.isfinite(value):
            return
        epochs.append((number, value))
        if job.may_stop and _give_up(line, number, value):
            raise PrunedError(f"given up after epoch {number}")

    run_id, cpu_s, state, reason, value = "", 0.0, "done", "", float("nan")
    try:
        with record(
            place.home,
            "trial",
            model,
            settings={model: job.settings},
            wandb=place.wandb,
            part_of=place.search,
            own_peak=True,
        ) as run:
            run_id = run.id
            run.say(trial=job.number)
            run.saw(case.train)
            with progress.listening(hear):
                fitted = model_class(model)(**job.settings).fit(case.train)
            judged = judge(fitted, case, (K,), name=model)
            run.measured(model, judged.intervals([METRIC, f"recall@{K}"]))
            np.save(run.folder / USERS, judged.of(METRIC).astype(np.float32), allow_pickle=False)
            value = judged.mean(METRIC)
            cpu_s = run.facts["cost"]["cpu_s"]
    except GoneError:
        raise
    except PrunedError as stopped:
        state, reason = stopped.state, str(stopped)
    except Exception as error:  # a trial that fails must not end the search
        state = "failed"
        reason = error.message if isinstance(error, IntentlyError) else f"{type(error).__name__}: {error}"
    return Outcome(job.number, state, run_id, value, reason, cpu_s, epochs)


def _give_up(line: Connection, number: int, value: float) -> bool:
    try:
        line.send((number, value))
        return bool(line.recv())
    except (EOFError, OSError) as error:
        raise GoneError("the search ended") from error


def users_of(home: Path, run: str) -> np.ndarray[Any, Any] | None:
    """NDCG@10 of each user in a trial, None when its folder is gone."""
    path = home / FOLDER / run / USERS
    return np.load(path, allow_pickle=False).astype(np.float64) if run and path.exists() else None
