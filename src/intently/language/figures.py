"""Figures of a classifier, from chances; and what is fitted to them: threshold and temperature."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import rankdata

from intently.schema import BoolArray, DoubleArray, IntArray


def classified(labels: IntArray, chances: DoubleArray, threshold: float = 0.5) -> dict[str, float]:
    """accuracy, macro_f1, log_loss; with two classes also precision, recall, f1 and auc of the second.

    labels: (n,) classes. chances: (n, classes), rows add up to 1. threshold: of the second of two
    classes; with more, the likeliest class is chosen.

    >>> chances = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]])
    >>> found = classified(np.array([0, 0, 1, 1], np.int32), chances)
    >>> found["accuracy"], found["precision"], found["recall"], found["auc"]
    (0.5, 0.5, 0.5, 0.75)
    """
    chosen = decided(chances, threshold)
    found = {
        "accuracy": float((chosen == labels).mean()),
        "macro_f1": float(np.mean([_f1(labels == c, chosen == c)[2] for c in np.unique(labels)])),
        "log_loss": float(-np.log(chances[np.arange(len(labels)), labels].clip(1e-12)).mean()),
    }
    if chances.shape[1] == 2:
        precision, recall, f1 = _f1(labels == 1, chosen == 1)
        found |= {"precision": precision, "recall": recall, "f1": f1}
        found["auc"] = float(np.mean(places(labels, chances[:, 1])))
    return found


def decided(chances: DoubleArray, threshold: float) -> IntArray:
    """The class of each row, (n,)."""
    if chances.shape[1] == 2:
        second: IntArray = (chances[:, 1] >= threshold).astype(np.int32)
        return second
    likeliest: IntArray = chances.argmax(axis=1).astype(np.int32)
    return likeliest


def places(labels: IntArray, chance: DoubleArray) -> DoubleArray:
    """For each example of class 1, the share of class 0 that has less of a chance (ties: half).

    Their mean is the AUC; one value a positive lets it have an interval. 0.5 where a class is absent.

    >>> places(np.array([0, 0, 1, 1], np.int32), np.array([0.1, 0.6, 0.8, 0.3])).tolist()
    [1.0, 0.5]
    """
    yes = labels == 1
    n_no = int((~yes).sum())
    if not yes.any() or not n_no:
        return np.full(max(1, int(yes.sum())), 0.5)
    below = rankdata(chance)[yes] - rankdata(chance[yes])
    return np.asarray(below / n_no, np.float64)


def best_threshold(labels: IntArray, chance: DoubleArray, *, macro: bool = False) -> float:
    """The threshold with the best F1 of class 1, or (`macro`) the best mean F1 of both classes.

    Tried are the middles between neighbouring chances; the one nearest to 0.5 wins a tie. 0.5 where
    only one class is present.

    >>> best_threshold(np.array([0, 0, 1, 1], np.int32), np.array([0.1, 0.2, 0.3, 0.4]))
    0.25
    """
    yes = labels == 1
    if yes.all() or not yes.any():
        return 0.5
    values = np.unique(chance)
    tried = (values[1:] + values[:-1]) / 2 if len(values) > 1 else np.array([0.5])
    order = np.sort(chance)
    taken = len(chance) - np.searchsorted(order, tried)  # how many are called 1
    hits = yes.sum() - np.searchsorted(np.sort(chance[yes]), tried)
    score = 2 * hits / (taken + yes.sum())
    if macro:
        refused = len(chance) - taken
        right = refused - (yes.sum() - hits)
        score = (score + 2 * right / (refused + (~yes).sum())) / 2
    best = np.flatnonzero(score >= score.max() - 1e-12)
    return float(tried[best[np.abs(tried[best] - 0.5).argmin()]])


def best_temperature(labels: IntArray, logits: DoubleArray) -> float:
    """The number that logits are divided by for the smallest log loss (Guo et al., 2017), 0.05 to 20.

    As Platt (1999) does for two classes, the truth is taken to be right in n + 1 of n + 2 cases only, or a
    classifier without a mistake among a few texts would be made as sure as can be.
    """
    n, n_classes = logits.shape
    doubt = 1.0 / (n + 2.0)
    truth = np.full(logits.shape, doubt / (n_classes - 1))
    truth[np.arange(n), labels] = 1.0 - doubt

    def log_loss(exponent: float) -> float:
        return float(-(truth * log_softmax(logits / np.exp(exponent), axis=1)).sum(axis=1).mean())

    found = minimize_scalar(log_loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(found.x))


def _f1(truth: BoolArray, said: BoolArray) -> tuple[float, float, float]:
    """precision, recall, F1; nought where nothing was said or true."""
    hits = int((truth & said).sum())
    precision = hits / max(1, int(said.sum()))
    recall = hits / max(1, int(truth.sum()))
    return precision, recall, 2 * hits / max(1, int(said.sum()) + int(truth.sum()))
