"""Whitening: the line of algebra that takes away what all texts of a catalogue share."""

from __future__ import annotations

import numpy as np

from intently.schema import FloatArray


def whitening(vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(shift, bend), (d,) and (d, d): `(vectors - shift) @ bend` is centred and decorrelated.

    Su et al., "Whitening sentence representations" (2021). We learn it from the rows that are not zero,
    keep the old directions (ZCA), and shrink the covariance by d / (d + n) towards its mean eigenvalue: a
    large catalogue is whitened fully, one much smaller than d only centred. Fewer than two rows, or rows
    that are all the same, give (0, 1).
    """
    rows = vectors[np.abs(vectors).sum(axis=1) > 0].astype(np.float64)
    n, d = rows.shape
    nothing = np.zeros(d, np.float32), np.eye(d, dtype=np.float32)
    if n < 2:
        return nothing
    shift = rows.mean(axis=0)
    centred = rows - shift
    values, axes = np.linalg.eigh(centred.T @ centred / n)
    mean = float(values.mean())
    if mean < 1e-12:
        return nothing
    shrink = d / (d + n)
    scale = 1.0 / np.sqrt((1.0 - shrink) * np.maximum(values, 0.0) + shrink * mean)
    return shift.astype(np.float32), ((axes * scale) @ axes.T).astype(np.float32)


def whitened(vectors: FloatArray) -> FloatArray:
    """The same vectors, whitened over each other; zero rows stay zero. (n, d) float32."""
    shift, bend = whitening(vectors)
    known = np.abs(vectors).sum(axis=1) > 0
    out = np.zeros(vectors.shape, np.float32)
    out[known] = (vectors[known] - shift) @ bend
    return out
