"""Raw scores to probabilities, and probabilities to decisions."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq, minimize

from intently.schema import DoubleArray, FloatArray


def platt(raw: DoubleArray, labels: FloatArray) -> DoubleArray:
    """(slope, shift) of the logistic curve that makes raw scores probabilities; slope stays above 0.

    Platt (1999), with his smoothed targets; we keep the slope within [0.2, 5] so that the order stays.
    """
    up, down = float(labels.sum()), float(len(labels) - labels.sum())
    target = np.where(labels > 0, (up + 1) / (up + 2), 1 / (down + 2))

    def loss(at: DoubleArray) -> tuple[float, DoubleArray]:
        z = at[0] * raw + at[1]
        gap = sigmoid(z) - target
        value = float(np.mean(np.logaddexp(0.0, z) - target * z))
        return value, np.array([np.mean(gap * raw), np.mean(gap)])

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.2, 5), (-5, 5)])
    return np.asarray(found.x, np.float64)


def sigmoid(z: DoubleArray) -> DoubleArray:
    """1 / (1 + exp(-z)) without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)), np.float64)


def shift_to(mean: float, raw: DoubleArray) -> float:
    """The shift with which `sigmoid(raw + shift)` has this mean, which must lie between 0 and 1.

    >>> round(shift_to(0.5, np.array([-3.0, 1.0])), 6)
    1.0
    """
    low, high = -float(raw.max()) - 50.0, 50.0 - float(raw.min())
    return float(brentq(lambda shift: float(sigmoid(raw + shift).mean()) - mean, low, high))


def best_f1(probabilities: DoubleArray, labels: FloatArray) -> float:
    """The probability above which saying yes gives the best F1."""
    order = np.argsort(-probabilities)
    hits = np.cumsum(labels[order])
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + max(float(labels.sum()), 1.0))
    return float(probabilities[order[int(np.argmax(f1))]])
