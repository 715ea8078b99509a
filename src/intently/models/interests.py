"""What `click` with network = "interest" looks at of a past: its main items, beside a candidate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from intently.data import Histories
from intently.schema import DoubleArray, FloatArray, IntArray

MOST = 24
"""Items of a history that are looked at."""

HALF_LIFE_DAYS = 28.0

YEAR_DAYS = 365.0


class Attended(NamedTuple):
    """Inputs of the attention, `nn.interest.Interest`'s by position; one row a pair."""

    candidate: FloatArray  # (pairs, kept) text vector
    items: FloatArray  # (pairs, MOST, kept) text vectors
    ties: FloatArray  # (pairs, MOST, 1 + levels): the same item, the same category of each level
    facts: FloatArray  # (pairs, MOST, 2): log age of the latest time, log of how often
    there: FloatArray  # (pairs, MOST): 0 where the history has fewer items


def main_items(histories: Histories) -> FloatArray:
    """(batch, 3 * MOST): items (-1 where there are fewer), log ages, log times, each MOST columns.

    The MOST distinct items with the largest decayed count (half-life 28 days), best first. The paper
    takes the latest events; where a basket has twenty lines, those are one visit. An item's number is
    kept as float32: exact below 16 million items.
    """
    out = np.zeros((len(histories), 3, MOST), np.float32)
    out[:, 0] = -1.0
    ages = histories.age_days.astype(np.float64)
    weights = 0.5 ** (ages / HALF_LIFE_DAYS)
    for row, (start, stop) in enumerate(zip(histories.indptr[:-1], histories.indptr[1:], strict=True)):
        if start == stop:
            continue
        items, place = np.unique(histories.items[start:stop], return_inverse=True)
        counted = np.bincount(place, weights=weights[start:stop])
        latest = np.full(len(items), np.inf)
        np.minimum.at(latest, place, ages[start:stop])
        best = np.argsort(-counted, kind="stable")[:MOST]
        out[row, 0, : len(best)] = items[best]
        out[row, 1, : len(best)] = np.log1p(latest[best]) / np.log1p(YEAR_DAYS)
        out[row, 2, : len(best)] = np.log(np.bincount(place)[best])
    return out.reshape(len(histories), 3 * MOST)


def attended(main: FloatArray, candidates: IntArray, words: FloatArray, levels: IntArray) -> Attended:
    """main: (pairs, 3 * MOST), rows of `main_items`. words: (n_items, kept).

    levels: (levels, n_items) codes, the finest last; among the ties it comes first, as in the features.
    """
    ids, age, times = np.split(main, 3, axis=1)
    there = ids >= 0
    items = np.maximum(ids, 0).astype(np.int64)
    alike = [codes[items] == codes[candidates][:, None] for codes in levels[::-1]]
    ties = np.stack([items == candidates[:, None], *alike], axis=2).astype(np.float32)
    facts = np.stack([age, times], axis=2)
    return Attended(words[candidates], words[items], ties, facts, there.astype(np.float32))


def told_of_ties(
    names: Sequence[str], beside: DoubleArray, kept: int, levels: int
) -> tuple[DoubleArray, DoubleArray]:
    """(effects of texts, effects of ties by the column of `names` that tells them), both one row a pair.

    beside: effects of candidate, agreement and pooling, (pairs, 3 * kept + ties + ...).
    """
    ties = slice(3 * kept, 3 * kept + 1 + levels)
    columns = ["own_times", *(f"level{level}_times" for level in range(levels))]
    told = np.zeros((len(beside), len(names)))
    told[:, [names.index(name) for name in columns]] = beside[:, ties]
    return np.delete(beside, ties, axis=1), told
