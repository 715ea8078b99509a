"""A run while it goes on: `HOME/runs/ID/run.json`, and TensorBoard's event file beside it.

    with record(home, "train", settings={"seed": 0}) as run:
        run.saw(dataset)
        run.measured("boosted", {"ndcg@10": interval})

The file is written when the run begins, when something is known, and at the end, however the end comes: by
then it says done, failed or stopped. A run that was killed stays "running" in the file, and is read as
cut off (history.py). Learning curves are heard from the training loops (progress.epoch).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from intently import progress
from intently.errors import IntentlyError, MissingExtraError
from intently.evaluate.report import provenance
from intently.intervals import Interval
from intently.nn.tracking import CURVES, Tracker
from intently.runs.cost import Meter

if TYPE_CHECKING:
    from intently.data import Dataset

FOLDER, FILE = "runs", "run.json"
Figures = Mapping[str, Interval | float]


class Run:
    """What is known of one run; `facts` is what run.json holds."""

    def __init__(self, home: Path, facts: dict[str, Any], *, wandb: bool, own_peak: bool) -> None:
        self.folder = home / FOLDER / str(facts["id"])
        self.facts = facts
        self._wandb = wandb
        self._tracked: Tracker | None = None
        self._meter = Meter(own_peak=own_peak)
        self._write()

    @property
    def id(self) -> str:
        """Its name in `intently runs`."""
        return str(self.facts["id"])

    def saw(self, dataset: Dataset) -> None:
        """Which data is learned from."""
        self.facts["data"] = data_facts(dataset)
        self._write()

    def chose(self, name: str, settings: Mapping[str, Any]) -> None:
        """Which model is trained, and settings beside those that the run began with."""
        self.facts["name"] = name
        self.facts["settings"] = {**self.facts["settings"], **settings}
        self._write()

    def measured(self, model: str, figures: Figures) -> None:
        """What came out, a figure or an interval each."""
        known = self.facts["metrics"].setdefault(model, {})
        for name, figure in figures.items():
            known[name] = _figure(figure)
        self._write()

    def say(self, **facts: Any) -> None:
        """Other facts at the top of run.json, such as a verdict."""
        self.facts |= facts
        self._write()

    def note(self, message: str) -> None:
        """A line for whoever waits, kept with the run."""
        progress.note(message)
        self.facts["notes"].append(message)

    @property
    def tracker(self) -> Tracker:
        """Where curves go; made when it is first asked for, so that it knows the settings."""
        if self._tracked is None:
            name = f"{self.facts['kind']} {self.facts['name']}".strip()
            settings = self.facts["settings"]
            try:
                self._tracked = Tracker(self.folder, wandb=self._wandb, name=name, settings=settings)
            except MissingExtraError as error:
                if self._wandb:
                    raise  # it was asked for
                self.note(f"no TensorBoard file: {error}")
                self._tracked = Tracker(None)
        return self._tracked

    def gather(self, parts: Sequence[str]) -> None:
        """Take in the curves that other processes left in folders of this name under the run's own."""
        for part in parts:
            path = self.folder / part / CURVES
            if path.exists():
                found = json.loads(path.read_text(encoding="utf-8"))
                self.facts["curves"] |= {f"{part}/{name}": points for name, points in found.items()}

    def no_tracker(self) -> None:
        """After a failure nothing is opened any more."""
        self._tracked = self._tracked or Tracker(None)

    def heard(self, part: str, number: int, figures: Mapping[str, float]) -> None:
        """One epoch, from a training loop."""
        for name, value in figures.items():
            self.tracker.scalar(f"{part}/{name}" if part else name, value, number)

    def end(self, state: str, reason: str = "") -> None:
        """Write what there is for the last time."""
        for model, figures in self.facts["metrics"].items():
            for name, figure in figures.items():
                if figure["value"] is not None:
                    self.tracker.scalar(f"metrics/{model}/{name}", figure["value"], 1)
        curves = {n: points for n, points in self.tracker.curves.items() if not n.startswith("metrics/")}
        self.facts["curves"] = {**self.facts["curves"], **curves}
        self.tracker.close()
        self.facts |= {"state": state, "reason": reason, "ended": _now()}
        self._write()

    def _write(self) -> None:
        self.facts["cost"] = asdict(self._meter.read())
        aside = self.folder / f".{FILE}.part"
        aside.write_text(json.dumps(plain(self.facts), indent=1, ensure_ascii=False), encoding="utf-8")
        aside.replace(self.folder / FILE)


@contextmanager
def record(
    home: Path,
    kind: str,
    name: str = "",
    *,
    settings: Mapping[str, Any] | None = None,
    headline: str = "ndcg@10",
    wandb: bool = False,
    part_of: str = "",
    own_peak: bool = False,
) -> Iterator[Run]:
    """Record what happens inside as one run under `home`.

    kind: train, tune, pretrain, search or trial. name: the model. headline: the figure that a list shows.
    wandb: also log to W&B. part_of: the id of the search that this is a trial of. own_peak: see cost.py.
    Raises MissingExtraError when `wandb` is asked for and not installed; without TensorBoard the run is
    recorded all the same, and says so.
    """
    run = Run(
        home, _began(home, kind, name, settings or {}, headline, part_of), wandb=wandb, own_peak=own_peak
    )
    try:
        if wandb:
            _ = run.tracker  # refuse before the work
        with progress.listening(run.heard):
            yield run
    except KeyboardInterrupt:
        run.end("stopped", "Ctrl-C")
        raise
    except Exception as error:
        run.no_tracker()
        told = error.message if isinstance(error, IntentlyError) else f"{type(error).__name__}: {error}"
        run.end(str(getattr(error, "state", "failed")), told)
        raise
    else:
        run.end("done")


def _claimed(home: Path) -> str:
    """An id that no other run has, its folder made; trials of one second may draw the same one."""
    while True:
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        name = f"{stamp}-{secrets.token_hex(2)}"
        try:
            (home / FOLDER / name).mkdir(parents=True)
        except FileExistsError:
            continue
        return name


def _began(
    home: Path, kind: str, name: str, settings: Mapping[str, Any], headline: str, part_of: str
) -> dict[str, Any]:
    """What is known before anything has happened."""
    return {
        "id": _claimed(home),
        "kind": kind,
        "name": name,
        "part_of": part_of,
        "state": "running",
        "reason": "",
        "pid": os.getpid(),
        "process": process_start(os.getpid()),
        **provenance(),
        "date": datetime.now(UTC).isoformat(timespec="microseconds"),  # trials of one second have an order
        "commit": commit(),
        "settings": dict(settings),
        "data": {},
        "headline": headline,
        "metrics": {},
        "curves": {},
        "notes": [],
    }


def data_facts(dataset: Dataset) -> dict[str, Any]:
    """Which data this is: a hash of its events, one of its text vectors, and its sizes."""
    vectors = dataset.vectors
    return {
        "fingerprint": dataset.fingerprint,
        "vectors": "" if vectors is None else hashlib.sha256(vectors.tobytes()).hexdigest(),
        "users": dataset.n_users,
        "items": dataset.n_items,
        "events": dataset.n_events,
        "first": _moment(dataset.start_s) if dataset.timed else None,
        "last": _moment(dataset.end_s) if dataset.timed else None,
    }


def commit() -> str:
    """Commit of the code, `+` behind it where files differ; "" when it runs from no checkout of its own."""
    here = Path(__file__).resolve()
    if not _git(here.parent, "ls-files", "--", here.name):
        return ""  # installed, maybe into somebody else's checkout
    changed = _git(here.parents[1], "status", "--porcelain", "--untracked-files=no", "--", ".")
    return _git(here.parent, "rev-parse", "--short=12", "HEAD") + ("+" if changed else "")


def process_start(pid: int) -> str:
    """When the process began, in the kernel's own count: a number that is used again begins later."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def plain(value: Any) -> Any:
    """JSON values only; what is no number is null, a path its last part."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bool | int | str) or value is None:
        return value
    return value.name if isinstance(value, Path) else str(value)


def _figure(figure: Interval | float) -> dict[str, Any]:
    if isinstance(figure, Interval):
        return asdict(figure)
    return {"value": figure}


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _moment(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="seconds")
