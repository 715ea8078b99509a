"""Normalised scores of several models, added up.

Models disagree in scale and, user by user, in how sure they are. Each member's scores are divided by the
mean of that user's TOP largest ones, so that a member with a clear favourite speaks up and one with a
flat list stays quiet; then they are added with a weight a member. The weights are a fixed rule, given,
or chosen on each user's last event. Score normalisation before a linear combination goes back to Fox &
Shaw (TREC-2, 1994); we differ by dividing by the head of the list instead of its range or deviation,
which was worth 5 % of NDCG@10 over z-scores where we measured it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np

from intently import progress
from intently.data import Dataset, Histories
from intently.errors import ArtifactError, InputError
from intently.evaluate.metrics import hits, ndcg
from intently.evaluate.protocol import Case
from intently.models.base import BATCH, REPEAT_SHARE, Recommender, State
from intently.models.ranking import top_k
from intently.models.space import Float, Space
from intently.models.validation import last_days, last_events
from intently.schema import BoolArray, DoubleArray, FloatArray, IntArray, LongArray

RULE: Final = {"linear": 1.0, "covisit": 0.5, "content": 1.5, "repeat": 1.0, "sequence": 1.0}
"""Weights of the fixed rule; other models weigh 1."""

LOGITS: Final = ("sequence",)
"""Members whose scores are logarithms: a softmax comes first."""

TOP: Final = 50
POOL: Final = 100
"""Items of each member among which weights are searched."""

ASKED: Final = 3000
"""Users on whom weights are searched."""

STEPS: Final = (0.0, 0.25, 0.5, 0.7, 1.4, 2.0, 4.0)
"""Factors tried on each weight in turn."""


class Blend(Recommender):
    """Sum over members of weight * score / mean of the user's largest scores.

    models: member -> its settings, or names; None: linear and covisit, content where the items have
        text vectors, repeat where the shop's customers buy again.
    weights: "rule" (RULE), a number for each member, or None: chosen for NDCG@10 on what `fit` holds
        back from itself, which fits every member twice.
    """

    name = "blend"
    SPACE: ClassVar[Space] = {
        f"weights.{member}": Float(0.0, 3.0)
        for member in ("linear", "covisit", "content", "repeat", "sequence")
    }

    def __init__(
        self,
        models: Mapping[str, Mapping[str, Any]] | Sequence[str] | None = None,
        weights: Mapping[str, float] | str | None = "rule",
    ) -> None:
        super().__init__()
        self.models = _named(models)
        self.weights = weights if isinstance(weights, str) or weights is None else dict(weights)
        if isinstance(self.weights, str) and self.weights != "rule":
            raise InputError(f"weights must be 'rule', None or a number a member, got {weights!r}")
        if isinstance(self.weights, dict):
            _check(self.weights, None if self.models is None else list(self.models))
        self.members: dict[str, Recommender] = {}  # fitted, by name
        self.shares = np.zeros(0)  # weight of each member, in the members' order

    def _fit(self, dataset: Dataset) -> None:
        given = self.models or usual_members(dataset)
        if isinstance(self.weights, dict):
            _check(self.weights, list(given))
            shares = [float(self.weights.get(name, 0.0)) for name in sorted(given)]
        elif self.weights == "rule":
            shares = [RULE.get(name, 1.0) for name in sorted(given)]
        else:
            shares = list(self._choose(dataset, given))
        self.members = _fitted(given, dataset)
        self.shares = np.array(shares, np.float64)

    def _choose(self, dataset: Dataset, given: Mapping[str, Mapping[str, Any]]) -> DoubleArray:
        """Weights that rank best what is held back: coordinate ascent from the rule."""
        start = np.array([RULE.get(name, 1.0) for name in sorted(given)])
        case = last_days(dataset) if dataset.repeat_share > REPEAT_SHARE else last_events(dataset)
        if case is None or len(given) < 2:
            return start
        self.members = _fitted(given, case.train)
        pools, parts, n_true = self._pools(case)
        return search(pools, parts, n_true, start)

    def _pools(self, case: Case) -> tuple[FloatArray, BoolArray, LongArray]:
        """(members, users, places) scores, (users, places) right or wrong, (users,) items to be found.

        The places hold every item that is among the POOL best of a member.
        """
        rows = np.arange(len(case))
        if len(rows) > ASKED:
            rows = np.sort(np.random.default_rng(0).permutation(len(rows))[:ASKED])
        asked = case.histories.select(rows)
        scores, right = [], []
        for first in range(0, len(rows), BATCH):
            batch = asked.select(np.arange(first, min(first + BATCH, len(rows))))
            parts = [self._part(name, batch) for name in self.members]
            if not self.repeats:
                for part in parts:
                    part[batch.rows, batch.items] = -np.inf
            width = min(POOL, parts[0].shape[1])
            places = np.concatenate([top_k(part, width).items for part in parts], axis=1)
            places = _once(places)
            line = np.arange(len(batch))[:, None]
            scores.append(np.stack([np.where(places >= 0, part[line, places], -np.inf) for part in parts]))
            truth = [case.truth[case.indptr[r] : case.indptr[r + 1]] for r in rows[first : first + BATCH]]
            indptr = np.concatenate([[0], np.cumsum([len(t) for t in truth])])
            right.append(hits(places, indptr, np.concatenate(truth)))
        return np.concatenate(scores, axis=1), np.concatenate(right), case.n_true[rows]

    def _part(self, name: str, histories: Histories) -> FloatArray:
        """Normalised scores of one member, (batch, n_items)."""
        scores = self.members[name].scores(histories)
        return normalised(scores, histories, met_count=self.repeats, logits=name in LOGITS)

    def _scores(self, histories: Histories) -> FloatArray:
        total = np.zeros((len(histories), self.n_items), np.float32)
        for share, name in zip(self.shares, self.members, strict=True):
            if share > 0:
                total += np.float32(share) * self._part(name, histories)
        return total

    def _state(self) -> State:
        return {"shares": self.shares}

    def _restore(self, state: State) -> None:
        self.shares = state["shares"]

    def save(self, folder: Path) -> None:
        """Write this model and, under members/, the models that it adds up."""
        super().save(folder)
        for name, member in self.members.items():
            member.save(folder / "members" / name)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The model that `save` wrote, with its members; raises ArtifactError when one is missing."""
        from intently.models import model_class

        model = super().load(folder)
        names = sorted(path.name for path in (folder / "members").glob("*") if path.is_dir())
        if len(names) != len(model.shares):
            raise ArtifactError(f"{folder} has {len(names)} members, expected {len(model.shares)}")
        model.members = {name: model_class(name).load(folder / "members" / name) for name in names}
        return model


def normalised(scores: FloatArray, histories: Histories, *, met_count: bool, logits: bool) -> FloatArray:
    """Scores over the mean of each row's largest ones; -inf becomes the row's least finite score.

    met_count: whether items of the history count among the largest ones.
    """
    n_items = scores.shape[1]
    width = min(max(n_items // 20, 1), TOP)
    scaled: FloatArray = np.array(scores, np.float32)
    if logits:
        scaled -= scaled.max(axis=1, keepdims=True, initial=-1e30)
        np.exp(scaled, out=scaled)
    finite = np.isfinite(scaled)
    least = np.min(scaled, axis=1, where=finite, initial=np.inf, keepdims=True)
    np.copyto(scaled, np.where(np.isfinite(least), least, 0.0), where=~finite)
    open_items = scaled
    if not met_count:
        open_items = scaled.copy()
        open_items[histories.rows, histories.items] = 0.0
    head = np.partition(open_items, n_items - width, axis=1)[:, n_items - width :]
    level = head.mean(axis=1, keepdims=True)
    level[level <= 1e-12] = 1.0
    out: FloatArray = scaled / level
    return out


def search(scores: FloatArray, right: BoolArray, n_true: LongArray, start: DoubleArray) -> DoubleArray:
    """Weights (members,) of the best mean NDCG@10 found by changing one at a time, three rounds.

    scores: (members, users, places), -inf where a place is empty. right: (users, places) bool.
    """

    def value(weights: DoubleArray) -> float:
        total = np.zeros(right.shape, np.float32)
        for weight, part in zip(weights, scores, strict=True):
            total += np.float32(weight) * np.where(np.isfinite(part), part, -1e6)
        order = np.argsort(-total, axis=1, kind="stable")[:, :10]
        return float(np.nanmean(ndcg(np.take_along_axis(right, order, axis=1), n_true, 10)))

    best, score = np.array(start, np.float64), value(start)
    for _ in range(3):
        before = score
        for member in range(len(best)):
            for step in STEPS:
                tried = best.copy()
                tried[member] *= step
                if tried.sum() > 0 and (reached := value(tried)) > score:
                    best, score = tried, reached
        if score <= before:
            break
    chosen: DoubleArray = best / best.max()
    return chosen


def _once(places: IntArray) -> IntArray:
    """Sorted rows with every later copy of an item replaced by -1."""
    ordered = np.sort(places, axis=1)
    ordered[:, 1:][ordered[:, 1:] == ordered[:, :-1]] = -1
    return ordered


def _fitted(given: Mapping[str, Mapping[str, Any]], dataset: Dataset) -> dict[str, Recommender]:
    from intently.models import model_class

    out = {}
    with progress.track("fitting members", len(given)) as advance:
        for name in sorted(given):
            with progress.part(name):
                out[name] = model_class(name)(**given[name]).fit(dataset)
            advance(1)
    return out


def usual_members(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """The members of a blend that names none, with their settings."""
    names = ["linear", "covisit"]
    if dataset.vectors is not None:
        names.append("content")
    if dataset.repeat_share > REPEAT_SHARE:
        names.append("repeat")
    return {name: {} for name in names}


def _named(
    models: Mapping[str, Mapping[str, Any]] | Sequence[str] | None,
) -> dict[str, dict[str, Any]] | None:
    if models is None:
        return None
    if isinstance(models, str) or not models:
        raise InputError(f"models must name at least one member, got {models!r}", field="models")
    if isinstance(models, Mapping):
        return {name: dict(settings) for name, settings in models.items()}
    return {name: {} for name in models}


def _check(weights: Mapping[str, float], names: list[str] | None) -> None:
    """Refuse weights of nobody, negative ones, and nothing but zeros."""
    for name, weight in weights.items():
        if names is not None and name not in names:
            allowed = ", ".join(sorted(names))
            raise InputError(f"weight of {name!r}, which is no member; members: {allowed}", field="weights")
        if not (math.isfinite(weight) and weight >= 0):
            raise InputError(f"weight of {name!r} must be 0 or more, got {weight}", field="weights")
    if not any(weights.values()):
        raise InputError("at least one weight must be above 0", field="weights")
