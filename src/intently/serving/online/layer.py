"""The last layer of the ranking, learned while the shop runs: a Bayesian logistic model of few features.

Dynamic logistic regression (McCormick, Raftery, Madigan & Burd, Biometrics 2012): a normal posterior over
the weights, one Newton step a list of candidates, and a precision that is forgotten at a steady rate, so that
old lists count less. We differ: what is forgotten falls back to the prior, not to nothing, so that weights
which no list speaks of return to where they began. The prior is the frozen model: weight 1 on what it says,
0 on all else; before anything was learned the answer is the frozen model's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from intently.errors import ArtifactError
from intently.models.calibration import sigmoid
from intently.schema import DoubleArray
from intently.serving.online.features import FEATURES, N

PRIOR = 20.0
"""Precision of each weight before anything was learned."""

MEMORY_LISTS = 2000.0
"""Lists after which what one taught has faded to 1 / e."""

LONGEST_STEP = 2.0
"""Of one weight by one list."""


class LastLayer:
    """`score` and `learn`; copies of the weights are swapped whole, so that reading needs no lock."""

    def __init__(self, memory_lists: float = MEMORY_LISTS, prior: float = PRIOR) -> None:
        self.memory_lists, self.prior = memory_lists, prior
        self._start = np.zeros(N)
        self._start[FEATURES.index("frozen")] = 1.0
        self.weights: DoubleArray = self._start.copy()
        self.precision: DoubleArray = np.eye(N) * prior
        self.n_lists = 0

    def score(self, table: DoubleArray) -> DoubleArray:
        """(rows,) log-odds of a table (rows, N)."""
        return np.asarray(table @ self.weights, np.float64)

    def learn(self, table: DoubleArray, labels: DoubleArray, importance: DoubleArray | None = None) -> None:
        """Take in one list: labels (rows,) 0 or 1; importance (rows,): rows that one stands for."""
        chance = sigmoid(table @ self.weights)
        spread, gap = chance * (1.0 - chance), labels - chance
        if importance is not None:
            spread, gap = spread * importance, gap * importance
        kept = np.exp(-1.0 / self.memory_lists)
        back = (1.0 - kept) * self.prior
        precision = kept * self.precision + (table * spread[:, None]).T @ table
        precision[np.arange(N), np.arange(N)] += back
        slope = gap @ table + back * (self._start - self.weights)
        step = np.linalg.solve(precision, slope)
        longest = float(np.abs(step).max())
        if longest > LONGEST_STEP:
            step *= LONGEST_STEP / longest
        self.precision, self.weights = precision, self.weights + step
        self.n_lists += 1

    def named(self) -> dict[str, float]:
        """Weight by feature."""
        return {name: round(float(weight), 5) for name, weight in zip(FEATURES, self.weights, strict=True)}

    def state(self) -> dict[str, Any]:
        """All that was learned, as JSON."""
        return {
            "features": list(FEATURES),
            "n_lists": self.n_lists,
            "weights": self.weights.tolist(),
            "precision": self.precision.tolist(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave; raises ArtifactError when it is of other features or not finite."""
        weights, precision = np.array(state["weights"], float), np.array(state["precision"], float)
        good = weights.shape == (N,) and precision.shape == (N, N)
        if list(state["features"]) != list(FEATURES) or not good:
            raise ArtifactError("the online layer on disk has other features; it begins anew")
        if not (np.isfinite(weights).all() and np.isfinite(precision).all()):
            raise ArtifactError("the online layer on disk holds numbers that are not finite; it begins anew")
        self.weights, self.precision, self.n_lists = weights, precision, int(state["n_lists"])
