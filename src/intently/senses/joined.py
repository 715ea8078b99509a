"""The vector of an item that has a text, a picture, or both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from intently.nn.inference import unit
from intently.schema import FloatArray

SHARE: Final = 0.4
"""How much of the likeness of two items that have both is that of their pictures (benchmarks/pictures.py)."""
WIDTH: Final = 128
"""Main directions that are kept of pictures."""
LEAST: Final = 16
"""Pictures; of fewer it cannot be said what all have in common."""
_LEARNED_FROM: Final = 20_000


@dataclass(frozen=True)
class Joined:
    """What a shop's pictures have in common, and the directions in which they differ.

    mean: (1280,); axes: (1280, width <= WIDTH), orthonormal. The dot product of two joined vectors is
    (1 - SHARE) * cosine of the texts + SHARE * cosine of the centred pictures; an item that has one of the
    two alone gives all its length to it.
    """

    mean: FloatArray
    axes: FloatArray

    @classmethod
    def learned(cls, seen: FloatArray) -> Self | None:
        """From (n, 1280) vectors of a shop's pictures, zeros without one; None with fewer than LEAST."""
        rows = np.flatnonzero(seen.any(axis=1))
        if len(rows) < LEAST:
            return None
        some = seen[rows[:: -(-len(rows) // _LEARNED_FROM)]]
        mean = some.mean(axis=0)
        centred = some - mean
        values, axes = np.linalg.eigh(centred.T @ centred)  # ascending
        useful = np.flatnonzero(values > 1e-6 * max(float(values[-1]), 1e-12))[-WIDTH:]
        return cls(mean.astype(np.float32), np.ascontiguousarray(axes[:, useful], np.float32))

    def vectors(self, texts: FloatArray, seen: FloatArray) -> FloatArray:
        """(n, d + width) unit vectors: (n, d) of texts with (n, 1280) of pictures; zeros without either."""
        looks = np.zeros((len(seen), self.axes.shape[1]), np.float32)
        shown = seen.any(axis=1)
        looks[shown] = unit(((seen[shown] - self.mean) @ self.axes).astype(np.float32))
        told = texts.any(axis=1) if texts.shape[1] else np.zeros(len(texts), bool)
        of_text = np.where(shown, np.sqrt(1.0 - SHARE), 1.0)
        of_look = np.where(told, np.sqrt(SHARE), 1.0)
        parts = [texts * of_text[:, None], looks * of_look[:, None]]
        return np.concatenate(parts, axis=1).astype(np.float32)
