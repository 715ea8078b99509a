"""How well one model answers one `Case`: every metric of every user, and what is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import polars as pl

from intently import progress
from intently.data import Histories
from intently.errors import InputError
from intently.evaluate.metrics import coverage, hits, novelty, per_user, recall
from intently.evaluate.protocol import GROUPS, Case
from intently.intervals import DRAWS, Interval, difference, lift, mean_intervals
from intently.schema import BoolArray, DoubleArray, FloatArray, IntArray, LongArray

ASKED_AT_ONCE = 1024
KS = (5, 10, 20)


class RankedLists(Protocol):
    """What `top_k` answers, best first; -1 and -inf where a list is shorter."""

    @property
    def items(self) -> IntArray:
        """(batch, k) dense item ids."""

    @property
    def scores(self) -> FloatArray:
        """(batch, k), larger is better."""


class Ranker(Protocol):
    """Whatever ranks the whole catalogue for a batch of histories."""

    def top_k(self, histories: Histories, k: int = 10, *, repeats: bool | None = None) -> RankedLists:
        """The best k items of each history."""


@dataclass(frozen=True)
class Judgement:
    """One model's answers to a case. Arrays are a value a user, in the case's order."""

    name: str
    ks: tuple[int, ...]
    users: IntArray  # (users,) dense ids
    n_true: LongArray  # (users,) size of the truth
    activity: LongArray  # (users,) events in the history
    values: dict[str, DoubleArray]  # "ndcg@10" -> (users,)
    by_items: dict[str, dict[str, DoubleArray]]  # item group -> "recall@10" -> (users,), NaN: no such truth
    groups: dict[str, BoolArray]  # user group -> (users,)
    coverage: dict[int, float]  # k -> share of the catalogue
    novelty: dict[int, float]  # k -> bits
    items: IntArray  # (users, largest k) what was answered

    def of(self, metric: str) -> DoubleArray:
        """The values of a metric such as "ndcg@10"; raises InputError for one that was not judged."""
        if metric not in self.values:
            raise InputError(f"no metric {metric!r}; judged: {', '.join(self.values)}", field="metric")
        return self.values[metric]

    def mean(self, metric: str, group: str = "all") -> float:
        """Mean over the users of a group; NaN for a group without users."""
        values = self._in_group(metric, group)
        return float(values.mean()) if len(values) else float("nan")

    def interval(self, metric: str, group: str = "all", draws: int = DRAWS) -> Interval:
        """Mean over the users of a group with its bootstrap interval."""
        return self.intervals((metric,), group, draws)[metric]

    def intervals(
        self, metrics: Sequence[str] | None = None, group: str = "all", draws: int = DRAWS
    ) -> dict[str, Interval]:
        """Several metrics (default: all) under the same draws."""
        names = list(self.values) if metrics is None else list(metrics)
        table = np.column_stack([self._in_group(name, group) for name in names])
        if len(table) == 0:
            nothing = Interval(float("nan"), float("nan"), float("nan"), 0)
            return dict.fromkeys(names, nothing)
        return dict(zip(names, mean_intervals(table, draws), strict=True))

    def by_item_group(self, k: int, draws: int = DRAWS) -> dict[str, Interval]:
        """Recall@k of hot, warm and cold items: users without such an item in their truth are left out."""
        out = {}
        for group, values in self.by_items.items():
            known = values[f"recall@{k}"]
            known = known[~np.isnan(known)]
            nothing = Interval(float("nan"), float("nan"), float("nan"), 0)
            out[group] = mean_intervals(known, draws)[0] if len(known) else nothing
        return out

    def against(self, other: Judgement, metric: str, draws: int = DRAWS) -> tuple[Interval, Interval]:
        """Paired (difference, relative lift) over `other` on the same users.

        Raises InputError when the two were not asked about the same users.
        """
        if not np.array_equal(self.users, other.users):
            raise InputError(f"{self.name} and {other.name} were judged on different users")
        ours, theirs = self.of(metric), other.of(metric)
        return difference(ours, theirs, draws), lift(ours, theirs, draws)

    @cached_property
    def means(self) -> dict[str, float]:
        """Mean of every metric over all users."""
        return {name: float(values.mean()) for name, values in self.values.items()}

    def frame(self) -> pl.DataFrame:
        """model, metric, group, mean, low, high, users; a row for each metric and non-empty group."""
        rows = []
        for group in ("all", *(g for g in GROUPS if self.groups[g].any())):
            for metric, interval in self.intervals(group=group).items():
                rows.append(
                    (self.name, metric, group, interval.value, interval.low, interval.high, interval.n)
                )
        columns = ["model", "metric", "group", "mean", "low", "high", "users"]
        return pl.DataFrame(rows, schema=columns, orient="row")

    def _in_group(self, metric: str, group: str) -> DoubleArray:
        values = self.of(metric)
        if group == "all":
            return values
        if group not in self.groups:
            raise InputError(f"unknown group {group!r}; allowed: all, {', '.join(self.groups)}")
        return values[self.groups[group]]


@dataclass(frozen=True)
class Answer:
    """What a model answered to all users of a case, (users, k)."""

    items: IntArray
    scores: FloatArray


def ask(model: Ranker, case: Case, k: int, *, name: str = "", of: Histories | None = None) -> Answer:
    """The best `k` items of every user of the case (or `of` others), in batches and with a progress bar."""
    histories = case.histories if of is None else of
    items, scores = [np.zeros((0, k), np.int32)], [np.zeros((0, k), np.float32)]
    with progress.track(f"asking {name or _name(model)}", total=len(histories)) as advance:
        for batch in histories.batches(ASKED_AT_ONCE):
            ranked = model.top_k(batch, k, repeats=case.repeats)
            items.append(ranked.items)
            scores.append(ranked.scores)
            advance(len(batch))
    return Answer(np.concatenate(items), np.concatenate(scores))


def judge(model: Ranker, case: Case, ks: Sequence[int] = KS, *, name: str = "") -> Judgement:
    """Ask `model` (fitted on `case.train`) about every user of the case and measure its answers.

    Raises InputError when `ks` is empty or holds a k below 1.
    """
    _check(ks)
    label = name or _name(model)
    return judge_answer(ask(model, case, max(ks), name=label).items, case, ks, label)


def judge_answer(items: IntArray, case: Case, ks: Sequence[int], name: str) -> Judgement:
    """Measure lists (users, largest k or more) that were answered already."""
    _check(ks)
    items = np.ascontiguousarray(items[:, : max(ks)])
    n_items = case.train.n_items
    counts = case.item_counts()
    by_items = {}
    for group, mask in case.item_groups().items():
        indptr, truth = case.only_items(mask)
        found, n_true = hits(items, indptr, truth), np.diff(indptr)
        by_items[group] = {f"recall@{k}": recall(found, n_true, k) for k in ks}
    return Judgement(
        name=name,
        ks=tuple(ks),
        users=case.histories.users,
        n_true=case.n_true,
        activity=case.histories.lengths,
        values=per_user(items, case.indptr, case.truth, ks),
        by_items=by_items,
        groups=case.user_groups(),
        coverage={k: coverage(items, n_items, k) for k in ks},
        novelty={k: novelty(items, counts, k) for k in ks},
        items=items,
    )


def _name(model: Ranker) -> str:
    return str(getattr(model, "name", type(model).__name__))


def _check(ks: Sequence[int]) -> None:
    if not ks or min(ks) < 1:
        raise InputError(f"ks must hold numbers of 1 or more, got {list(ks)}", field="ks")
