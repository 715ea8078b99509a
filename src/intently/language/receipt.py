"""The receipt of a tuning: what it cost and what it brought, in plain figures."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from intently.errors import ArtifactError
from intently.intervals import Interval

FILE = "receipt.json"
COSTS = ("method", "trained", "min CPU", "peak MB", "own MB")
"""Columns of `rows` that say what a method cost."""


@dataclass(frozen=True)
class Group:
    """One group of test cases: the metric before and after, and the paired difference, with intervals."""

    before: Interval
    after: Interval
    gain: Interval


@dataclass(frozen=True)
class Receipt:
    """Cost and gain of one method.

    trained, parameters: of the model. cpu_s, wall_s: of the training, without the two tests. peak_mb: of
    the whole process that trained. disk_mb: of the folder that was written; own_mb: of the trained
    weights alone. validation: best figure. stopped: why the training ended. groups: "all", and warm and
    cold items where the objective knows them.
    """

    objective: str
    method: str
    base: str
    metric: str
    trained: int
    parameters: int
    steps: int
    cpu_s: float
    wall_s: float
    peak_mb: float
    disk_mb: float
    own_mb: float
    validation: float
    stopped: str
    settings: dict[str, float | int | str]
    groups: dict[str, Group]

    @property
    def share(self) -> float:
        """Trained share of all parameters."""
        return self.trained / max(self.parameters, 1)

    @property
    def gain(self) -> Interval:
        """The paired difference over all test cases: what decides."""
        return self.groups["all"].gain

    @property
    def better(self) -> bool:
        """Whether the whole interval of the difference lies above nothing."""
        return self.gain.low > 0.0

    def write(self, folder: Path) -> None:
        """receipt.json into `folder`."""
        text = json.dumps(asdict(self) | {"better": self.better}, indent=1)
        (folder / FILE).write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> Receipt:
    """The receipt in `folder`; raises ArtifactError when there is none that can be read."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
        found.pop("better")
        groups = {
            name: Group(**{side: Interval(**value) for side, value in group.items()})
            for name, group in found.pop("groups").items()
        }
        return Receipt(**found, groups=groups)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArtifactError(f"{folder / FILE} is missing or damaged: {error}") from error


def verdict(receipts: Sequence[Receipt]) -> tuple[Receipt | None, str]:
    """The best of those that beat the untuned model by more than the interval, and what to say of it."""
    best = max(receipts, key=lambda receipt: receipt.gain.value)
    good = [receipt for receipt in receipts if receipt.better]
    told = f"{best.method}: {_signed(best.gain)} in {best.metric}"
    if not good:
        return None, f"the untuned model is kept: nothing beat it by more than the interval (best: {told})"
    winner = max(good, key=lambda receipt: receipt.gain.value)
    return winner, f"{winner.method} wins: {_signed(winner.gain)} in {winner.metric} over the untuned model"


def rows(receipts: Sequence[Receipt]) -> list[dict[str, str]]:
    """One line a method for a table: costs, then before -> after of each group."""
    return [_row(receipt) for receipt in receipts]


def _row(receipt: Receipt) -> dict[str, str]:
    row = {
        "method": receipt.method,
        "trained": f"{receipt.trained:,} ({receipt.share:.1%})",
        "min CPU": f"{receipt.cpu_s / 60:.1f}",
        "peak MB": f"{receipt.peak_mb:,.0f}",
        "own MB": f"{receipt.own_mb:.1f}",
    }
    for name, group in receipt.groups.items():
        row[name] = f"{group.before.value:.4f} > {group.after.value:.4f}"
        row[f"{name} gain"] = f"{group.gain.low:+.4f} to {group.gain.high:+.4f}"
    return row


def card(receipt: Receipt, told: str, others: Sequence[Receipt] = ()) -> str:
    """A model card, in Markdown, that holds the receipts of all methods that were tried."""
    lines = [
        f"# {receipt.objective}, {receipt.method}",
        "",
        f"Tuned by Intently from {receipt.base}: {told}.",
        "",
        f"{receipt.metric} on held-back behaviour, untuned > tuned, with {100 * receipt.gain.level:.4g} %",
        "bootstrap intervals of the paired difference. Warm items were seen in training, cold items never.",
        "",
        *markdown([receipt, *others]),
        "",
        f"Trained {receipt.trained:,} of {receipt.parameters:,} parameters in {receipt.steps} steps,"
        f" {receipt.wall_s / 60:.1f} minutes; ended: {receipt.stopped}.",
        "",
        "Settings: " + ", ".join(f"{name} {value}" for name, value in receipt.settings.items()) + ".",
        "",
        "Intended use: vectors of the texts of the shop that it was tuned on.",
    ]
    return "\n".join(lines) + "\n"


def markdown(receipts: Sequence[Receipt]) -> list[str]:
    """The table's lines."""
    table = rows(receipts)
    names = list(dict.fromkeys(name for row in table for name in row))
    body = ["| " + " | ".join(row.get(name, "") for name in names) + " |" for row in table]
    return ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names), *body]


def peak_mb() -> float:
    """Largest memory that this process ever held, in MB; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    most = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return most / 2**20 if sys.platform == "darwin" else most / 2**10


def size_mb(folder: Path) -> float:
    """MB of all files in `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def plain(receipt: Receipt) -> dict[str, Any]:
    """For JSON."""
    return asdict(receipt) | {"share": receipt.share, "better": receipt.better}


def _signed(interval: Interval) -> str:
    return f"{interval.value:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"
