"""The main directions of a catalogue's text vectors."""

from __future__ import annotations

import numpy as np

from intently.schema import FloatArray


def principal(vectors: FloatArray, width: int) -> FloatArray:
    """(n, <= width) principal components of text vectors, each scaled to unit variance.

    Scaled, what tells two close products apart reaches the network as strongly as their category.
    """
    mean, axes = main_axes(vectors, width)
    return np.ascontiguousarray((vectors - mean) @ axes, np.float32)


def main_axes(vectors: FloatArray, width: int) -> tuple[FloatArray, FloatArray]:
    """(mean (d,), axes (d, kept <= width)), least direction first; the components have unit variance."""
    mean = vectors.mean(0)
    centred = vectors - mean
    values, axes = np.linalg.eigh(centred.T @ centred / len(vectors))  # ascending
    useful = np.flatnonzero(values > 1e-6 * max(values[-1], 1e-12))[-width:]
    return mean, axes[:, useful] / np.sqrt(values[useful])
