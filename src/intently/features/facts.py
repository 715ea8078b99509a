"""What a shop knew of its items at a moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from intently.data import Dataset
from intently.data.histories import DAY_S
from intently.features.groups import HALF_LIVES_DAYS, NEVER_DAYS, decays, group
from intently.schema import EVENT_CODES, POSITIVE, FloatArray, IntArray

ITEM_FACTS = (
    "item_pop_7d", "item_pop_28d", "item_pop_90d", "item_trend", "item_buyers", "item_rebuy_share",
    "item_rebuy_gap_days", "item_age_days", "item_idle_days", "item_price", "item_price_ratio",
)  # fmt: skip
MAX_LEVELS = 4
_NOT_LEVELS = {"item_id", "title", "description", "image", "currency", "created_at"}


@dataclass(frozen=True)
class ItemFacts:
    """facts: (n_items, len(ITEM_FACTS)); levels: (n_levels, n_items) dense codes of category-like columns.

    level_pop: for each level (n_codes,) events in the last 28-day half-life, to compare items inside it.
    """

    facts: FloatArray
    levels: IntArray
    level_sizes: tuple[int, ...]

    @staticmethod
    def of(dataset: Dataset) -> ItemFacts:
        """Facts from everything in `dataset` (cut it first), as of its end."""
        levels, sizes = item_levels(dataset.item_table, dataset.n_items)
        return ItemFacts(_facts(dataset), levels, sizes)


def item_levels(table: pl.DataFrame, n_items: int) -> tuple[IntArray, tuple[int, ...]]:
    """Category-like columns as dense codes: text with 2 to n_items / 3 distinct values, finest last.

    Missing is a code of its own. No column is known by name, apart from those that never group items.
    """
    found: list[tuple[int, IntArray]] = []
    for name in table.columns:
        column = table[name]
        if name in _NOT_LEVELS or column.dtype not in (pl.String, pl.Categorical):
            continue
        codes = column.cast(pl.String).fill_null("").rank("dense").to_numpy().astype(np.int32) - 1
        size = int(codes.max(initial=-1)) + 1
        if 2 <= size <= max(n_items / 3, 2):
            found.append((size, codes))
    found.sort(key=lambda pair: pair[0])
    chosen = found[-MAX_LEVELS:]
    if not chosen:
        return np.zeros((0, n_items), np.int32), ()
    return np.stack([codes for _, codes in chosen]), tuple(size for size, _ in chosen)


def _facts(dataset: Dataset) -> FloatArray:
    n = dataset.n_items
    positive = [EVENT_CODES[name] for name in POSITIVE]
    events = dataset.events.filter(pl.col("event").is_in(positive))
    item = events["item"].to_numpy()
    age = ((dataset.end_s - events["time_s"].to_numpy()) / DAY_S).astype(np.float32)
    span = max((dataset.end_s - dataset.start_s) / DAY_S, 1.0)
    popular = []
    for half_life in HALF_LIVES_DAYS:
        reach = (1.0 - 0.5 ** (span / half_life)) * half_life / np.log(2.0)  # days' worth of events seen
        counts = np.bincount(item, weights=0.5 ** (age / half_life), minlength=n)
        popular.append(counts / reach / max(dataset.n_users, 1) * 1000.0)
    buyers, share, gap = _rebuys(dataset)
    first = np.full(n, 0.0)
    np.maximum.at(first, item, age)
    idle = np.full(n, NEVER_DAYS)
    np.minimum.at(idle, item, age)
    price, ratio = _prices(events, age, n)
    trend = np.log((popular[0] + 0.01) / (popular[2] + 0.01))
    columns = (*popular, trend, buyers, share, gap, first, idle, price, ratio)
    return np.stack(columns, axis=1).astype(np.float32)


def _rebuys(dataset: Dataset) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Of each item: users who met it, share of them who came back to it, mean days between."""
    histories = dataset.histories()
    ages, steps = histories.age_days, histories.steps_back
    groups = group(histories.rows, histories.items, ages, steps, dataset.n_items, decays(ages))
    item = (groups.keys % dataset.n_items).astype(np.int64)
    n = dataset.n_items
    buyers = np.bincount(item, minlength=n)
    again = groups.times > 1
    back = np.bincount(item[again], minlength=n)
    gaps = np.bincount(item[again], weights=groups.gap_mean[again], minlength=n)
    share = back / (buyers + 5.0)  # shrunk: one buyer who came back proves little
    gap = np.where(back > 0, gaps / np.maximum(back, 1), NEVER_DAYS)
    return buyers.astype(np.float32), share.astype(np.float32), gap.astype(np.float32)


def _prices(events: pl.DataFrame, age: FloatArray, n: int) -> tuple[FloatArray, FloatArray]:
    """Mean price of an item, and its last week's price against it (1 when nothing is known)."""
    price = events["price"].fill_null(np.nan).to_numpy().astype(np.float64)
    item = events["item"].to_numpy()
    known = np.isfinite(price) & (price > 0)
    usual = _mean(item[known], price[known], n)
    late = known & (age <= 7.0)
    now = _mean(item[late], price[late], n)
    ratio = np.where((usual > 0) & (now > 0), now / np.maximum(usual, 1e-9), 1.0)
    return usual.astype(np.float32), ratio.astype(np.float32)


def _mean(item: IntArray, values: np.ndarray[tuple[int], np.dtype[np.float64]], n: int) -> FloatArray:
    total = np.bincount(item, weights=values, minlength=n)
    return (total / np.maximum(np.bincount(item, minlength=n), 1)).astype(np.float32)
