"""Are the probabilities right? Metrics of P(event) against what happened, over labelled pairs.

Everything takes `labels` (n,) bool or 0/1 and `chance` (n,) in [0, 1], and optionally `weights` (n,)
>= 0, with which a pair counts several times: the bootstrap over users is the same metric under other
weights, and a sample of the pairs that never happened can be counted for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from intently.errors import InputError
from intently.schema import BoolArray, DoubleArray, LongArray

EPSILON = 1e-15
"""A chance is kept this far from 0 and 1 in the log loss: one sure mistake costs 34.5 nats."""

BINS = 15


def auc(labels: BoolArray, chance: DoubleArray, weights: DoubleArray | None = None) -> float:
    """Chance that a random yes is scored above a random no; a tie counts half. NaN without both.

    Three of the four (yes, no) pairs below are in order, so 0.75:

    >>> auc(np.array([0, 1, 0, 1]), np.array([0.1, 0.3, 0.4, 0.8]))
    0.75
    """
    y, p, w = _checked(labels, chance, weights)
    order = np.argsort(p, kind="stable")
    ordered, yes, weight = p[order], y[order], w[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))  # of tied chances
    found = np.add.reduceat(np.where(yes, weight, 0.0), starts)
    return float(auc_of_cells(found[None], np.add.reduceat(np.where(yes, 0.0, weight), starts)[None])[0])


def auc_of_cells(yes: DoubleArray, no: DoubleArray) -> DoubleArray:
    """AUC of each row, (rows,), from weights (rows, cells) in ascending order of the chance.

    Pairs of one cell count as tied. NaN where a row has no yes or no no.

    >>> auc_of_cells(np.array([[0.0, 1.0]]), np.array([[1.0, 1.0]]))
    array([0.75])
    """
    below = np.cumsum(no, axis=1) - no
    total = yes.sum(axis=1) * no.sum(axis=1)
    won = (yes * (below + 0.5 * no)).sum(axis=1)
    return np.where(total > 0, won / np.where(total > 0, total, 1.0), np.nan)


def log_loss(labels: BoolArray, chance: DoubleArray, weights: DoubleArray | None = None) -> float:
    """Mean of -log of the chance given to what happened, in nats; chances are clipped at EPSILON.

    >>> round(log_loss(np.array([1, 0]), np.array([0.5, 0.5])), 4)
    0.6931
    """
    y, p, w = _checked(labels, chance, weights)
    return float(np.average(losses(y, p), weights=w))


def losses(labels: BoolArray, chance: DoubleArray) -> DoubleArray:
    """The log loss of each pair, (n,)."""
    given = np.where(labels, chance, 1.0 - chance)
    lost: DoubleArray = -np.log(np.clip(given, EPSILON, 1.0))
    return lost


def brier(labels: BoolArray, chance: DoubleArray, weights: DoubleArray | None = None) -> float:
    """Mean squared distance between chance and outcome (Brier 1950).

    >>> brier(np.array([1, 0]), np.array([0.5, 0.0]))
    0.125
    """
    y, p, w = _checked(labels, chance, weights)
    return float(np.average((p - y) ** 2, weights=w))


@dataclass(frozen=True)
class Decisions:
    """What a threshold decides: weights of the four outcomes and the usual shares of them."""

    threshold: float
    true_yes: float
    false_yes: float
    true_no: float
    false_no: float

    @property
    def precision(self) -> float:
        """Right among those decided yes; 0 when nothing is."""
        return _share(self.true_yes, self.true_yes + self.false_yes)

    @property
    def recall(self) -> float:
        """Found among those that happened; 0 when nothing did."""
        return _share(self.true_yes, self.true_yes + self.false_no)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return _share(2 * self.true_yes, 2 * self.true_yes + self.false_yes + self.false_no)

    @property
    def accuracy(self) -> float:
        """Right decisions among all."""
        right = self.true_yes + self.true_no
        return _share(right, right + self.false_yes + self.false_no)


def decide(
    labels: BoolArray, chance: DoubleArray, threshold: float, weights: DoubleArray | None = None
) -> Decisions:
    """Yes where chance >= threshold.

    >>> d = decide(np.array([1, 0, 1, 0]), np.array([0.9, 0.6, 0.2, 0.1]), threshold=0.5)
    >>> d.precision, d.recall, d.f1, d.accuracy
    (0.5, 0.5, 0.5, 0.5)
    """
    y, p, w = _checked(labels, chance, weights)
    yes = p >= threshold
    return Decisions(
        threshold,
        true_yes=float(w[yes & y].sum()),
        false_yes=float(w[yes & ~y].sum()),
        true_no=float(w[~yes & ~y].sum()),
        false_no=float(w[~yes & y].sum()),
    )


def best_threshold(
    labels: BoolArray, chance: DoubleArray, weights: DoubleArray | None = None
) -> tuple[float, float]:
    """(threshold, F1) of the highest F1 among the chances given; the higher threshold on a tie.

    Choose it on validation, never on the pairs that are reported.

    >>> best_threshold(np.array([0, 1, 0, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
    (0.4, 1.0)
    """
    y, p, w = _checked(labels, chance, weights)
    order = np.argsort(-p, kind="stable")
    found, decided = np.cumsum((w * y)[order]), np.cumsum(w[order])
    last = np.flatnonzero(np.concatenate([p[order][1:] != p[order][:-1], [True]]))  # whole ties only
    f1 = 2 * found[last] / np.maximum(decided[last] + found[-1], 1e-300)
    best = int(np.argmax(f1))
    return float(p[order][last[best]]), float(f1[best])


# -- calibration -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reliability:
    """Pairs in bins of chance: what was said and what happened, (bins,) each; empty bins are gone."""

    said: DoubleArray  # mean chance
    happened: DoubleArray  # share of yes
    weight: DoubleArray  # pairs in the bin

    @property
    def error(self) -> float:
        """Expected calibration error: mean |said - happened|, weighted by the pairs of the bins."""
        return float(np.average(np.abs(self.said - self.happened), weights=self.weight))

    @property
    def worst(self) -> float:
        """The largest |said - happened| of any bin."""
        return float(np.abs(self.said - self.happened).max())


def bin_of(chance: DoubleArray, bins: int = BINS, *, equal_mass: bool = False) -> LongArray:
    """Bin of each chance, (n,), 0 .. bins - 1.

    Equal width: bin b holds b/bins <= chance < (b+1)/bins, the last one 1.0 too. Equal mass: the
    edges are quantiles of the chances, so that each bin holds about as many pairs; equal chances
    always share a bin, and so there can be fewer bins than asked for.
    """
    if bins < 1:
        raise InputError(f"bins must be at least 1, got {bins}", field="bins")
    if not equal_mass:
        return np.minimum((chance * bins).astype(np.int64), bins - 1)
    edges = np.unique(np.quantile(chance, np.arange(1, bins) / bins)) if bins > 1 else np.zeros(0)
    return np.searchsorted(edges, chance, side="right").astype(np.int64)


def reliability(
    labels: BoolArray,
    chance: DoubleArray,
    weights: DoubleArray | None = None,
    *,
    bins: int = BINS,
    equal_mass: bool = False,
) -> Reliability:
    """The reliability curve: mean chance against share of yes, by bin.

    >>> curve = reliability(np.array([0, 1, 1, 1]), np.array([0.1, 0.3, 0.8, 0.8]), bins=2)
    >>> curve.said.round(2), curve.happened, curve.weight
    (array([0.2, 0.8]), array([0.5, 1. ]), array([2., 2.]))
    """
    y, p, w = _checked(labels, chance, weights)
    place = bin_of(p, bins, equal_mass=equal_mass)
    weight = np.bincount(place, weights=w).astype(np.float64)
    held = weight > 0
    said = np.bincount(place, weights=w * p)[held] / weight[held]
    happened = np.bincount(place, weights=w * y)[held] / weight[held]
    return Reliability(said, happened, weight[held])


def calibration_error(
    labels: BoolArray,
    chance: DoubleArray,
    weights: DoubleArray | None = None,
    *,
    bins: int = BINS,
    equal_mass: bool = False,
) -> float:
    """Expected calibration error (Naeini et al., AAAI 2015): mean over pairs of |said - happened|.

    Equal-width bins are the usual definition; where nearly all chances are small they put nearly all
    pairs in one bin and look better than they should, and equal mass is the harder question.

    >>> round(calibration_error(np.array([0, 1, 1, 1]), np.array([0.1, 0.3, 0.8, 0.8]), bins=2), 4)
    0.25
    """
    return reliability(labels, chance, weights, bins=bins, equal_mass=equal_mass).error


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def _checked(
    labels: BoolArray, chance: DoubleArray, weights: DoubleArray | None
) -> tuple[BoolArray, DoubleArray, DoubleArray]:
    y, p = np.asarray(labels), np.asarray(chance, np.float64)
    w = np.ones(len(p)) if weights is None else np.asarray(weights, np.float64)
    if y.shape != p.shape or w.shape != p.shape or p.ndim != 1:
        raise InputError(f"labels {y.shape}, chances {p.shape} and weights {w.shape} must match in length")
    if len(p) == 0:
        raise InputError("no pairs to judge")
    if not ((p >= 0) & (p <= 1)).all():  # NaN fails too
        raise InputError(f"chances must lie in [0, 1], got {p.min()} to {p.max()}")
    if not ((w >= 0).all() and w.sum() > 0):
        raise InputError("weights must be 0 or more, and not all 0")
    return y.astype(bool), p, w
