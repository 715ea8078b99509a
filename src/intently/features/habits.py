"""Logarithms of pair features, in which habits add up: the input of a linear score of (user, item).

A purchase comes back with a chance that is nearly a product of powers: how often, how long ago against the
usual gap, how popular now against before. Products become sums in logarithms. What speaks of the user's own
past is 0 for an item never met; `ub` is the log of the user's baskets, which decides how much to trust it.
"""

from __future__ import annotations

import numpy as np

from intently.features.pairs import PAIR_FEATURES
from intently.schema import BoolArray, FloatArray

NEAR = 2e-3
"""Added to what neighbours meet before the logarithm."""

LEVELS = 3
"""Finest levels of categories that are looked at."""

HABITS = (
    "met", "multi", "times", "decayed_7d", "decayed_28d", "decayed_90d", "age", "share_28d", "share_90d",
    "share", "age_item_gap", "age_item_gap2", "age_user_gap", "age_user_gap2", "overdue", "overdue2", "steps",
    "pop_7d", "pop_28d", "pop_90d", "buyers", "rebuys", "rebuy_gap", "item_age", "item_idle", "price",
    "price_ratio", "near", "rare", "met_pop_7d", "met_pop_28d", "met_buyers", "met_rebuys", "met_near",
    "met_rare", "ub_met", "ub_pop_28d", "ub_buyers", "ub_rebuys", "ub_times", "ub_decayed_90d", "ub_near",
    *(f"level{level}_{name}" for level in range(LEVELS) for name in ("share", "own", "overdue")),
)  # fmt: skip
"""Column names of `habits`, in order."""

_AS = {
    "met": "own_times", "multi": "own_times", "times": "own_times", "share": "own_share_of_baskets",
    "age": "own_last_age_days", "steps": "own_baskets_since", "buyers": "item_buyers",
    "rebuys": "item_rebuy_share", "rebuy_gap": "item_rebuy_gap_days", "item_age": "item_age_days",
    "item_idle": "item_idle_days", "price": "item_price", "price_ratio": "item_price_ratio",
    **dict.fromkeys(("age_item_gap", "age_user_gap", "overdue"), "own_overdue"),
    **{f"level{level}_own": f"level{level}_item_share" for level in range(LEVELS)},
    **{f"level{level}_share": f"level{level}_share_28d" for level in range(LEVELS)},
    **{f"decayed_{days}d": f"own_decayed_{days}d" for days in (7, 28, 90)},
    **{f"share_{days}d": f"own_share_{days}d" for days in (28, 90)},
    **{f"pop_{days}d": f"item_pop_{days}d" for days in (7, 28, 90)},
}  # fmt: skip


def _told_in(habit: str) -> str:
    plain = habit if habit == "met" else habit.removeprefix("met_").removeprefix("ub_")
    plain = plain.removesuffix("2")  # a square
    return _AS.get(plain, plain)


TOLD_IN = {habit: _told_in(habit) for habit in HABITS}
"""Habit -> the column of `pair_features`, or of neighbours ("near", "rare"), that it is made of."""

_AT = {name: place for place, name in enumerate(PAIR_FEATURES)}


def habits(pairs: FloatArray, near: FloatArray, rare: FloatArray) -> FloatArray:
    """(pairs, len(HABITS)) float32. pairs: of `pair_features`; near, rare: what neighbours meet, (pairs,)."""
    met = _column(pairs, "own_times") > 0
    told = {**_own(pairs, met), **_item(pairs), "near": _log(near, NEAR), "rare": _log(rare, NEAR)}
    for name in ("pop_7d", "pop_28d", "buyers", "rebuys", "near", "rare"):
        told[f"met_{name}"] = met * told[name]
    baskets = _log(_column(pairs, "user_baskets"), 1.0)
    for name in ("met", "pop_28d", "buyers", "rebuys", "times", "decayed_90d", "near"):
        told[f"ub_{name}"] = baskets * told[name]
    for level in range(LEVELS):
        at = f"level{level}_"
        told[at + "share"] = _log(_column(pairs, at + "share_28d"), 0.02)
        told[at + "own"] = met * _log(_column(pairs, at + "item_share"), 0.05)
        told[at + "overdue"] = _log(np.minimum(_column(pairs, at + "overdue"), 20.0), 0.3)
    return np.stack([told[name] for name in HABITS], axis=1).astype(np.float32)


def _own(pairs: FloatArray, met: BoolArray) -> dict[str, FloatArray]:
    """What the user's own past says of the item."""
    times = _column(pairs, "own_times")
    multi = (times > 1).astype(np.float32)
    age = np.where(met, _column(pairs, "own_last_age_days"), 0.0)
    gap = np.where(multi > 0, _column(pairs, "own_gap_mean_days"), 0.0)
    item_gap = np.minimum(_column(pairs, "item_rebuy_gap_days"), 200.0)
    user_gap = np.minimum(_column(pairs, "user_gap_days"), 120.0)
    told = {
        "met": met.astype(np.float32),
        "multi": multi,
        "times": _log(np.maximum(times, 1.0), 0.0),
        "age": met * _log(age, 2.0),
        "age_item_gap": met * (_log(age, 3.0) - _log(item_gap, 3.0)),
        "age_user_gap": met * (_log(age, 3.0) - _log(user_gap, 3.0)),
        "overdue": multi * (_log(age, 2.0) - _log(gap, 2.0)),
        "steps": met * _log(np.minimum(_column(pairs, "own_baskets_since"), 100.0), 1.0),
    }
    for name in ("age_item_gap", "age_user_gap", "overdue"):
        told[f"{name}2"] = told[name] ** 2
    for days, least in ((7, 0.01), (28, 0.03), (90, 0.1)):
        told[f"decayed_{days}d"] = met * _log(_column(pairs, f"own_decayed_{days}d"), least)
    told["share"] = met * _log(_column(pairs, "own_share_of_baskets"), 0.02)
    for days in (28, 90):
        told[f"share_{days}d"] = met * _log(_column(pairs, f"own_share_{days}d"), 0.02)
    return told


def _item(pairs: FloatArray) -> dict[str, FloatArray]:
    """What everybody's past says of the item."""
    return {
        **{f"pop_{days}d": _log(_column(pairs, f"item_pop_{days}d"), 0.05) for days in (7, 28, 90)},
        "buyers": _log(_column(pairs, "item_buyers"), 1.0),
        "rebuys": _log(_column(pairs, "item_rebuy_share"), 0.02),
        "rebuy_gap": _log(np.minimum(_column(pairs, "item_rebuy_gap_days"), 200.0), 3.0),
        "item_age": _log(_column(pairs, "item_age_days"), 1.0),
        "item_idle": _log(np.minimum(_column(pairs, "item_idle_days"), 100.0), 1.0),
        "price": _log(np.maximum(_column(pairs, "item_price"), 0.0), 0.3),
        "price_ratio": _log(np.clip(_column(pairs, "item_price_ratio"), 0.3, 3.0), 0.0),
    }


def _column(pairs: FloatArray, name: str) -> FloatArray:
    return pairs[:, _AT[name]]


def _log(values: FloatArray, least: float) -> FloatArray:
    out: FloatArray = np.log(values + np.float32(least))
    return out
