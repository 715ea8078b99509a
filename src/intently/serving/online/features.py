"""A few numbers of (user, candidate) as of now, from which the last layer learns.

All have about the same range, so that one prior suits every weight, and all can be computed for some hundred
candidates in a tenth of a millisecond.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import numpy as np

from intently.data.histories import DAY_S
from intently.schema import BoolArray, DoubleArray, FloatArray, IntArray, LongArray
from intently.serving.online.counters import SHORT, Counters

FEATURES: Final = (
    "bias", "frozen", "standing", "own_14d", "own_56d", "own_224d",
    "share_14d", "share_56d", "share_224d", "met", "since", "due", "popular", "together", "after",
    "trend", "visit_category", "own_category", "price", "new",
)  # fmt: skip
"""
frozen: what the model that stands still says: the log-odds of its probability, or for a model that gives only
an order -log2(1 + place). standing: the other one of the two, or the score's place between the list's ends.
own_*: decayed events of the user on the item; share_*: the same for each of the user's visits, as a log.
since: days since the last one. due: 1 where it is as long ago as the user's usual gap. popular, together,
after, trend: the shop's counters. visit_category: share of the latest items that are of the candidate's
category; own_category: the same of all the user's decayed events. price: 1 where it is the user's usual one.
new: 1 for an item met for the first time now, half of it ten days later.
"""

N: Final = len(FEATURES)
LATEST: Final = 500
"""Of a longer history only the latest so many events are read."""

_AT = {name: place for place, name in enumerate(FEATURES)}
_OWN_DAYS = 224.0
LN2: Final = 0.6931471805599453  # exp and log are several times faster than exp2 and log1p


@dataclass
class Facts:
    """What the catalogue says: category codes (-1 unknown) and prices (0 unknown) by item number.

    group: the code, n_categories where it is unknown. log_price: 0 where unknown; priced: 1 where known.
    """

    category: IntArray
    price: FloatArray
    n_categories: int = field(init=False)
    group: IntArray = field(init=False)
    log_price: DoubleArray = field(init=False)
    priced: DoubleArray = field(init=False)

    def __post_init__(self) -> None:
        self.n_categories = int(self.category.max(initial=-1)) + 1
        self.group = np.where(self.category < 0, self.n_categories, self.category).astype(np.int32)
        self.priced = (self.price > 0).astype(np.float64)
        self.log_price = np.log(np.where(self.price > 0, self.price, 1.0).astype(np.float64))

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


@dataclass(slots=True)  # not frozen: one is made for an answer, and nothing changes it
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
    """(candidates, N). Worked out feature by feature, each in a row of its own, and turned at the end."""
    candidates, items = asked.candidates, asked.items[-LATEST:]
    m = len(candidates)
    n_items = 1 + max(len(facts) - 1, int(_most(candidates, initial=0)), int(_most(asked.items, initial=0)))
    facts = facts.padded(n_items)
    out = np.zeros((N, m))
    out[0] = 1.0
    _frozen(asked, out)
    age_days = (asked.at_s - asked.time_s[-LATEST:]) * (1.0 / DAY_S)
    weights = np.exp(np.maximum(age_days, 0.0) * (-LN2 / _OWN_DAYS))
    _own(asked, out, items, age_days, weights, n_items)
    counts, trend, total = counters.popular(candidates, asked.at_s)
    place = _AT["popular"]
    shares = out[place : place + 3]
    np.multiply(counts[:, SHORT], 1e4 / max(total, 1.0), out=shares[0])
    shares[1], shares[2] = counters.covisits(asked.latest, candidates, n_items)
    shares[1:] *= 100.0
    shares += 1.0
    np.log(shares, out=shares)
    shares *= 1.0 / 3.0
    out[_AT["trend"]] = trend
    _catalogue(asked, out, items, weights, facts)
    new = out[_AT["new"]]
    np.subtract(counters.popularity.first_s(candidates), asked.at_s, out=new)
    np.minimum(new, 0.0, out=new)
    new *= 0.1 * LN2 / DAY_S
    np.exp(new, out=new)
    return np.ascontiguousarray(out.T)


_most = np.maximum.reduce  # without the steps that `max` takes before it


@lru_cache(maxsize=256)
def _places(m: int) -> DoubleArray:
    """-log2(1 + place), places counted from 1."""
    return np.asarray(-np.log2(np.arange(2.0, m + 2.0)), np.float64)


def _frozen(asked: Question, out: DoubleArray) -> None:
    held, place = asked.scores, _places(len(asked.scores))
    low = float(np.minimum.reduce(held, initial=np.inf))
    unnamed: BoolArray | None = None
    if low == -np.inf:
        unnamed = held == -np.inf
        low = float(held[~unnamed].min(initial=np.inf))
        held = np.where(unnamed, low if low < np.inf else 0.0, held)
    if asked.calibrated:
        chance = np.minimum(np.maximum(held, 1e-6), 1.0 - 1e-6)
        np.log(chance / (1.0 - chance), out=out[1])
        np.multiply(place, 0.25, out=out[2])
        if unnamed is not None:
            out[1, unnamed] -= 0.5
    else:
        out[1] = place
        if unnamed is not None:
            out[1, unnamed] = place[-1]
        span = float(_most(held, initial=low)) - low
        if 0 < span < np.inf:
            np.subtract(held, low, out=out[2])
            out[2] /= span


def _own(
    asked: Question,
    out: DoubleArray,
    items: IntArray,
    age_days: DoubleArray,
    weights: DoubleArray,
    n_items: int,
) -> None:
    """What the user did with each candidate; rows from own_14d on lie side by side."""
    m, row = len(asked.candidates), _AT["own_14d"]
    decayed = np.empty((len(items), 3))  # by 14, 56 and 224 days
    decayed[:, 2] = weights
    np.square(np.square(weights), out=decayed[:, 1])
    np.square(np.square(decayed[:, 1]), out=decayed[:, 0])
    visit = np.ones(len(items))
    visit[1:] = age_days[1:] != age_days[:-1]
    visits = np.log(visit @ decayed + 1.0)[:, None]
    at = _PLACES.find(asked.candidates, items, n_items)
    kept = (at >= 0).nonzero()[0]
    if not len(kept):  # the usual case where nothing is met twice
        out[row + 3 : row + 6] = _NONE - visits + 3.0
        return
    at, ages = at[kept], age_days[kept]
    own = np.bincount((at + _THREE * m).ravel(), decayed[kept].T.ravel(), 3 * m).reshape(3, m)
    out[row : row + 3] = np.log(4.0 * own + 1.0) * 0.5
    out[row + 3 : row + 6] = np.log(own + 0.05) - visits + 3.0
    times = np.bincount(at, minlength=m)
    last, first = np.zeros(m), np.zeros(m)
    last[at] = ages  # later events overwrite earlier ones
    first[at[::-1]] = ages[::-1]
    met = times.nonzero()[0]
    out[_AT["met"], met] = 1.0
    out[_AT["since"], met] = np.log(np.maximum(last[met], 0.0) + 1.0) * 0.25
    often = ((times > 1) & (first > last)).nonzero()[0]
    if len(often):
        begun, late = first[often], last[often]
        ratio = (late + 0.5) / ((begun - late) / (times[often] - 1) + 0.5)
        out[_AT["due"], often] = np.minimum(ratio, 1.0 / ratio)


_THREE: LongArray = np.arange(3)[:, None]
_NONE = np.log(np.full(1, 0.05))


def _catalogue(
    asked: Question, out: DoubleArray, items: IntArray, weights: DoubleArray, facts: Facts
) -> None:
    if not len(items):
        return
    candidates = asked.candidates
    if facts.n_categories:
        n = facts.n_categories + 1  # the last one is for what has none
        group = facts.group[candidates]
        latest = np.bincount(facts.group[asked.latest], minlength=n)
        own = np.bincount(facts.group[items], weights=weights, minlength=n)
        latest[-1], own[-1] = 0, 0.0
        np.multiply(latest[group], 1.0 / max(len(asked.latest), 1), out=out[_AT["visit_category"]])
        np.sqrt(own[group] * (1.0 / max(float(own.sum()), 1e-9)), out=out[_AT["own_category"]])
    known = facts.priced[items] * weights
    total = float(np.add.reduce(known))
    if total > 0:
        centre = float(facts.log_price[items] @ known) / total
        gap = np.abs(facts.log_price[candidates] - centre)
        np.multiply(np.exp(-gap), facts.priced[candidates], out=out[_AT["price"]])
