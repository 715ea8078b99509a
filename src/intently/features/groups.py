"""Sums over (user, thing) groups of a ragged batch: one sort, then `reduceat`.

A group's key is row * n_things + thing. Events of one basket (same user, thing and moment) count once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from intently.ordering import in_order
from intently.schema import DoubleArray, FloatArray, IntArray, LongArray

HALF_LIVES_DAYS = (7.0, 28.0, 90.0)
NEVER_DAYS = 999.0


@dataclass(frozen=True)
class Groups:
    """One entry a (row, thing) met in the histories; `keys` ascend. Ages and gaps are in days."""

    n_things: int
    keys: LongArray  # (groups,)
    times: FloatArray  # (groups,) distinct moments
    last_age: FloatArray
    first_age: FloatArray
    gap_mean: FloatArray  # between moments; NEVER_DAYS with fewer than two
    gap_std: FloatArray
    steps: FloatArray  # the user's baskets since the last one with this thing
    decayed: FloatArray  # (groups, len(HALF_LIVES_DAYS))

    def find(self, rows: IntArray | LongArray, things: IntArray) -> tuple[LongArray, FloatArray]:
        """Positions of (row, thing) and 1.0 where met, else position 0 and 0.0."""
        wanted = rows.astype(np.int64) * self.n_things + things
        if len(self.keys) == 0:
            return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.float32)
        at = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        met = self.keys[at] == wanted
        return np.where(met, at, 0), met.astype(np.float32)


def decays(age_days: FloatArray) -> DoubleArray:
    """(len(HALF_LIVES_DAYS), events): what is left of events of these ages, once for all groups."""
    ages = age_days.astype(np.float64)
    return np.stack([0.5 ** (ages / half_life) for half_life in HALF_LIVES_DAYS])


def group(
    rows: IntArray, things: IntArray, age_days: FloatArray, steps: IntArray, n_things: int, left: DoubleArray
) -> Groups:
    """Group events by (row, thing); within a row events must come oldest first. left: their `decays`."""
    keys = rows.astype(np.int64) * n_things + things
    keys, order = in_order(keys)
    ages = age_days[order].astype(np.float64)
    if len(keys):
        fresh = np.ones(len(keys), bool)
        fresh[1:] = (keys[1:] != keys[:-1]) | (ages[1:] != ages[:-1])
        keys, ages, order = keys[fresh], ages[fresh], order[fresh]
    first_of = np.ones(len(keys), bool)
    first_of[1:] = keys[1:] != keys[:-1]
    starts = np.flatnonzero(first_of)
    ends = np.concatenate([starts[1:], [len(keys)]]).astype(np.int64)[: len(starts)] - 1
    times = (ends - starts + 1).astype(np.float64)
    last, first = ages[ends], ages[starts]
    gap_mean, gap_std = _gaps(ages, starts, times, first, last)
    decayed = np.stack([_sum(one[order], starts) for one in left], axis=1)
    return Groups(
        n_things,
        keys[starts],
        times.astype(np.float32),
        last.astype(np.float32),
        first.astype(np.float32),
        gap_mean,
        gap_std,
        steps[order[ends]].astype(np.float32),
        decayed.astype(np.float32),
    )


def _gaps(
    ages: DoubleArray, starts: LongArray, times: DoubleArray, first: DoubleArray, last: DoubleArray
) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of the days between a group's moments."""
    gaps = np.zeros(len(ages))
    gaps[1:] = ages[:-1] - ages[1:]
    gaps[starts] = 0.0
    several = times > 1
    n = np.maximum(times - 1, 1)
    mean = (first - last) / n
    spread = np.sqrt(np.maximum(_sum(gaps**2, starts) / n - mean**2, 0.0))
    return (
        np.where(several, mean, NEVER_DAYS).astype(np.float32),
        np.where(several, spread, NEVER_DAYS).astype(np.float32),
    )


def _sum(values: DoubleArray, starts: LongArray) -> DoubleArray:
    if len(starts) == 0:
        return np.zeros(0)
    return np.asarray(np.add.reduceat(values, starts), np.float64)
