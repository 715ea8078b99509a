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
from typing import Any, ClassVar, Final

import numpy as np

from intently.data import Dataset, Histories
from intently.errors import InputError
from intently.evaluate.metrics import ndcg
from intently.models.base import State
from intently.models.composite import Composite, fitted_members, usual_members
from intently.models.pools import answered, held_back, normal_scores
from intently.models.space import Float, Space
from intently.schema import BoolArray, DoubleArray, FloatArray, LongArray

RULE: Final = {"linear": 1.0, "covisit": 0.5, "content": 1.5, "repeat": 1.0, "sequence": 1.0}
"""Weights of the fixed rule; other models weigh 1."""

ASKED: Final = 3000
"""Users on whom weights are searched."""

STEPS: Final = (0.0, 0.25, 0.5, 0.7, 1.4, 2.0, 4.0)
"""Factors tried on each weight in turn."""


class Blend(Composite):
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
        super().__init__(models)
        self.weights = weights if isinstance(weights, str) or weights is None else dict(weights)
        if isinstance(self.weights, str) and self.weights != "rule":
            raise InputError(f"weights must be 'rule', None or a number a member, got {weights!r}")
        if isinstance(self.weights, dict):
            _check(self.weights, None if self.models is None else list(self.models))
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
        self.members = fitted_members(given, dataset, self._start)
        self.shares = np.array(shares, np.float64)

    def _choose(self, dataset: Dataset, given: Mapping[str, Mapping[str, Any]]) -> DoubleArray:
        """Weights that rank best what is held back: coordinate ascent from the rule."""
        start = np.array([RULE.get(name, 1.0) for name in sorted(given)])
        case = held_back(dataset)
        if case is None or len(given) < 2:
            return start
        self.members = fitted_members(given, case.train, self._start)
        known = answered(self.members, case, met_count=self.repeats, most=ASKED)
        return search(known.pools.scores, known.right, known.n_true, start)

    def _scores(self, histories: Histories) -> FloatArray:
        total = np.zeros((len(histories), self.n_items), np.float32)
        for share, name in zip(self.shares, self.members, strict=True):
            if share > 0:
                part = normal_scores({name: self.members[name]}, histories, met_count=self.repeats)[0]
                total += np.float32(share) * part
        return total

    def _state(self) -> State:
        return {"shares": self.shares}

    def _restore(self, state: State) -> None:
        self.shares = state["shares"]

    @property
    def _n_members(self) -> int:
        return len(self.shares)


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
