"""How sure a mean is: the percentile bootstrap over users; and score intervals of shares.

Users, not rows, are drawn with replacement (Efron 1979): what one user does at two places is not two
independent facts. All columns, and both models of a comparison, see the same draws, so that a
difference is paired: users who are easy for both cancel out.

A draw is a vector of counts that sums to the number of users; a resampled mean is one row of
`counts @ values / n`, so that a thousand draws over many metrics are a few matrix products.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from intently.errors import InputError
from intently.schema import DoubleArray

DRAWS = 1000
LEVEL = 0.95
_CELLS = 4_000_000  # counts held at once: 32 MB


@dataclass(frozen=True)
class Interval:
    """A value and the range that holds the truth at `level`."""

    value: float
    low: float
    high: float
    n: int  # users behind it
    level: float = LEVEL

    def excludes(self, point: float) -> bool:
        """Whether `point` lies outside the range.

        >>> Interval(0.3, 0.1, 0.5, n=100).excludes(0.0)
        True
        """
        return bool(point < self.low or point > self.high)

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def resamples(n: int, draws: int = DRAWS, seed: int = 0) -> Iterator[DoubleArray]:
    """Chunks (some draws, n) of how often each of n users is drawn; each row sums to n.

    Raises InputError for no users or no draws.
    """
    if n < 1 or draws < 1:
        raise InputError(f"a bootstrap needs at least one user and one draw, got {n} and {draws}")
    random = np.random.default_rng(seed)
    chunk = max(1, min(draws, _CELLS // n))
    for start in range(0, draws, chunk):
        rows = min(chunk, draws - start)
        picked = random.integers(0, n, size=(rows, n))
        picked += np.arange(rows)[:, None] * n
        yield np.bincount(picked.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def resampled_means(values: DoubleArray, draws: int = DRAWS, seed: int = 0) -> DoubleArray:
    """(draws, m) means of each column of `values` (n, m) under the same draws of users.

    NaN says "this user has no value here": it is left out of its column's mean, and a draw that
    holds no user with a value gives NaN.
    """
    table = values if values.ndim == 2 else values[:, None]
    known = ~np.isnan(table)
    filled = np.where(known, table, 0.0)
    parts = []
    for counts in resamples(len(table), draws, seed):
        weight = counts @ known
        parts.append(np.where(weight > 0, (counts @ filled) / np.maximum(weight, 1e-300), np.nan))
    return np.concatenate(parts)


def percentile(value: float, drawn: DoubleArray, n: int, level: float = LEVEL) -> Interval:
    """The middle `level` of the resampled values around `value`; NaN draws are left out."""
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, got {level}", field="level")
    known = drawn[~np.isnan(drawn)]
    if len(known) == 0:
        return Interval(value, float("nan"), float("nan"), n, level)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), n, level)


def mean_intervals(
    values: DoubleArray, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> list[Interval]:
    """An interval for the mean of each column of `values` (n, m) or (n,); NaN = no value."""
    table = values if values.ndim == 2 else values[:, None]
    drawn = resampled_means(table, draws, seed)
    out = []
    for column, sample in zip(table.T, drawn.T, strict=True):
        known = column[~np.isnan(column)]
        mean = float(known.mean()) if len(known) else float("nan")
        out.append(percentile(mean, sample, len(known), level))
    return out


def mean_interval(values: DoubleArray, draws: int = DRAWS, seed: int = 0, level: float = LEVEL) -> Interval:
    """An interval for the mean of one value a user, (n,).

    >>> mean_interval(np.array([1.0, 1.0, 1.0]))
    Interval(value=1.0, low=1.0, high=1.0, n=3, level=0.95)
    """
    return mean_intervals(values, draws, seed, level)[0]


def share(yes: int, n: int, level: float = LEVEL) -> Interval:
    """`yes` of n users, by the score of Wilson (1927), NaN for no users.

    Holds near 0 and 1 too: users who all did nothing are all the same to a bootstrap.

    >>> str(share(0, 10))
    '0.0000 [0.0000, 0.2775]'
    """
    if n == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0, level)
    z = NormalDist().inv_cdf((1 + level) / 2)
    p, spread = yes / n, z * z / n
    middle = (p + spread / 2) / (1 + spread)
    half = z * math.sqrt(p * (1 - p) / n + spread / (4 * n)) / (1 + spread)
    return Interval(p, min(max(middle - half, 0.0), p), max(min(middle + half, 1.0), p), n, level)


def share_difference(ours: Interval, theirs: Interval) -> Interval:
    """ours - theirs of two `share`s of different users (Newcombe 1998, method 10, without correction).

    >>> str(share_difference(share(56, 70), share(48, 80)))  # the paper's example
    '0.2000 [0.0524, 0.3339]'
    """
    low = math.hypot(ours.value - ours.low, theirs.high - theirs.value)
    high = math.hypot(ours.high - ours.value, theirs.value - theirs.low)
    gap = ours.value - theirs.value
    return Interval(gap, gap - low, gap + high, ours.n + theirs.n, ours.level)


def difference(
    ours: DoubleArray, theirs: DoubleArray, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> Interval:
    """Paired: mean(ours - theirs) over the same users, (n,) each.

    >>> difference(np.array([0.5, 0.7]), np.array([0.25, 0.45])).excludes(0.0)
    True
    """
    _paired(ours, theirs)
    return mean_interval(ours - theirs, draws, seed, level)


def lift(
    ours: DoubleArray, theirs: DoubleArray, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> Interval:
    """Paired relative lift mean(ours) / mean(theirs) - 1 over the same users, (n,) each.

    NaN where `theirs` is 0 throughout; a draw in which it is 0 is left out.

    >>> lift(np.array([0.5, 0.5]), np.array([0.4, 0.4])).value
    0.25
    """
    _paired(ours, theirs)
    both = np.column_stack([ours, theirs])
    known = ~np.isnan(both).any(axis=1)
    both = both[known]
    if len(both) == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0, level)
    drawn = _ratio(resampled_means(both, draws, seed))
    value = float(_ratio(both.mean(axis=0)[None, :])[0])
    return percentile(value, drawn, len(both), level)


def _ratio(means: DoubleArray) -> DoubleArray:
    base = means[:, 1]
    safe = np.where(base == 0, 1.0, base)
    return np.where(base == 0, np.nan, means[:, 0] / safe - 1.0)


def _paired(ours: DoubleArray, theirs: DoubleArray) -> None:
    if ours.shape != theirs.shape or ours.ndim != 1:
        raise InputError(
            f"a paired comparison needs one value a user from both, got {ours.shape} and {theirs.shape}"
        )
