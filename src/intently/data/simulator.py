"""A small synthetic shop whose right answers are known, for tests and docs.

Each user likes one shelf and rebuys a few of its products, each at a steady interval with little
noise: the truth says which product is due when. Between purchases the user browses: the item clicked
next follows a Markov rule on the shelf (after item j comes its successor with a known chance). The
chance that a user buys an item within the next days follows from the interval and can be asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from scipy import stats

from intently.data.dataset import Dataset
from intently.errors import InputError
from intently.schema import EVENT_CODES, FloatArray, LongArray

START_S: Final = 1_704_067_200.0  # 2024-01-01T00:00:00Z
DAY_S: Final = 86400.0

_SHELVES: Final = (
    (
        "Coffee",
        ("Colombian", "Espresso", "Decaf", "Organic", "Breakfast"),
        ("Beans", "Pods", "Ground Coffee"),
    ),
    ("Tea", ("Green", "Black", "Jasmine", "Mint", "Chamomile"), ("Tea Bags", "Loose Tea", "Iced Tea")),
    ("Pets", ("Salmon", "Chicken", "Puppy", "Senior", "Grain-Free"), ("Dog Food", "Cat Food", "Treats")),
    ("Baby", ("Soft", "Sensitive", "Overnight", "Newborn", "Large"), ("Diapers", "Wipes", "Lotion")),
    ("厨房", ("有机", "东北", "低盐", "特级", "家庭装"), ("大米", "酱油", "花生油")),
    ("零食", ("香辣", "原味", "海苔", "蜂蜜", "无糖"), ("薯片", "饼干", "坚果")),
)
"""Shelf, kinds, products: titles are kind + product; a third of the shelves are Chinese."""

NOISE_DAYS: Final = 1.0
"""Standard deviation of the days between two purchases of a product."""

FOLLOWS: Final = 0.8
"""Chance that a browsing user goes to the successor of the item just clicked."""


@dataclass(frozen=True)
class SimulatedShop:
    """Tables as a shop would hand them over, and the truth behind them.

    events: user_id, item_id, event, timestamp (datetime, UTC). items: item_id, title, category, price.
    users: user_id, favourite (a shelf). period_days: (n_users, n_items) days between purchases, 0
    where the user never buys the item. purchases: (user, item) -> moments in seconds, in order.
    successor: (n_items,) the item usually clicked next. Users and items are rows of the tables, and
    in `dataset()` the dense ids.
    """

    events: pl.DataFrame
    items: pl.DataFrame
    users: pl.DataFrame
    period_days: FloatArray
    purchases: dict[tuple[int, int], list[float]]
    successor: LongArray
    end_s: float

    def dataset(self) -> Dataset:
        """The three tables as a Dataset."""
        return Dataset.from_frames(self.events, self.items, self.users)

    def last_s(self, user: int, item: int, at_s: float | None = None) -> float:
        """The user's latest purchase of the item before `at_s` (default: the end), NaN without one."""
        moments = self.purchases.get((user, item), [])
        before = [moment for moment in moments if moment < (self.end_s if at_s is None else at_s)]
        return before[-1] if before else float("nan")

    def due(self, user: int, n: int, at_s: float | None = None) -> list[int]:
        """The user's n products that come up soonest, the right answer to "what is bought next"."""
        owned: list[int] = np.flatnonzero(self.period_days[user]).tolist()
        known = [item for item in owned if not np.isnan(self.last_s(user, item, at_s))]
        return sorted(known, key=lambda i: self.last_s(user, i, at_s) + self.period_days[user, i] * DAY_S)[:n]

    def chance(self, user: int, item: int, days: float, at_s: float | None = None) -> float:
        """P(the user buys the item within `days` after `at_s` | bought before, and not since).

        The next purchase comes one period after the last, with normal noise of NOISE_DAYS.
        """
        moment = self.end_s if at_s is None else at_s
        period = float(self.period_days[user, item])
        last = self.last_s(user, item, at_s)
        if period == 0.0 or np.isnan(last):
            return 0.0
        since = (moment - last) / DAY_S
        later, now = (float(stats.norm.sf((since + d - period) / NOISE_DAYS)) for d in (days, 0.0))
        return (now - later) / now if now > 0.0 else 1.0


def simulate(n_users: int = 200, n_items: int = 60, n_days: int = 120, seed: int = 0) -> SimulatedShop:
    """A shop of `n_days` days from 2024-01-01; the same arguments give the same shop.

    Raises InputError for fewer than 1 user, 6 items or 30 days.
    """
    if n_users < 1 or n_items < len(_SHELVES) or n_days < 30:
        got = f"{n_users} users, {n_items} items, {n_days} days"
        raise InputError(f"a shop needs 1 user, {len(_SHELVES)} items and 30 days, got {got}")
    rng = np.random.default_rng(seed)
    shelf = np.arange(n_items, dtype=np.int64) % len(_SHELVES)
    favourite = rng.integers(len(_SHELVES), size=n_users)
    items = pl.DataFrame([_item(i, rng) for i in range(n_items)])
    names = [f"u{user:04d}" for user in range(n_users)]
    users = pl.DataFrame({"user_id": names, "favourite": [_SHELVES[s][0] for s in favourite]})
    successor = _successors(shelf)
    period = np.zeros((n_users, n_items), np.float32)
    purchases: dict[tuple[int, int], list[float]] = {}
    rows: list[tuple[float, int, int, str]] = []
    for user in range(n_users):
        own = np.flatnonzero(shelf == favourite[user])
        bought = rng.choice(own, size=min(3, len(own)), replace=False)
        period[user, bought] = rng.integers(5, 22, size=len(bought))
        for item in bought.tolist():
            purchases[user, item] = _purchases(float(period[user, item]), n_days, rng)
            rows += [(moment, user, item, "purchase") for moment in purchases[user, item]]
        rows += _browsing(user, own, successor, n_days, rng)
    events = _events(rows, names, items["item_id"].to_list())
    return SimulatedShop(events, items, users, period, purchases, successor, START_S + n_days * DAY_S)


def _item(item: int, rng: np.random.Generator) -> dict[str, str | float]:
    category, kinds, products = _SHELVES[item % len(_SHELVES)]
    place = item // len(_SHELVES)
    kind, product = kinds[place % len(kinds)], products[place // len(kinds) % len(products)]
    space = " " if kind.isascii() else ""
    size = place // (len(kinds) * len(products))
    title = f"{kind}{space}{product}" + (f" {size + 1} kg" if size else "")
    price = round(float(rng.uniform(1, 20)), 2)
    return {"item_id": f"i{item:04d}", "title": title, "category": category, "price": price}


def _successors(shelf: LongArray) -> LongArray:
    """Each item's successor: the next one of its shelf, in a ring."""
    successor = np.zeros(len(shelf), np.int64)
    for one in np.unique(shelf):
        own = np.flatnonzero(shelf == one)
        successor[own] = np.roll(own, -1)
    return successor


def _purchases(period: float, n_days: int, rng: np.random.Generator) -> list[float]:
    """Moments of one product's purchases: a start within one period, then period + noise, at least a day."""
    moments = [float(rng.uniform(0, period))]
    while True:
        step = max(1.0, period + float(rng.normal(0, NOISE_DAYS)))
        if moments[-1] + step >= n_days:
            return [START_S + round(day * DAY_S) for day in moments]
        moments.append(moments[-1] + step)


def _browsing(
    user: int, own: LongArray, successor: LongArray, n_days: int, rng: np.random.Generator
) -> list[tuple[float, int, int, str]]:
    """About one visit a week of five clicks, a minute apart, along the Markov rule."""
    rows: list[tuple[float, int, int, str]] = []
    for _ in range(max(1, n_days // 7)):
        moment = START_S + float(rng.integers(0, n_days * 86400 - 600))
        item = int(rng.choice(own))
        for step in range(5):
            rows.append((moment + 60.0 * step, user, item, "click"))
            item = int(successor[item]) if rng.random() < FOLLOWS else int(rng.choice(own))
    return rows


def _events(rows: list[tuple[float, int, int, str]], users: list[str], items: list[str]) -> pl.DataFrame:
    ordered = sorted(rows, key=lambda row: (row[0], row[1], row[2], EVENT_CODES[row[3]]))
    moments = pl.from_epoch(pl.Series([int(row[0]) for row in ordered]), "s").dt.replace_time_zone("UTC")
    return pl.DataFrame(
        {
            "user_id": [users[row[1]] for row in ordered],
            "item_id": [items[row[2]] for row in ordered],
            "event": [row[3] for row in ordered],
            "timestamp": moments,
        }
    )
