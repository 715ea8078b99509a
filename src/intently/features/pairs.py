"""Features of (history, candidate item) pairs as of each history's moment of asking.

Every column is finite: "never" is NEVER_DAYS. The same code makes the training table, a batch and one
live request, so what is learned is what is served.
"""

from __future__ import annotations

import numpy as np

from intently.data import Histories
from intently.features.facts import ITEM_FACTS, MAX_LEVELS, ItemFacts
from intently.features.groups import HALF_LIVES_DAYS, NEVER_DAYS, Groups, decays, group
from intently.schema import DoubleArray, FloatArray, IntArray, LongArray

_OWN = (
    "times", "last_age_days", "first_age_days", "gap_mean_days", "gap_std_days", "baskets_since",
    "decayed_7d", "decayed_28d", "decayed_90d", "overdue", "share_of_baskets", "share_28d", "share_90d",
)  # fmt: skip
_USER = (
    "user_baskets", "user_events", "user_last_age_days", "user_gap_days", "user_baskets_28d",
    "user_baskets_90d", "user_basket_size", "user_distinct", "user_repeat_share",
)  # fmt: skip
_LEVEL = ("times", "last_age_days", "overdue", "share_28d", "item_share", "gap_mean_days")

PAIR_FEATURES = (
    *(f"own_{name}" for name in _OWN),
    *_USER,
    *ITEM_FACTS,
    *(f"level{level}_{name}" for level in range(MAX_LEVELS) for name in _LEVEL),
)
"""Column names of `pair_features`, in order; levels count from the finest (0) to the coarsest."""


def pair_features(
    histories: Histories, rows: IntArray | LongArray, items: IntArray, facts: ItemFacts
) -> FloatArray:
    """(pairs, len(PAIR_FEATURES)) float32; `rows` are positions in `histories`."""
    event_rows, ages, steps = histories.rows, histories.age_days, histories.steps_back
    n_items = len(facts.facts)
    left = decays(ages)
    own = group(event_rows, histories.items, ages, steps, n_items, left)
    user, baskets = _user_features(histories, own, event_rows, ages, steps, left)
    out = np.empty((len(items), len(PAIR_FEATURES)), np.float32)
    at, met = own.find(rows, items)
    width = len(_OWN)
    out[:, :width] = _own_features(own, at, met, baskets[rows])
    out[:, width : width + len(_USER)] = user[rows]
    width += len(_USER)
    out[:, width : width + len(ITEM_FACTS)] = facts.facts[items]
    width += len(ITEM_FACTS)
    own_times = out[:, 0]
    for level in range(MAX_LEVELS):
        block = out[:, width : width + len(_LEVEL)]
        if level < len(facts.level_sizes):
            codes = facts.levels[-1 - level]
            size = facts.level_sizes[-1 - level]
            groups = group(event_rows, codes[histories.items], ages, steps, size, left)
            block[:] = _level_features(groups, rows, codes[items], own_times, baskets[rows])
        else:
            block[:] = 0.0
        width += len(_LEVEL)
    return out


def _user_features(
    histories: Histories,
    own: Groups,
    event_rows: IntArray,
    ages: FloatArray,
    steps: IntArray,
    left: DoubleArray,
) -> tuple[FloatArray, FloatArray]:
    """(batch, len(_USER)) and each user's decayed basket counts (batch, 1 + half-lives)."""
    visits = group(event_rows, np.zeros_like(event_rows), ages, steps, 1, left)
    n = len(histories)
    counts = np.zeros((n, 1 + len(HALF_LIVES_DAYS)), np.float32)
    out = np.zeros((n, len(_USER)), np.float32)
    out[:, 2] = out[:, 3] = NEVER_DAYS
    who = visits.keys
    counts[who, 0], counts[who, 1:] = visits.times, visits.decayed
    lengths = histories.lengths.astype(np.float32)
    owner = own.keys // own.n_things
    distinct = np.bincount(owner, minlength=n).astype(np.float32)
    again = np.bincount(owner[own.times > 1], minlength=n).astype(np.float32)
    out[:, 0], out[:, 1] = counts[:, 0], lengths
    out[who, 2], out[who, 3] = visits.last_age, visits.gap_mean
    out[:, 4], out[:, 5] = counts[:, 2], counts[:, 3]
    out[:, 6] = lengths / np.maximum(counts[:, 0], 1)
    out[:, 7] = distinct
    out[:, 8] = again / np.maximum(distinct, 1)
    return out, counts


def _own_features(own: Groups, at: LongArray, met: FloatArray, baskets: FloatArray) -> FloatArray:
    out = np.zeros((len(at), len(_OWN)), np.float32)
    out[:, 1:6] = NEVER_DAYS
    hit = np.flatnonzero(met)
    if len(hit) == 0:
        return out
    g = at[hit]
    out[hit, 0] = own.times[g]
    out[hit, 1], out[hit, 2] = own.last_age[g], own.first_age[g]
    out[hit, 3], out[hit, 4], out[hit, 5] = own.gap_mean[g], own.gap_std[g], own.steps[g]
    out[hit, 6:9] = own.decayed[g]
    out[hit, 9] = own.last_age[g] / np.maximum(own.gap_mean[g], 0.5)
    out[hit, 10] = own.times[g] / np.maximum(baskets[hit, 0], 1)
    out[hit, 11] = own.decayed[g, 1] / np.maximum(baskets[hit, 2], 1e-3)
    out[hit, 12] = own.decayed[g, 2] / np.maximum(baskets[hit, 3], 1e-3)
    return out


def _level_features(
    groups: Groups, rows: IntArray | LongArray, codes: IntArray, own_times: FloatArray, baskets: FloatArray
) -> FloatArray:
    out = np.zeros((len(codes), len(_LEVEL)), np.float32)
    out[:, 1] = out[:, 5] = NEVER_DAYS
    at, met = groups.find(rows, codes)
    hit = np.flatnonzero(met)
    if len(hit) == 0:
        return out
    g = at[hit]
    out[hit, 0], out[hit, 1] = groups.times[g], groups.last_age[g]
    out[hit, 2] = groups.last_age[g] / np.maximum(groups.gap_mean[g], 0.5)
    out[hit, 3] = groups.decayed[g, 1] / np.maximum(baskets[hit, 2], 1e-3)
    out[hit, 4] = own_times[hit] / np.maximum(groups.times[g], 1)
    out[hit, 5] = groups.gap_mean[g]
    return out
