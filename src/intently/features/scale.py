"""Columns of any unit and tail, made fit for a network.

Each value becomes its place among the training values (its quantile, ties in the middle), then every
column gets mean 0 and spread 1. Counts, prices and NEVER_DAYS need no care of their own: "never" is
simply the last place. Gorishniy et al. (2021) found this the safest scaling of tables for networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from intently.schema import DoubleArray, FloatArray

POINTS = 64
"""Values kept of each column; between them places are read off a straight line."""


@dataclass(frozen=True)
class Scale:
    """values, places: (columns, POINTS) float32; values ascend, the last one repeated to fill the row."""

    values: FloatArray
    places: FloatArray

    @staticmethod
    def of(table: FloatArray) -> Scale:
        """From (rows, columns), at least one row."""
        found = [_column(table[:, column]) for column in range(table.shape[1])]
        values = np.array([value for value, _ in found], np.float32).reshape(-1, POINTS)
        places = np.array([place for _, place in found], np.float32).reshape(-1, POINTS)
        return Scale(values, places)

    def apply(self, table: FloatArray) -> FloatArray:
        """(rows, columns) float32; what lies outside the training values stays at their ends.

        >>> scale = Scale.of(np.array([[0.0], [10.0], [10.0], [999.0]], np.float32))
        >>> [round(float(x), 2) for x in scale.apply(np.array([[0.0], [10.0], [2000.0]], np.float32))[:, 0]]
        [-1.41, 0.0, 1.41]
        """
        out = np.empty(table.shape, np.float32)
        for column, (value, place) in enumerate(zip(self.values, self.places, strict=True)):
            out[:, column] = np.interp(table[:, column], value, place)
        return out


def _column(values: FloatArray) -> tuple[DoubleArray, DoubleArray]:
    """(POINTS values, their standardised places)."""
    known, counts = np.unique(values, return_counts=True)
    place = (np.cumsum(counts) - 0.5 * counts) / len(values)
    chosen = np.searchsorted(place, np.linspace(place[0], place[-1], POINTS))
    chosen = np.unique(np.minimum(chosen, len(known) - 1))
    chosen = np.concatenate([chosen, np.full(POINTS - len(chosen), len(known) - 1)])
    mean = float(np.average(place, weights=counts))
    spread = float(np.sqrt(np.average((place - mean) ** 2, weights=counts)))
    return known[chosen].astype(np.float64), (place[chosen] - mean) / (spread if spread > 0 else 1.0)
