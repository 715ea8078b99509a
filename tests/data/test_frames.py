"""Frames and stores give the same `Dataset`, and say which cell is wrong."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import polars as pl
import pytest

from intently import Dataset
from intently.errors import InputError
from intently.store import SqliteStore

EVENTS = pl.DataFrame(
    {
        "user_id": ["b", "a", "a"],
        "item_id": ["2", "1", "2"],
        "event": ["view", "purchase", "view"],
        "time_s": [300.0, 100.0, 200.0],
        "session_id": ["s2", "s1", None],
    }
)
ITEMS = pl.DataFrame({"item_id": ["1", "3"], "title": ["One", "Three"]})
USERS = pl.DataFrame({"user_id": ["a", "c"], "age": [30, 40]})


def test_a_store_and_its_frames_give_the_same_dataset(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "s.db") as store:
        store.add_events(EVENTS)
        store.upsert_items(ITEMS)
        store.upsert_users(USERS)
        stored = Dataset.from_store(store)
    framed = Dataset.from_frames(EVENTS.rename({"time_s": "timestamp"}), ITEMS, USERS)
    assert stored.events.equals(framed.events)
    assert stored.item_table.equals(framed.item_table)
    assert stored.user_table.equals(framed.user_table)
    assert stored.fingerprint == framed.fingerprint
    assert stored.events["session"].to_list() == [1, -1, 2]


def test_an_empty_store_gives_an_empty_dataset(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "s.db") as store:
        empty = Dataset.from_store(store)
    assert (empty.n_users, empty.n_items, empty.n_events) == (0, 0, 0)


def test_ids_that_pandas_turned_into_floats_lose_their_point() -> None:
    frame = pd.DataFrame(
        {"user_id": [1.0, 2.0], "item_id": [7, 8], "timestamp": ["2024-01-01", "2024-01-02"]}
    )
    shop = Dataset.from_frames(frame)
    assert (shop.users.ids, shop.items.ids) == (("1", "2"), ("7", "8"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"user_id": [None, "a", "b"]}, "user_id of row 0 is missing"),
        ({"timestamp": ["2024-01-01", "soon", "2024-01-03"]}, "timestamp of row 1 is not a time: got 'soon'"),
        ({"event": ["view", "view", "fly"]}, "event of row 2 is not one of"),
        ({"price": ["1", "2", "dear"]}, "price of row 2 is not a number: got 'dear'"),
    ],
)
def test_a_cell_that_cannot_be_read_is_named(change: dict[str, list[object]], message: str) -> None:
    good = {"user_id": ["a"] * 3, "item_id": ["i"] * 3, "timestamp": ["2024-01-01"] * 3}
    with pytest.raises(InputError, match=message):
        Dataset.from_frames(pl.DataFrame(good | change))


def test_a_missing_column_is_named_with_the_columns_got() -> None:
    with pytest.raises(InputError, match="events lack timestamp; got columns user_id, item_id, when"):
        Dataset.from_frames(pl.DataFrame({"user": ["a"], "item": ["b"], "when": ["c"]}))
