"""Which settings are tried next: optuna's TPE, with trials given up whose epochs fall behind the median.

Tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011), multivariate (Falkner et al., BOHB, ICML
2018), and the median rule of Vizier (Golovin et al., KDD 2017). We differ in who does what: this process
alone owns the study, an SQLite file in the home, and every write is committed; the workers only fit and
judge. After a kill the trials that ran are put back into the queue and the search goes on. The default
settings are always tried, first and to the end, so that what is found is never worse than them on the
validation cut.
"""

from __future__ import annotations

import fcntl
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial, TrialState

from intently import progress
from intently.errors import InputError, IntentlyError
from intently.models import given
from intently.models.space import Choice, Int, Range, nested
from intently.search.question import Question
from intently.search.worker import Job, Outcome, Place, Worker, one_thread_each

FOLDER = "search"
DEFAULT = -1
"""Number of the trial with the default settings, which stands beside the study."""

STARTUP, WARM_EPOCHS = 8, 2
"""Trials drawn at random before the estimator speaks; epochs that every trial gets."""

FAILURES = 4
"""So many failures in a row end the search."""

GIVEN_UP_AFTER = 4
"""Whole trials that the median needs."""

LEAST_TO_WEIGH = 8
"""Whole trials before it is said which setting mattered."""


@dataclass(frozen=True)
class Limits:
    """minutes: of wall time, of this call. trials: in all, with those of earlier calls; 0: no limit."""

    minutes: float
    trials: int = 0
    jobs: int = 2


@dataclass(frozen=True)
class Tried:
    """One trial. number: -1 is the default. point: its place in the space, None outside."""

    number: int
    state: str  # done, pruned or failed
    value: float
    point: dict[str, Any] | None
    run: str
    reason: str = ""


class Search:
    """One question's study; `run` goes on with it, `tried` says what it holds."""

    def __init__(self, question: Question, place: Place, limits: Limits) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.question, self.place, self.limits = question, place, limits
        self.path = place.home / FOLDER / f"{question.model}-{question.key}.db"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.space = {name: distribution(where) for name, where in question.space.items()}
        self.running: dict[int, Trial] = {}
        self.failures = 0  # in a row
        self.deadline = 0.0
        self.storage = optuna.storages.RDBStorage(f"sqlite:///{self.path.resolve()}")
        self.study = optuna.create_study(
            storage=self.storage,
            study_name=question.key,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=GIVEN_UP_AFTER, n_warmup_steps=WARM_EPOCHS),
        )
        self.ended = len(self.tried())
        self._seed()

    def close(self) -> None:
        """Let go of the file."""
        self.storage.remove_session()
        self.storage.engine.dispose()

    def __enter__(self) -> Search:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def tried(self) -> list[Tried]:
        """Every trial that ended, the default first; empty before the default was judged."""
        default = self.study.user_attrs.get("default")
        if default is None:
            return []
        states = {TrialState.COMPLETE: "done", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
        point = self.question.default_point()
        out = [Tried(DEFAULT, "done", default["value"], point, default["run"])]
        for trial in self.study.get_trials(deepcopy=False, states=tuple(states)):
            said = trial.user_attrs
            if said.get("default") or (trial.state == TrialState.FAIL and "reason" not in said):
                continue  # told already, or cut off and put back into the queue
            value = (
                trial.value
                if trial.state == TrialState.COMPLETE and trial.value is not None
                else float("nan")
            )
            run, reason = said.get("run", ""), said.get("reason", "")
            out.append(Tried(trial.number, states[trial.state], value, dict(trial.params), run, reason))
        return out

    def run(self) -> bool:
        """Try until the limits are reached; False when Ctrl-C came first.

        Raises InputError when another process searches the same, IntentlyError when the default settings
        cannot be judged or trial after trial fails.
        """
        with _alone(self.path.with_suffix(".lock")):
            self._again()
            self.deadline = time.monotonic() + 60.0 * self.limits.minutes
            workers: list[Worker] = []
            try:
                with one_thread_each(self.limits.jobs > 1), self._bar() as advance:
                    self._loop(workers, advance)
                return True
            except KeyboardInterrupt:
                return False
            finally:
                for worker in workers:
                    worker.stop()
                self._again()

    def importance(self) -> dict[str, float]:
        """Share of each setting in what makes good trials good (PED-ANOVA, Watanabe et al., IJCAI 2023).

        Empty before LEAST_TO_WEIGH trials were judged to the end, and when all of them are alike.
        """
        whole = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(whole) < LEAST_TO_WEIGH or len({trial.value for trial in whole}) < 2:
            return {}
        judge = optuna.importance.PedAnovaImportanceEvaluator()
        found = optuna.importance.get_param_importances(self.study, evaluator=judge)
        return {name: float(share) for name, share in found.items() if math.isfinite(share)}

    # -- the loop ------------------------------------------------------------------------------

    def _loop(self, workers: list[Worker], advance: Callable[[], None]) -> None:
        queue: list[Job] = [] if self._default_known() else [self._default_job()]
        while True:
            advance()
            late = time.monotonic() >= self.deadline
            if late and self._default_known():
                return
            busy = [worker for worker in workers if worker.job]
            while len(busy) < self.limits.jobs and (job := queue.pop() if queue else self._next(late)):
                worker = next((one for one in workers if one.job is None), None) or self._hire(workers)
                worker.start(job)
                busy.append(worker)
            if not busy:
                return
            for worker in self._ready(busy):
                self._hear(worker, workers)

    def _hire(self, workers: list[Worker]) -> Worker:
        worker = Worker(self.question.model, self.question.case, self.place)
        workers.append(worker)
        return worker

    def _ready(self, busy: list[Worker]) -> list[Worker]:
        left_s = max(0.0, self.deadline - time.monotonic()) if self._default_known() else 1.0
        ready = wait([worker.line for worker in busy], timeout=min(1.0, left_s))
        return [worker for worker in busy if worker.line in ready]

    def _hear(self, worker: Worker, workers: list[Worker]) -> None:
        job = worker.job
        assert job is not None
        try:
            said = worker.line.recv()
            if not isinstance(said, Outcome):
                worker.line.send(self._falls_behind(job, *said))
                return
        except (EOFError, OSError):  # killed, perhaps for its memory
            worker.stop()
            workers.remove(worker)
            said = Outcome(job.number, "failed", reason=f"its process ended ({worker.process.exitcode})")
        worker.job = None
        self._end(job, said)

    def _next(self, late: bool) -> Job | None:
        if late or (self.limits.trials and self._count() >= self.limits.trials):
            return None
        trial = self.study.ask(self.space)
        self.running[trial.number] = trial
        settings = given.over(self.question.usual, nested(trial.params))
        return Job(trial.number, settings, may_stop=True)

    def _count(self) -> int:
        """Trials that ended or run, with the default."""
        return self.ended + len(self.running) + (not self._default_known())

    def _falls_behind(self, job: Job, number: int, value: float) -> bool:
        trial = self.running[job.number]
        trial.report(value, number)
        return trial.should_prune()

    def _end(self, job: Job, said: Outcome) -> None:
        """Write the outcome down."""
        if said.state == "failed":
            self.failures += 1
        else:
            self.failures = 0
        self.ended += 1
        if job.number == DEFAULT:
            self._default_ended(said)
        else:
            trial = self.running.pop(job.number)
            trial.set_user_attr("run", said.run)
            if said.reason:
                trial.set_user_attr("reason", said.reason)
            if said.state == "done":
                self.study.tell(trial, said.value)
            else:
                state = TrialState.PRUNED if said.state == "pruned" else TrialState.FAIL
                self.study.tell(trial, state=state)
        self._say(job, said)
        if self.failures >= FAILURES:
            raise IntentlyError(
                f"{self.failures} trials of {self.question.model} failed one after the other: {said.reason}"
            )

    def _say(self, job: Job, said: Outcome) -> None:
        name = "default" if job.number == DEFAULT else f"trial {self.ended}"
        if said.state != "done":
            progress.note(f"{self.question.model}, {name}: {said.state}, {said.reason}")
            return
        best = max((one.value for one in self.tried() if one.state == "done"), default=said.value)
        told = f"NDCG@10 {said.value:.4f}, best {best:.4f}, {said.cpu_s:.1f} CPU s"
        progress.note(f"{self.question.model}, {name}: {told}")

    # -- the default ---------------------------------------------------------------------------

    def _default_known(self) -> bool:
        return "default" in self.study.user_attrs

    def _default_job(self) -> Job:
        return Job(DEFAULT, self.question.usual, may_stop=False)

    def _default_ended(self, said: Outcome) -> None:
        """The default stands beside the study; the estimator learns from it where it lies in the space."""
        if said.state != "done":
            raise IntentlyError(
                f"{self.question.model} with its default settings could not be judged: {said.reason}"
            )
        point = self.question.default_point()
        if point is not None:
            self.study.add_trial(
                optuna.trial.create_trial(
                    params=point,
                    distributions=self.space,
                    value=said.value,
                    intermediate_values=dict(said.epochs),
                    user_attrs={"default": True, "run": said.run},
                )
            )
        self.study.set_user_attr("default", {"value": said.value, "run": said.run})

    def _seed(self) -> None:
        """Other draws after every stop, or a search that goes on would try the same again."""
        told = [int(self.question.usual.get("seed", 0)), len(self.study.get_trials(deepcopy=False))]
        seed = int(np.random.SeedSequence(told).generate_state(1)[0])
        self.study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=STARTUP, multivariate=True, constant_liar=self.limits.jobs > 1, seed=seed
        )

    # -- stopping and going on -----------------------------------------------------------------

    def _again(self) -> None:
        """Trials that ran when the search was stopped or killed are put back into the queue."""
        self.running.clear()
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.study.tell(trial.number, state=TrialState.FAIL)
            if set(trial.params) == set(self.space):
                self.study.enqueue_trial(dict(trial.params))

    @contextmanager
    def _bar(self) -> Iterator[Callable[[], None]]:
        """A bar over trials where their number is limited, else over seconds."""
        trials, began_s = self.limits.trials, time.monotonic()
        total = trials or 60.0 * self.limits.minutes
        shown = 0.0
        with progress.track(f"searching {self.question.model}", total=total) as forward:

            def advance() -> None:
                nonlocal shown
                now = float(self.ended) if trials else time.monotonic() - began_s
                forward(min(now, total) - shown)
                shown = min(now, total)

            yield advance


def distribution(where: Range) -> BaseDistribution:
    """A range in optuna's words."""
    if isinstance(where, Choice):
        return CategoricalDistribution(where.options)
    if isinstance(where, Int):
        return IntDistribution(where.low, where.high, log=where.log)
    return FloatDistribution(where.low, where.high, log=where.log)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One search of a question at a time; the lock goes with the process, however it ends."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"another process searches the same question ({path.stem})", hint="wait for it, or end it"
            ) from error
        yield
