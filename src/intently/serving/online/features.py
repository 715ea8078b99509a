"""A few numbers of (user, candidate) as of now, from which the last layer learns.

All have about the same range, so that one prior suits every weight, and all can be computed for some hundred
candidates in a tenth of a millisecond.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from intently.data.histories import DAY_S
from intently.schema import DoubleArray, FloatArray, IntArray, LongArray
from intently.serving.online.counters import SHORT, Counters

FEATURES: Final = (
    "bias", "frozen", "standing", "own_14d", "own_56d", "own_224d",
    "share_14d", "share_56d", "share_224d", "met", "since", "due", "popular", "trend",
    "together", "after", "visit_category", "own_category", "price", "new",
)  # fmt: skip
"""
frozen: what the model that stands still says: the log-odds of its probability, or for a model that gives only
an order -log2(1 + place). standing: the other one of the two, or the score's place between the list's ends.
own_*: decayed events of the user on the item; share_*: the same for each of the user's visits, as a log.
since: days since the last one. due: 1 where it is as long ago as the user's usual gap. popular, trend,
together, after: the shop's counters. visit_category: share of the latest items that are of the candidate's
category; own_category: the same of all the user's decayed events. price: 1 where it is the user's usual one.
new: 1 for an item met for the first time now, half of it ten days later.
"""

N: Final = len(FEATURES)
LATEST: Final = 500
"""Of a longer history only the latest so many events are read."""

_AT = {name: place for place, name in enumerate(FEATURES)}
_OWN_DAYS = 224.0


@dataclass
class Facts:
    """What the catalogue says: category codes (-1 unknown) and prices (0 unknown) by item number."""

    category: IntArray
    price: FloatArray
    n_categories: int = field(init=False)

    def __post_init__(self) -> None:
        self.n_categories = int(self.category.max(initial=-1)) + 1

    @staticmethod
    def unknown(n_items: int) -> Facts:
        """No catalogue."""
        return Facts(np.full(n_items, -1, np.int32), np.zeros(n_items, np.float32))

    def __len__(self) -> int:
        return len(self.category)

    def padded(self, n_items: int) -> Facts:
        """With room for items that came later."""
        more = n_items - len(self)
        if more <= 0:
            return self
        category = np.concatenate([self.category, np.full(more, -1, np.int32)])
        return Facts(category, np.concatenate([self.price, np.zeros(more, np.float32)]))


@dataclass(frozen=True, slots=True)
class Question:
    """One user now, the candidates, and what the frozen model says of them, best first.

    items, time_s: the user's positive events, oldest first. latest: the items of the visit, or the last ones.
    scores: -inf for a candidate that the frozen model did not name. calibrated: they are probabilities.
    """

    items: IntArray
    time_s: DoubleArray
    at_s: float
    latest: IntArray
    candidates: IntArray  # (m,)
    scores: DoubleArray  # (m,)
    calibrated: bool


class Places:
    """Where each item stands among the candidates; one array a thread, clean between uses."""

    def __init__(self) -> None:
        self._mine = threading.local()

    def find(self, candidates: IntArray, items: IntArray, n_items: int) -> LongArray:
        """(items,): place among the candidates, -1 for an item that is none."""
        place: LongArray | None = getattr(self._mine, "place", None)
        if place is None or len(place) < n_items:
            place = self._mine.place = np.full(n_items + 1024, -1, np.int64)
        place[candidates] = np.arange(len(candidates))
        found: LongArray = place[items]
        place[candidates] = -1
        return found


_PLACES = Places()


def features(asked: Question, counters: Counters, facts: Facts) -> DoubleArray:
    """(candidates, N)."""
    n_items = max(len(facts), int(asked.candidates.max(initial=0)) + 1, int(asked.items.max(initial=0)) + 1)
    facts = facts.padded(n_items)
    out = np.zeros((len(asked.candidates), N))
    out[:, 0] = 1.0
    _frozen(asked, out)
    items, age_days = asked.items[-LATEST:], (asked.at_s - asked.time_s[-LATEST:]) / DAY_S
    weights = np.exp2(np.maximum(age_days, 0.0) / -_OWN_DAYS)
    _own(asked, out, items, age_days, weights, n_items)
    counts, trend = counters.popular(asked.candidates, asked.at_s)
    total = float(counters.popularity.totals(asked.at_s)[SHORT])
    out[:, _AT["popular"]] = np.log1p(counts[:, SHORT] * (1e4 / max(total, 1.0))) / 3.0
    out[:, _AT["trend"]] = trend
    together, after = counters.covisits(asked.latest, asked.candidates, n_items)
    out[:, _AT["together"]] = np.log1p(100.0 * together) / 3.0
    out[:, _AT["after"]] = np.log1p(100.0 * after) / 3.0
    _catalogue(asked, out, items, weights, facts)
    first_s = counters.popularity.first_s(asked.candidates)
    out[:, _AT["new"]] = np.exp2(np.minimum(first_s - asked.at_s, 0.0) / (10.0 * DAY_S))
    return out


def _frozen(asked: Question, out: DoubleArray) -> None:
    scores = asked.scores
    place = -np.log2(np.arange(2.0, len(scores) + 2.0))
    named = scores > -np.inf
    low = float(scores[named].min()) if named.any() else 0.0
    held = np.where(named, scores, low)
    if asked.calibrated:
        chance = np.clip(held, 1e-6, 1.0 - 1e-6)
        out[:, 1] = np.log(chance / (1.0 - chance)) - 0.5 * ~named
        out[:, 2] = place / 4.0
    else:
        place[~named] = place[-1]
        span = float(held.max(initial=low)) - low
        out[:, 1] = place
        out[:, 2] = (held - low) / span if span > 0 else 0.0


def _own(
    asked: Question,
    out: DoubleArray,
    items: IntArray,
    age_days: DoubleArray,
    weights: DoubleArray,
    n_items: int,
) -> None:
    """What the user did with each candidate; columns from own_14d on lie side by side."""
    m, column = len(asked.candidates), _AT["own_14d"]
    at = _PLACES.find(asked.candidates, items, n_items)
    kept = np.flatnonzero(at >= 0)
    at, ages = at[kept], age_days[kept]
    visit = np.ones(len(items))
    visit[1:] = age_days[1:] != age_days[:-1]
    middle = np.square(np.square(weights))
    for weight in (np.square(np.square(middle)), middle, weights):
        own = np.bincount(at, weight[kept], m)
        out[:, column] = np.log1p(4.0 * own) / 2.0
        out[:, column + 3] = np.log((own + 0.05) * (1.0 / (float(weight @ visit) + 1.0))) + 3.0
        column += 1
    if not len(at):
        return
    times = np.bincount(at, minlength=m)
    last, first = np.zeros(m), np.zeros(m)
    last[at] = ages  # later events overwrite earlier ones
    first[at[::-1]] = ages[::-1]
    met = times > 0
    out[met, _AT["met"]] = 1.0
    out[met, _AT["since"]] = np.log1p(np.maximum(last[met], 0.0)) / 4.0
    often = (times > 1) & (first > last)
    ratio = (last[often] + 0.5) / ((first[often] - last[often]) / (times[often] - 1) + 0.5)
    out[often, _AT["due"]] = np.minimum(ratio, 1.0 / ratio)


def _catalogue(
    asked: Question, out: DoubleArray, items: IntArray, weights: DoubleArray, facts: Facts
) -> None:
    category = facts.category[asked.candidates]
    if facts.n_categories and len(items):
        n = facts.n_categories + 1  # the last one, which -1 means, is for what has none
        latest = np.bincount(facts.category[asked.latest] % n, minlength=n) / max(len(asked.latest), 1)
        own = np.bincount(facts.category[items] % n, weights=weights, minlength=n)
        latest[-1] = own[-1] = 0.0
        out[:, _AT["visit_category"]] = latest[category]
        out[:, _AT["own_category"]] = np.sqrt(own[category] / max(float(own.sum()), 1e-9))
    price, usual = facts.price[asked.candidates], facts.price[items]
    known = usual > 0
    if known.any():
        centre = np.log(usual[known]) @ weights[known] / weights[known].sum()
        gap = np.abs(np.log(np.where(price > 0, price, 1.0)) - centre)
        out[:, _AT["price"]] = np.where(price > 0, np.exp(-gap), 0.0)
