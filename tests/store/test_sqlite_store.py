"""What the store promises, on a handful of events."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import polars as pl
import psycopg
import pytest

from intently.errors import InputError, StoreError
from intently.schema import EVENT_CODES
from intently.store import Added, Counts, EventStore, SqliteStore, open_store

ROW = {"user_id": "u1", "item_id": "i1", "event": "view", "time_s": 1.7e9}


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventStore]:
    place = tmp_path / "deep" / "store.db"
    if request.param == "postgres":
        place = request.getfixturevalue("database")
    with open_store(place) as opened:
        yield opened


def test_a_store_keeps_the_contract(store: EventStore) -> None:
    contract: EventStore = store
    assert contract.counts() == Counts(0, 0, 0)
    assert contract.events().height == 0
    assert contract.last_row() == 0


def test_an_event_comes_back_as_it_went_in(store: EventStore) -> None:
    given = ROW | {"value": 4.5, "quantity": 2, "price": 1.25, "session_id": "s1", "event_id": "e1"}
    assert store.add_events([given]) == Added(1, 0)
    row = store.events().row(0, named=True)
    assert row == {
        "user_id": "u1",
        "item_id": "i1",
        "event": EVENT_CODES["view"],
        "time_s": 1.7e9,
        "value": 4.5,
        "quantity": 2.0,
        "price": 1.25,
        "session_id": "s1",
    }


def test_what_came_of_an_answer_is_counted_by_kind(store: EventStore) -> None:
    assert store.outcomes().height == 0
    of = [("rec_a", "click"), ("rec_a", "click"), ("rec_a", "purchase"), ("rec_b", "click"), (None, "click")]
    store.add_events(
        [
            ROW | {"recommendation_id": name, "event": event, "event_id": str(place)}
            for place, (name, event) in enumerate(of)
        ]
    )
    click, purchase = EVENT_CODES["click"], EVENT_CODES["purchase"]
    assert set(store.outcomes().iter_rows()) == {
        ("rec_a", click, 2),
        ("rec_a", purchase, 1),
        ("rec_b", click, 1),
    }


def test_microseconds_survive(store: EventStore) -> None:
    store.add_events([ROW | {"time_s": 1_700_000_000.123457}])
    assert round(store.events()["time_s"][0] * 1e6) == 1_700_000_000_123_457


def test_the_same_event_counts_once(store: EventStore) -> None:
    assert store.add_events([ROW, ROW]) == Added(1, 1)
    assert store.add_events([ROW]) == Added(0, 1)
    assert store.counts().events == 1


@pytest.mark.parametrize(
    "change",
    [
        {"user_id": "u2"},
        {"item_id": "i2"},
        {"event": "click"},
        {"time_s": 1.7e9 + 1e-6},
        {"value": 0.0},
        {"quantity": 1.0},
        {"price": 0.0},
        {"session_id": "s"},
        {"recommendation_id": "r"},
        {"event_id": "e"},
    ],
)
def test_any_field_that_differs_makes_another_event(store: EventStore, change: dict[str, object]) -> None:
    assert store.add_events([ROW, ROW | change]) == Added(2, 0)
    assert store.add_events([ROW | change, ROW]) == Added(0, 2)


def test_event_ids_decide_where_they_are_given(store: EventStore) -> None:
    twice = [ROW | {"event_id": "a"}, ROW | {"event_id": "b"}]
    assert store.add_events(twice) == Added(2, 0)
    assert store.add_events([ROW | {"event_id": "a", "price": 9.0}]) == Added(0, 1)


def test_half_known_batches_add_only_the_new_half_in_order(store: EventStore) -> None:
    rows = [ROW | {"item_id": f"i{n}"} for n in range(100)]
    store.add_events(rows[::2])
    assert store.add_events(rows) == Added(50, 50)
    assert store.events()["item_id"].to_list() == [r["item_id"] for r in rows[::2] + rows[1::2]]


def test_arrival_order_is_kept_and_can_be_followed(store: EventStore) -> None:
    store.add_events([ROW | {"item_id": f"i{n}"} for n in (3, 1, 2)])
    seen = store.last_row()
    assert store.events()["item_id"].to_list() == ["i3", "i1", "i2"]
    store.add_events([ROW | {"item_id": "i0"}])
    later = store.events_since(seen)
    assert later["item_id"].to_list() == ["i0"]
    assert later["row"][0] == store.last_row() > seen
    assert store.events_since(store.last_row()).height == 0
    assert later.columns == ["row", "user_id", "item_id", "event", "time_s", "session_id"]
    assert later.schema == store.events_since(store.last_row()).schema


def test_frames_and_dicts_give_the_same_identity(store: EventStore) -> None:
    store.add_events(pl.DataFrame([ROW]))
    assert store.add_events([ROW]) == Added(0, 1)
    coded = pl.DataFrame([ROW | {"event": EVENT_CODES["view"], "price": None}])
    assert store.add_events(coded) == Added(0, 1)


def test_identity_is_the_same_in_every_release(store: EventStore) -> None:
    store.add_events([ROW, ROW | {"event_id": "e1", "time_s": 0.0}, ROW | {"price": -0.0}])
    query = "SELECT identity FROM events"
    if isinstance(store, SqliteStore):
        with closing(sqlite3.connect(store.path)) as db:
            marks = db.execute(query).fetchall()
    else:
        with psycopg.connect(store._url, options="-c search_path=intently") as server:
            marks = server.execute(query).fetchall()
    assert sorted(mark[0] for mark in marks) == sorted(IDENTITIES)


IDENTITIES = [5095526338602706400, -8710502448946954058, 6936838682404370218]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"user_id": None}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "x" * 513}, "user_id"),
        ({"item_id": "a\0b"}, "item_id"),
        ({"event": "buy"}, "event"),
        ({"event": 99}, "event"),
        ({"time_s": None}, "time_s"),
        ({"time_s": float("nan")}, "time_s"),
        ({"time_s": 1e12}, "time_s"),
        ({"price": float("inf")}, "price"),
        ({"value": float("nan")}, "value"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_row_is_refused_and_nothing_is_stored(
    store: SqliteStore, change: dict[str, object], field: str
) -> None:
    with pytest.raises(InputError, match=field) as caught:
        store.add_events(
            [ROW, ROW | change] if field != "event" or change["event"] == "buy" else [ROW | change]
        )
    assert caught.value.field == field
    assert store.counts().events == 0


def test_a_missing_column_and_a_wrong_type_are_named(store: EventStore) -> None:
    with pytest.raises(InputError, match="events lack time_s; got user_id, item_id, event"):
        store.add_events([{"user_id": "u", "item_id": "i", "event": "view"}])
    with pytest.raises(InputError, match="events of a wrong type"):
        store.add_events([ROW | {"price": "cheap"}])


def test_attributes_of_any_kind_come_back(store: EventStore) -> None:
    frame = pl.DataFrame(
        {"item_id": ["a", "b"], "title": ["One", None], "price": [1.5, 2.0], "tags": [["x", "y"], []]}
    )
    assert store.upsert_items(frame) == Added(2, 0)
    assert store.items().sort("item_id").to_dicts() == frame.to_dicts()


def test_upsert_merges_and_says_what_changed(store: EventStore) -> None:
    first = pl.DataFrame({"user_id": ["a", "b"], "age": [30, 40], "city": ["Bern", None]})
    assert store.upsert_users(first) == Added(2, 0)
    assert store.upsert_users(first) == Added(0, 2)
    assert store.upsert_users(pl.DataFrame({"user_id": ["a"], "age": [31], "city": [None]})) == Added(1, 0)
    assert store.users().to_dicts() == [
        {"user_id": "a", "age": 31, "city": "Bern"},
        {"user_id": "b", "age": 40, "city": None},
    ]


def test_ids_met_only_in_events_are_listed_without_attributes(store: EventStore) -> None:
    store.add_events([ROW])
    assert store.items().to_dicts() == [{"item_id": "i1"}]
    store.upsert_items(pl.DataFrame({"item_id": ["i1"], "title": ["One"]}))
    assert store.items().to_dicts() == [{"item_id": "i1", "title": "One"}]
    assert store.counts() == Counts(events=1, items=1, users=1)


def test_columns_of_mixed_kinds_become_text(store: EventStore) -> None:
    store.upsert_items(pl.DataFrame({"item_id": ["a"], "size": [3]}))
    store.upsert_items(pl.DataFrame({"item_id": ["b"], "size": ["XL"]}))
    assert store.items()["size"].to_list() == ["3", "XL"]


def test_reopening_finds_everything(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "s.db") as store:
        store.add_events([ROW])
    with SqliteStore(tmp_path / "s.db") as store:
        assert store.add_events([ROW]) == Added(0, 1)


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db")
    store.close()
    store.close()
    with pytest.raises(StoreError, match="was closed"):
        store.add_events([ROW])
    with pytest.raises(StoreError, match="was closed"):
        store.events()


def test_a_second_writer_gets_a_clear_message_and_readers_go_on(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "s.db", timeout_s=0.05) as store:
        store.add_events([ROW])
        other = sqlite3.connect(store.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another process is writing to"):
            store.add_events([ROW | {"item_id": "i2"}])
        assert store.events().height == 1
        other.execute("ROLLBACK")
        other.close()
        assert store.add_events([ROW | {"item_id": "i2"}]) == Added(1, 0)


def test_files_that_are_no_store_are_refused(tmp_path: Path) -> None:
    (tmp_path / "junk.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="not a readable store"):
        SqliteStore(tmp_path / "junk.db")
    foreign = sqlite3.connect(tmp_path / "foreign.db")
    foreign.execute("CREATE TABLE t (x)")
    foreign.close()
    with pytest.raises(StoreError, match="not a store of Intently"):
        SqliteStore(tmp_path / "foreign.db")
    with pytest.raises(StoreError, match="is a folder"):
        SqliteStore(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot make the folder"):
        SqliteStore(tmp_path / "file" / "s.db")


def test_a_store_of_a_later_release_is_refused(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "s.db").close()
    db = sqlite3.connect(tmp_path / "s.db")
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(StoreError, match="has layout 99"):
        SqliteStore(tmp_path / "s.db")


def test_threads_share_one_store(store: EventStore) -> None:
    def write(worker: int) -> None:
        for n in range(20):
            store.add_events([ROW | {"user_id": f"u{worker}", "item_id": f"i{n}"}])

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.counts() == Counts(events=80, items=20, users=4)


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from intently.store import SqliteStore\n"
        "store = SqliteStore(sys.argv[1])\n"
        "n = 0\n"
        "while True:\n"
        "    store.add_events([{'user_id': 'u', 'item_id': str(n), 'event': 'view', 'time_s': 1.7e9}])\n"
        "    print(n, flush=True)\n"
        "    n += 1\n"
    )
    path = tmp_path / "s.db"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(30):
            acknowledged = int(writer.stdout.readline())
        writer.kill()
        acknowledged = max([acknowledged, *(int(n) for n in writer.stdout.read().splitlines(False) if n)])
    with SqliteStore(path) as store:
        stored = {int(item) for item in store.events()["item_id"].to_list()}
        assert stored >= set(range(acknowledged + 1))
        assert len(stored) <= acknowledged + 2
        assert store.add_events([ROW]) == Added(1, 0)
