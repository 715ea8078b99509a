"""Two lines of algebra that bend vectors: away from what all texts share, and from what users do not heed."""

from __future__ import annotations

import numpy as np

from intently.schema import DoubleArray, FloatArray


def whitening(vectors: FloatArray, strength: float = 1.0) -> tuple[FloatArray, FloatArray]:
    """(shift, bend), (d,) and (d, d): `(vectors - shift) @ bend` is centred and decorrelated.

    Su et al., "Whitening sentence representations" (2021). We learn it from the rows that are not zero,
    keep the old directions (ZCA), and shrink the covariance by d / (d + n) towards its mean eigenvalue: a
    large catalogue is whitened fully, one much smaller than d only centred. strength: 1 whitens, 0 only
    centres; between them the standard deviation of an axis is raised to 1 - strength. Fewer than two rows,
    or rows that are all the same, give (0, 1).
    """
    rows = vectors[np.abs(vectors).sum(axis=1) > 0].astype(np.float64)
    n, d = rows.shape
    if n < 2:
        return np.zeros(d, np.float32), np.eye(d, dtype=np.float32)
    shift = rows.mean(axis=0)
    centred = rows - shift
    bend = _root(centred.T @ centred / n, n, strength)
    if bend is None:
        return np.zeros(d, np.float32), np.eye(d, dtype=np.float32)
    return shift.astype(np.float32), bend


def whitened(vectors: FloatArray, strength: float = 1.0) -> FloatArray:
    """The same vectors, whitened over each other; zero rows stay zero. (n, d) float32."""
    shift, bend = whitening(vectors, strength)
    known = np.abs(vectors).sum(axis=1) > 0
    out = np.zeros(vectors.shape, np.float32)
    out[known] = (vectors[known] - shift) @ bend
    return out


def levelling(gaps: FloatArray, weights: FloatArray) -> FloatArray:
    """bend, (d, d): after it, `gaps` (n, d), weighted by `weights` (n,), are as wide in every direction.

    A gap lies between two vectors that belong together. Directions in which such pairs differ much come to
    count little, whatever the catalogue does there: within-class covariance normalisation (Hatch et al.,
    2006), with users for classes. Shrunk as whitening is. No gap wider than nought gives 1.
    """
    n, d = gaps.shape
    share = (weights / max(float(weights.sum()), 1e-12))[:, None]
    bend = _root((gaps * share).astype(np.float64).T @ gaps, n, 1.0)
    return np.eye(d, dtype=np.float32) if bend is None else bend


def _root(covariance: DoubleArray, n: int, strength: float) -> FloatArray | None:
    """covariance ** (-strength / 2), shrunk as n rows ask for; None where nothing varies."""
    values, axes = np.linalg.eigh(covariance)
    mean = float(values.mean())
    if mean < 1e-12:
        return None
    shrink = len(values) / (len(values) + n)
    scale = ((1.0 - shrink) * np.maximum(values, 0.0) + shrink * mean) ** (-strength / 2.0)
    bend: FloatArray = ((axes * scale) @ axes.T).astype(np.float32)
    return bend
