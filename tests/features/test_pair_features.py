"""Features say what was true at the moment of asking, worked by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from intently.data import Dataset
from intently.data.histories import DAY_S
from intently.features import PAIR_FEATURES, ItemFacts, pair_features
from intently.features.facts import ITEM_FACTS, item_levels
from intently.features.groups import NEVER_DAYS
from tiny_shops import weekly_basket


def shop() -> Dataset:
    """u buys milk on days 0, 10, 20 and tea on day 20; v buys tea on day 18; asked on day 30."""
    rows = [("u", "milk", 0, 2.0), ("u", "milk", 10, 2.0), ("v", "tea", 18, 3.0), ("u", "milk", 20, 1.0)]
    rows.append(("u", "tea", 20, 3.0))
    events = pl.DataFrame(rows, schema=["user_id", "item_id", "day", "price"], orient="row")
    events = events.with_columns(timestamp=pl.from_epoch(pl.col("day") * int(DAY_S)))
    items = pl.DataFrame(
        {
            "item_id": ["bread", "milk", "tea", "a", "b", "c"],
            "category": ["food", "drink", "drink", "food", "food", "food"],
        }
    )
    return Dataset.from_frames(events, items)


def asked(item: str) -> dict[str, float]:
    data = shop()
    histories = data.histories([data.users.index("u")], at=None)
    histories = histories.__class__(
        histories.indptr,
        histories.items,
        histories.time_s,
        histories.events,
        histories.users,
        np.array([30 * DAY_S]),
    )
    item_index = np.array([data.items.index(item)], np.int32)
    row = pair_features(histories, np.zeros(1, np.int64), item_index, ItemFacts.of(data))[0]
    return dict(zip(PAIR_FEATURES, row.tolist(), strict=True))


def test_own_counts_ages_and_gaps() -> None:
    milk = asked("milk")
    assert milk["own_times"] == 3
    assert milk["own_last_age_days"] == pytest.approx(10)
    assert milk["own_first_age_days"] == pytest.approx(30)
    assert milk["own_gap_mean_days"] == pytest.approx(10)
    assert milk["own_gap_std_days"] == pytest.approx(0, abs=1e-3)
    assert milk["own_overdue"] == pytest.approx(1)
    assert milk["own_baskets_since"] == 0
    assert milk["own_decayed_28d"] == pytest.approx(sum(0.5 ** (a / 28) for a in (30, 20, 10)), rel=1e-5)
    assert milk["own_share_of_baskets"] == 1


def test_an_item_never_met_has_counts_of_zero_and_ages_of_never() -> None:
    bread = asked("bread")
    assert bread["own_times"] == bread["own_decayed_28d"] == 0
    assert bread["own_last_age_days"] == bread["own_gap_mean_days"] == NEVER_DAYS
    assert bread["user_baskets"] == 3


def test_category_counts_reach_items_never_met() -> None:
    tea = asked("tea")
    assert tea["level0_times"] == 3  # three moments with a drink
    assert tea["level0_item_share"] == pytest.approx(1 / 3)


def test_features_are_finite_for_strangers_and_empty_batches() -> None:
    data = weekly_basket()
    facts = ItemFacts.of(data)
    stranger = data.histories([0], at=0.0)
    table = pair_features(stranger, np.zeros(3, np.int64), np.arange(3, dtype=np.int32), facts)
    assert np.isfinite(table).all()
    none = pair_features(stranger, np.zeros(0, np.int64), np.zeros(0, np.int32), facts)
    assert none.shape == (0, len(PAIR_FEATURES))


def test_a_pair_has_the_same_features_alone_and_in_a_batch() -> None:
    data = weekly_basket()
    facts = ItemFacts.of(data)
    batch = data.histories([3, 4, 5])
    items = np.array([3, 11, 17], np.int32)
    together = pair_features(batch, np.array([0, 1, 2]), items, facts)
    for row in range(3):
        alone = pair_features(batch.select([row]), np.zeros(1, np.int64), items[row : row + 1], facts)
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-6)


def test_facts_see_nothing_after_the_cut() -> None:
    data = weekly_basket()
    cut = data.start_s + 60 * DAY_S
    before = ItemFacts.of(data.as_of(cut))
    changed = data.events.filter((pl.col("time_s") < cut) | (pl.col("item") == 0))
    other = Dataset(changed, data.users, data.items, data.item_table, data.user_table)
    np.testing.assert_array_equal(before.facts, ItemFacts.of(other.as_of(cut)).facts)


def test_price_ratio_is_the_last_week_against_the_mean() -> None:
    facts = ItemFacts.of(shop()).facts
    milk = shop().items.index("milk")
    assert facts[milk, ITEM_FACTS.index("item_price")] == pytest.approx(5 / 3)
    assert facts[milk, ITEM_FACTS.index("item_price_ratio")] == pytest.approx(1.0 / (5 / 3))


def test_levels_are_columns_that_group_items_and_ids_are_none() -> None:
    table = pl.DataFrame(
        {
            "item_id": [f"i{i}" for i in range(12)],
            "title": [f"title {i}" for i in range(12)],
            "unique": [f"x{i}" for i in range(12)],
            "kind": ["a", "b", "c", None] * 3,
            "same": ["one"] * 12,
        }
    )
    codes, sizes = item_levels(table, 12)
    assert sizes == (4,)
    assert len(set(codes[0, :4].tolist())) == 4
