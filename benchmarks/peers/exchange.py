"""What the driver and a peer hand each other: plain files, numpy only.

A peer runs in an environment of its own, without intently. The driver (peers_run.py) writes a folder:

    about.json                          {"n_items": .., "n_users": ..}
    train_ptr.npy, train_items.npy      a row a user, items oldest first: all that may be learned from
    asked.npy                           the train row of each asked user
    valid_ptr.npy, valid_items.npy      a row an asked user: the history, without the right answer
    valid_truth.npy                     the right item of each, to choose by
    test_ptr.npy, test_items.npy        the same one step later; the right answers stay with the driver

and the peer writes, after every epoch, so that nothing is lost when it is ended:

    result.json                         the curve, the costs, the settings
    valid_lists.npy, test_lists.npy     (asked, 10) items of the best epoch so far, -1 where shorter

Items are integers below n_items. Rows are in the layout of a CSR matrix.
"""

from __future__ import annotations

import json
import math
import re
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer[Any]]
K = 10
BATCH = 512


@dataclass(frozen=True)
class Rows:
    """Ragged rows of items: row b is `items[ptr[b]:ptr[b + 1]]`, oldest first."""

    ptr: Ints
    items: Ints

    def __len__(self) -> int:
        return len(self.ptr) - 1

    def row(self, b: int) -> Ints:
        """The items of one row."""
        return self.items[self.ptr[b] : self.ptr[b + 1]]

    def padded(self, length: int) -> Ints:
        """(rows, length): the latest items of each, shifted by one, zeros on the left.

        >>> Rows(np.array([0, 3, 4]), np.array([5, 0, 2, 7])).padded(2)
        array([[1, 3],
               [0, 8]])
        """
        out = np.zeros((len(self), length), np.int64)
        for b in range(len(self)):
            latest = self.row(b)[-length:]
            if len(latest):
                out[b, -len(latest) :] = latest + 1
        return out


@dataclass(frozen=True)
class Task:
    """Everything that a peer may know."""

    n_items: int
    train: Rows
    asked: Ints  # (asked,) row of `train`
    valid: Rows
    valid_truth: Ints
    test: Rows


def write_task(folder: Path, task: Task) -> None:
    """Write the folder that `read_task` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {"n_items": int(task.n_items), "n_users": len(task.train)}
    (folder / "about.json").write_text(json.dumps(about))
    for name, rows in (("train", task.train), ("valid", task.valid), ("test", task.test)):
        np.save(folder / f"{name}_ptr.npy", rows.ptr)
        np.save(folder / f"{name}_items.npy", rows.items)
    np.save(folder / "asked.npy", task.asked)
    np.save(folder / "valid_truth.npy", task.valid_truth)


def read_task(folder: Path) -> Task:
    """What the driver wrote."""

    def load(name: str) -> Ints:
        array: Ints = np.load(folder / f"{name}.npy", allow_pickle=False)
        return array

    train, valid, test = (Rows(load(f"{n}_ptr"), load(f"{n}_items")) for n in ("train", "valid", "test"))
    n_items = int(json.loads((folder / "about.json").read_text())["n_items"])
    return Task(n_items, train, load("asked"), valid, load("valid_truth"), test)


def best(scores: npt.NDArray[np.floating[Any]], seen: Rows, start: int, k: int = K) -> Ints:
    """(batch, k) items of the largest scores; rows `start...` of `seen` and -inf never, -1 fills up.

    scores: (batch, n_items), changed in place.
    """
    for b in range(len(scores)):
        scores[b, seen.row(start + b)] = -np.inf
    k_here = min(k, scores.shape[1])
    top = np.argpartition(-scores, k_here - 1, axis=1)[:, :k_here]
    values = np.take_along_axis(scores, top, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    values = np.take_along_axis(values, order, axis=1)
    lists = np.where(np.isfinite(values), np.take_along_axis(top, order, axis=1), -1)
    return np.pad(lists, ((0, 0), (0, k - k_here)), constant_values=-1).astype(np.int32)


def ndcg(lists: Ints, truth: Ints) -> float:
    """Mean NDCG of lists with one right item a row: 1 / log2(rank + 1), 0 where it is missing.

    >>> round(ndcg(np.array([[4, 7], [1, 2]]), np.array([7, 9])), 4)
    0.3155
    """
    found = lists == truth[:, None]
    return float((found @ (1.0 / np.log2(np.arange(2, lists.shape[1] + 2)))).mean())


class Diary:
    """The curve of one training: validation NDCG@10 and CPU seconds so far, after each epoch.

    Answering and judging do not count as training; the clock stands still for them. Kept are the lists
    of the epoch that is best on validation. out: None keeps the curve in memory only.
    minutes: CPU minutes of training after which to stop, 0 for no limit. patience: epochs without a
    better figure after which to stop. keep: False for who hands over other lists in the end.
    facts: what else result.json says.
    """

    def __init__(
        self,
        task: Task,
        out: Path | None = None,
        minutes: float = 0.0,
        patience: int = 10**9,
        keep: bool = True,
        facts: dict[str, Any] | None = None,
    ) -> None:
        self.task, self.out, self.minutes, self.patience = task, out, minutes, patience
        self.keep = keep
        self.facts = facts or {}
        self.curve: list[dict[str, Any]] = []
        self.stopped = "epochs"
        self.apart = 0.0
        self.began = cpu_s()

    def trained_cpu_s(self) -> float:
        """CPU seconds of all threads since the diary was begun, without those of judging."""
        return cpu_s() - self.began - self.apart

    def epoch(self, answer: Callable[[Rows], Ints], **facts: Any) -> bool:
        """Judge what was learned so far; False when it is time to stop."""
        spent, before = self.trained_cpu_s(), cpu_s()
        lists = answer(self.task.valid)
        figure = ndcg(lists, self.task.valid_truth)
        better = figure > max((point["ndcg@10"] for point in self.curve), default=-math.inf)
        self.curve.append({"cpu_s": round(spent, 2), "ndcg@10": round(figure, 6)} | facts)
        if better and self.keep and self.out is not None:
            np.save(self.out / "valid_lists.npy", lists)
            np.save(self.out / "test_lists.npy", answer(self.task.test))
        since = len(self.curve) - 1 - best_of(self.curve)
        if self.minutes and spent >= 60 * self.minutes:
            self.stopped = "minutes"
        elif since >= self.patience:
            self.stopped = "patience"
        self.write()
        print(f"epoch {len(self.curve)}: {spent:.1f} CPU s, validation NDCG@10 {figure:.5f}", flush=True)
        self.apart += cpu_s() - before
        return self.stopped == "epochs"

    def write(self) -> None:
        """Write result.json."""
        if self.out is None:
            return
        result = {"curve": self.curve, "stopped": self.stopped, "peak_rss_mb": round(peak_rss_mb())}
        (self.out / "result.json").write_text(json.dumps(result | self.facts))


def best_of(curve: list[dict[str, Any]]) -> int:
    """Place of the best epoch, the earliest of equals."""
    return int(np.argmax([point["ndcg@10"] for point in curve]))


def reached(curve: list[dict[str, Any]], figure: float) -> float | None:
    """CPU seconds until validation first came to `figure`; None when it never did.

    >>> reached([{"cpu_s": 5.0, "ndcg@10": 0.1}, {"cpu_s": 9.0, "ndcg@10": 0.3}], 0.2)
    9.0
    """
    return next((float(point["cpu_s"]) for point in curve if point["ndcg@10"] >= figure), None)


def cpu_s() -> float:
    """CPU seconds of this process and its ended children, all threads."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def peak_rss_mb() -> float:
    """Peak of resident memory of this process."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    kib = int(found.group(1)) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib / 1024
