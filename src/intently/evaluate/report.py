"""What an evaluation found: a frame, JSON, or one self-contained HTML page."""

from __future__ import annotations

import math
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from intently import progress
from intently.cores import cores
from intently.errors import InputError, MissingExtraError
from intently.evaluate.chances import Chances
from intently.evaluate.judgement import Judgement
from intently.evaluate.metrics import METRICS
from intently.evaluate.protocol import GROUPS, Case
from intently.intervals import Interval

BUCKETS = 5

Curve = tuple[tuple[float, float], ...]
"""(training loss, validation figure) of each epoch."""


@dataclass(frozen=True)
class Result:
    """One model's part of a report."""

    judgement: Judgement
    fit_cpu_s: float
    fit_wall_s: float
    settings: dict[str, Any]
    chances: Chances | None = None  # only for a model that gives probabilities
    curves: dict[str, Curve] = field(default_factory=dict)  # of the model or of those inside it


@dataclass(frozen=True)
class Report:
    """All models on one case. `best` comes first in `results`; `reference` is what it is held against."""

    results: dict[str, Result]  # by name, best NDCG@k first
    skipped: dict[str, str]  # models that could not be judged, and why
    reference: str
    k: int
    facts: dict[str, Any]  # the case and its data
    provenance: dict[str, str]

    @property
    def metric(self) -> str:
        """What the models are sorted by."""
        return f"ndcg@{self.k}"

    @property
    def best(self) -> str:
        """The first model by `metric`."""
        return next(iter(self.results))

    def frame(self) -> pl.DataFrame:
        """model, metric, group, mean, low, high, users: every metric of every model and user group."""
        return pl.concat([result.judgement.frame() for result in self.results.values()])

    def leaderboard(self) -> pl.DataFrame:
        """A row a model, best first: the metrics at k, the interval, the lift over the reference."""
        rows = []
        for name, result in self.results.items():
            judged, k = result.judgement, self.k
            head, lift = judged.interval(self.metric), self.lift(name)
            rows.append(
                {
                    "model": name,
                    self.metric: head.value,
                    "low": head.low,
                    "high": head.high,
                    "lift": None if lift is None else lift.value,
                    "lift_low": None if lift is None else lift.low,
                    "lift_high": None if lift is None else lift.high,
                    **{f"{m}@{k}": judged.mean(f"{m}@{k}") for m in METRICS if m != "ndcg"},
                    f"coverage@{k}": judged.coverage[k],
                    f"novelty@{k}": judged.novelty[k],
                    "fit_cpu_s": result.fit_cpu_s,
                    "fit_wall_s": result.fit_wall_s,
                }
            )
        return pl.DataFrame(rows)

    def lift(self, name: str) -> Interval | None:
        """Paired relative lift of a model's `metric` over the reference; None for the reference."""
        if name not in self.results:
            raise InputError(f"no model {name!r} in this report; judged: {', '.join(self.results)}")
        if name == self.reference:
            return None
        base = self.results[self.reference].judgement
        return self.results[name].judgement.against(base, self.metric)[1]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; what is not a number (no users in a group) is null."""
        return {
            "metric": self.metric,
            "best": self.best,
            "reference": self.reference,
            "facts": self.facts,
            "provenance": self.provenance,
            "skipped": self.skipped,
            "models": {name: self._model(name) for name in self.results},
        }

    def to_json(self) -> str:
        """`to_dict` as indented JSON."""
        return orjson.dumps(_plain(self.to_dict()), option=orjson.OPT_INDENT_2).decode()

    def to_html(self) -> str:
        """One page with everything in it; raises MissingExtraError without matplotlib and jinja2."""
        from intently.evaluate.page import page

        return page(self)

    def write(self, folder: Path, name: str) -> tuple[Path, Path | None]:
        """Write <name>.json and <name>.html into `folder` (made if missing); the two paths.

        Where the parts that draw are not installed there is no page: None, and a note says so.
        """
        folder.mkdir(parents=True, exist_ok=True)
        json_path, html_path = folder / f"{name}.json", folder / f"{name}.html"
        json_path.write_text(self.to_json(), encoding="utf-8")
        try:
            html_path.write_text(self.to_html(), encoding="utf-8")
        except MissingExtraError as error:
            progress.note(f"no page: {error}")
            return json_path, None
        return json_path, html_path

    def _model(self, name: str) -> dict[str, Any]:
        result = self.results[name]
        judged, lift = result.judgement, self.lift(name)
        groups = {
            group: {m: asdict(i) for m, i in judged.intervals(group=group).items()}
            for group in ("all", *(g for g in GROUPS if judged.groups[g].any()))
        }
        return {
            "settings": result.settings,
            "fit_cpu_s": result.fit_cpu_s,
            "fit_wall_s": result.fit_wall_s,
            "lift": None if lift is None else asdict(lift),
            "users": groups,
            "items": {g: asdict(i) for g, i in judged.by_item_group(self.k).items()},
            "coverage": {str(k): v for k, v in judged.coverage.items()},
            "novelty": {str(k): v for k, v in judged.novelty.items()},
            "activity": [asdict(b) for b in activity_buckets(judged, self.metric)],
            "chances": None if result.chances is None else asdict(result.chances),
            "curves": result.curves,
        }


@dataclass(frozen=True)
class Bucket:
    """Users whose history has between `first` and `last` events."""

    first: int
    last: int
    interval: Interval

    @property
    def label(self) -> str:
        """The range in words of a plot.

        >>> Bucket(3, 3, Interval(0, 0, 0, 1)).label, Bucket(4, 9, Interval(0, 0, 0, 1)).label
        ('3', '4–9')
        """
        return str(self.first) if self.first == self.last else f"{self.first}–{self.last}"


def activity_buckets(judged: Judgement, metric: str, buckets: int = BUCKETS) -> list[Bucket]:
    """A metric by length of the history: up to `buckets` ranges with about as many users each."""
    from intently.intervals import mean_interval

    values, activity = judged.of(metric), judged.activity
    edges = np.unique(np.quantile(activity, np.arange(1, buckets) / buckets, method="higher"))
    place = np.searchsorted(edges, activity, side="right")
    out = []
    for bucket in np.unique(place):
        inside = place == bucket
        lengths = activity[inside]
        out.append(Bucket(int(lengths.min()), int(lengths.max()), mean_interval(values[inside])))
    return out


def facts_of(case: Case, k: int, whole_end_s: float) -> dict[str, Any]:
    """What was asked of which data, in plain values."""
    train = case.train
    users, items = case.user_groups(), case.item_groups()
    return {
        "protocol": case.protocol,
        "target": case.target,
        "k": k,
        "cut": _moment(case.cut_s) if train.timed else None,
        "horizon_days": case.horizon_days,
        "observed_days": max(0.0, min(case.horizon_days, (whole_end_s - case.cut_s) / 86400.0)),
        "repeats": {None: "as learned from the shop", False: "masked", True: "allowed"}[case.repeats],
        "users_asked": len(case),
        "users_left_out": case.left_out,
        "true_items": len(case.truth),
        "users": {group: int(mask.sum()) for group, mask in users.items()},
        "items": {group: int(mask.sum()) for group, mask in items.items()},
        "catalogue": train.n_items,
        "events": train.n_events,
        "first_event": _moment(train.start_s) if train.timed else None,
        "last_event": _moment(train.end_s) if train.timed else None,
        "fingerprint": train.fingerprint,
    }


def provenance(arguments: Sequence[str] | None = None) -> dict[str, str]:
    """Version, Python, machine, date (UTC) and command (paths reduced to their last part)."""
    from intently import __version__

    given = sys.argv if arguments is None else arguments
    return {
        "intently": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {cores()} cores",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(word if "://" in word else word.rsplit("/", 1)[-1] for word in given),
    }


def _moment(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="seconds")


def _plain(value: Any) -> Any:
    """JSON values only: arrays as lists, numbers that are none as null."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return value.name
    return value
