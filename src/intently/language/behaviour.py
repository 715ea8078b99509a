"""Behaviour as text: what a user did before a moment, in words that a language model can read.

The template, oldest first:

    TEXT  = PART ("; " PART)* "; now" [GAP " later"]
    PART  = [GAP " later "] EVENT " " THING (", " THING)*        things of one moment share a part
    THING = title [" at " price]                                 rate: title " " stars
    GAP   = "3 minutes" | "5 hours" | "2 days" | "3 weeks" | "4 months" | "2 years"

    bought green tea at 3.99, milk at 1; 2 days later viewed garden hose; now 5 hours later

A Chinese shop is written in Chinese:

    购买绿茶(价格3.99)、牛奶(价格1)；2天后浏览水管；现在5小时后

Close in spirit to P5 (Geng et al., 2022), which writes user and item ids into its prompts. We write no ids
at all, only what anyone could read, so that the text means the same in another shop.

A short text of a long past leaves most of it out. Asked about a candidate, the writer keeps what bears on it:
events of the candidate itself first, then those of its category, then the latest. This is the hard search of
SIM (Pi et al., 2020), which looks by category alone; gaps are then those between the events that are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from intently.data import Dataset
from intently.data.dataset import seconds
from intently.errors import InputError
from intently.language.catalogue import category_numbers, shorten
from intently.language.choice import mostly_han
from intently.schema import EVENT_CODES, EVENTS, DoubleArray, IntArray

TITLE_CHARS: Final = 80

_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86400.0


@dataclass(frozen=True)
class _Words:
    """One language's words."""

    events: dict[str, str]  # event name -> word; events that are not here are left out
    units: tuple[tuple[str, str], ...]  # minute, hour, day, week, month, year: singular, plural
    later: str
    then: str  # between parts where only the order is known
    now: str
    price: str
    stars: str
    nameless: str
    thing: str  # between things of a part
    part: str  # between parts


_ENGLISH: Final = _Words(
    events={
        "view": "viewed ",
        "click": "clicked ",
        "cart_add": "put in the cart ",
        "cart_remove": "took out of the cart ",
        "purchase": "bought ",
        "rate": "rated ",
        "comment": "reviewed ",
        "share": "shared ",
    },
    units=tuple((f" {unit}", f" {unit}s") for unit in ("minute", "hour", "day", "week", "month", "year")),
    later="{} later ",
    then="then ",
    now="now {}",
    price="{} at {}",
    stars="{} {} stars",
    nameless="an unnamed item",
    thing=", ",
    part="; ",
)
_CHINESE: Final = _Words(
    events={
        "view": "浏览",
        "click": "点击",
        "cart_add": "加购",
        "cart_remove": "移出购物车",
        "purchase": "购买",
        "rate": "评分",
        "comment": "评论",
        "share": "分享",
    },
    units=tuple((unit, unit) for unit in ("分钟", "小时", "天", "周", "个月", "年")),
    later="{}后",
    then="然后",
    now="现在{}",
    price="{}(价格{})",
    stars="{}({}星)",
    nameless="未命名商品",
    thing="、",
    part="；",
)
LANGUAGES: Final = {"en": _ENGLISH, "zh": _CHINESE}


class BehaviourWriter:
    """Writes what users of one shop did; made once, asked for any users and moments.

    max_events: the most events that are written. max_chars: the longest text; the oldest events go
    first. language: en or zh; '' looks at the titles. Raises InputError for a setting out of range.
    """

    def __init__(
        self, dataset: Dataset, *, max_events: int = 16, max_chars: int = 1000, language: str = ""
    ) -> None:
        if max_events < 1 or max_chars < 2 * TITLE_CHARS:
            given = f"max_events {max_events}, max_chars {max_chars}"
            raise InputError(f"a text of behaviour needs max_events >= 1 and max_chars >= 160, got {given}")
        titles = [shorten(" ".join(title.split()), TITLE_CHARS) for title in dataset.titles()]
        self.language = language or ("zh" if mostly_han(titles) > 0.5 else "en")
        if self.language not in LANGUAGES:
            raise InputError(f"language must be one of {', '.join(LANGUAGES)}, got {language!r}")
        self.words = LANGUAGES[self.language]
        self.max_events, self.max_chars, self.timed = max_events, max_chars, dataset.timed
        self.end_s = dataset.end_s
        self.titles = [title or self.words.nameless for title in titles]
        self.categories = category_numbers(dataset)
        codes = [EVENT_CODES[name] for name in self.words.events]
        rows = dataset.events.filter(pl.col("event").is_in(codes)).sort("user", maintain_order=True)
        counts = np.bincount(rows["user"].to_numpy(), minlength=dataset.n_users)
        self.indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self.items, self.time_s = rows["item"].to_numpy(), rows["time_s"].to_numpy()
        self.events = rows["event"].to_numpy()
        self.prices = rows["price"].fill_null(float("nan")).to_numpy()
        self.values = rows["value"].fill_null(float("nan")).to_numpy()

    def write(
        self,
        users: Sequence[int] | IntArray | None = None,
        at: datetime | float | DoubleArray | None = None,
        candidates: Sequence[int] | IntArray | None = None,
    ) -> list[str]:
        """One text a user (dense ids; all by default) of what was done before `at`, one moment or one each.

        candidates: an item for each user, whose own events and category are written before others; without
        it the latest events are. '' for a user who had done nothing by then, and for a stranger (-1).
        """
        asked = np.arange(len(self.indptr) - 1) if users is None else np.asarray(users, np.int64)
        moment = at if isinstance(at, np.ndarray) else self.end_s if at is None else seconds(at)
        moments = np.broadcast_to(np.asarray(moment, np.float64), asked.shape)
        about = np.full(asked.shape, -1) if candidates is None else np.asarray(candidates, np.int64)
        triples = zip(asked.tolist(), moments.tolist(), about.tolist(), strict=True)
        return [self._text(user, at_s, candidate) for user, at_s, candidate in triples]

    def _text(self, user: int, at_s: float, candidate: int) -> str:
        rows = self._rows(user, at_s, candidate)
        things = [self._thing(row) for row in rows]
        gap = self._gap(at_s - self.time_s[rows[-1]]) if self.timed and rows else ""
        now = self.words.now.format(self.words.later.format(gap) if gap else "").rstrip()
        left = self.max_chars - len(now)
        for back, thing in enumerate(reversed(things)):
            left -= len(thing) + self._overhead
            if left < 0 and back:
                rows, things = rows[-back:], things[-back:]
                break
        parts = self._parts(rows, things)
        return self.words.part.join([*parts, now]) if parts else ""

    def _rows(self, user: int, at_s: float, candidate: int) -> list[int]:
        """Places of the events that are written, oldest first."""
        if user < 0:
            return []
        start, end = self.indptr[user], self.indptr[user + 1]
        end = start + np.searchsorted(self.time_s[start:end], at_s, side="left")
        if candidate < 0:
            return list(range(max(start, end - self.max_events), end))
        items, category = self.items[start:end], self.categories[candidate]
        alike = (self.categories[items] == category) & (category >= 0)
        nearness = np.where(items == candidate, 2, alike)
        nearest = np.argsort(nearness, kind="stable")[-self.max_events :]
        return (start + np.sort(nearest)).tolist()  # type: ignore[no-any-return]

    @property
    def _overhead(self) -> int:
        """Most characters that stand before a thing: gap, event, separator."""
        return 24 + max(len(word) for word in self.words.events.values())

    def _parts(self, rows: list[int], things: list[str]) -> list[str]:
        """Things of one moment and one event side by side, the gap before each part but the first."""
        parts: list[str] = []
        before = -1
        for row, thing in zip(rows, things, strict=True):
            same = before >= 0 and self.events[row] == self.events[before]
            if same and self.timed and self.time_s[row] == self.time_s[before]:
                parts[-1] += self.words.thing + thing
            else:
                lead = self._lead(before, row) if before >= 0 else ""
                parts.append(lead + self.words.events[EVENTS[self.events[row]]] + thing)
            before = row
        return parts

    def _lead(self, before: int, row: int) -> str:
        if not self.timed:
            return self.words.then
        gap = self._gap(self.time_s[row] - self.time_s[before])
        return self.words.later.format(gap) if gap else ""

    def _thing(self, row: int) -> str:
        title, price, value = self.titles[self.items[row]], self.prices[row], self.values[row]
        if EVENTS[self.events[row]] == "rate":
            return title if np.isnan(value) else self.words.stars.format(title, f"{value:g}")
        return title if np.isnan(price) else self.words.price.format(title, amount(float(price)))

    def _gap(self, gap_s: float) -> str:
        """Seconds in words, '' under a minute."""
        if gap_s < _MINUTE_S:
            return ""
        days = gap_s / _DAY_S
        steps = (
            (gap_s < _HOUR_S, gap_s / _MINUTE_S),
            (days < 1, gap_s / _HOUR_S),
            (days < 14, days),
            (days < 60, days / 7),
            (days < 730, days / 30.4),
            (True, days / 365.25),
        )
        position, number = next((place, n) for place, (fits, n) in enumerate(steps) if fits)
        singular, plural = self.words.units[position]
        return f"{int(number)}{singular if int(number) == 1 else plural}"


def amount(price: float) -> str:
    """A price as people write it.

    >>> amount(3.99), amount(5.0), amount(12.5)
    ('3.99', '5', '12.50')
    """
    return f"{price:.0f}" if price == round(price) else f"{price:.2f}"
