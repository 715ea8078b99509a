"""Why a pair got its probability, in words.

The ranker's TreeSHAP contributions (Lundberg et al. 2020, computed by LightGBM) are added up by family
of evidence; only families that raise the probability are named. The sentence is filled from the same
feature values that the trees read, so it cannot say what was not used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from intently.models.neighbours import NEAR_COLUMNS
from intently.schema import DoubleArray, FloatArray

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "habit": ("own_times", "own_decayed", "own_share", "own_standing", "repeat_", "basket_", "own_first"),
    "rhythm": ("own_gap", "own_overdue", "own_last", "own_baskets"),
    "kind": ("level",),
    "popular": ("item_pop", "item_trend", "item_buyers", "item_idle", "popular_"),
    "staple": ("item_rebuy",),
    "price": ("item_price",),
    "together": ("linear_", "covisit_", "blend_"),
    "alike": NEAR_COLUMNS,
    "next": ("sequence_",),
    "text": ("text_match", "content_"),
}
"""Family -> prefixes of its columns. Columns of the user alone belong to none: they raise every item."""


@dataclass(frozen=True)
class Reason:
    """One piece of evidence: effect in log-odds (> 0), `values` to word it in another language."""

    code: str
    text: str
    effect: float
    values: dict[str, float]


def reasons(
    names: Sequence[str], row: FloatArray, contributions: DoubleArray, most: int = 3, bought: bool = True
) -> list[Reason]:
    """The `most` strongest families of one pair; row, contributions: (n_columns,).

    bought: whether the history holds nothing but purchases; views and clicks are "met".
    """
    value = dict(zip(names, row.tolist(), strict=True)) | {"bought": float(bought)}
    found = []
    for code, prefixes in FAMILIES.items():
        columns = [i for i, name in enumerate(names) if name.startswith(prefixes)]
        effect = float(contributions[columns].sum()) if columns else 0.0
        if effect > MATTERS:
            worded = _word(code, value)
            if worded is not None:
                found.append(Reason(code, worded[0], round(effect, 3), worded[1]))
    found.sort(key=lambda reason: -reason.effect)
    return found[:most]


MATTERS = 0.05
"""Log-odds below which a family is not worth a sentence (a twentieth: the odds rise by 5 %)."""


def _word(code: str, value: Mapping[str, float]) -> tuple[str, dict[str, float]] | None:
    times, last = round(value["own_times"]), round(value["own_last_age_days"])
    gap = round(value["own_gap_mean_days"])
    bought = value["bought"]
    did = "bought" if bought else "met"
    if code == "habit" and times > 0:
        often = "once" if times == 1 else f"{times} times"
        return f"{did} {often}, last {_ago(last)}", {"times": times, "last_days": last, "bought": bought}
    if code == "rhythm" and times > 1:
        text = f"{did} about every {max(gap, 1)} days, last {_ago(last)}"
        return text, {"gap_days": max(gap, 1), "last_days": last, "bought": bought}
    if code == "kind" and value["level0_times"] > 0:
        level_times = round(value["level0_times"])
        return f"{did} {level_times} times from its category", {"times": level_times, "bought": bought}
    if code == "popular":
        return f"{did} by many lately", {"buyers": round(value["item_buyers"])}
    if code == "staple" and value["item_rebuy_share"] > 0:
        share = round(100 * value["item_rebuy_share"])
        return f"{share} % of its buyers come back to it", {"percent": share}
    if code == "price" and value["item_price_ratio"] < 1:
        off = round(100 * (1 - value["item_price_ratio"]))
        return (f"its price is {off} % under the usual", {"percent": off}) if off >= 1 else None
    plain = {
        "together": "goes with what came before",
        "alike": f"{did} by customers like this one",
        "next": "often follows what came last",
        "text": "reads like what came before",
    }
    return (plain[code], {}) if code in plain else None


def _ago(days: int) -> str:
    return "today" if days < 1 else "yesterday" if days == 1 else f"{days} days ago"
