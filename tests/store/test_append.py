"""Small groups of events: the identities of a long import, known events counted once, whoever wrote them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.errors import StoreError
from intently.store import SqliteStore, append
from intently.store import sqlite as module
from intently.store.base import EVENT_TYPES, EventRow, typed_events
from intently.store.identity import identities, micros, row_identities
from intently.store.sieve import Sieve

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=60)
NUMBER = st.none() | st.floats(-1e12, 1e12) | st.just(-0.0)
ROWS = st.lists(
    st.tuples(
        st.just("u"),
        st.just("i"),
        st.integers(0, 9),
        st.floats(0.0, 7e9),
        NUMBER,
        NUMBER,
        NUMBER,
        st.none() | TEXT,
        st.none() | TEXT,
        st.none() | TEXT,
    ),
    min_size=1,
    max_size=6,
)


def row(user_id: str = "u", item_id: str = "i", event_id: str | None = None, time_s: float = 1e9) -> EventRow:
    return (user_id, item_id, 1, time_s, None, None, None, None, event_id, None)


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with SqliteStore(tmp_path / "s.db") as found:
        yield found


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_rows_and_frames_have_the_same_identities_bit_by_bit(rows: list[EventRow]) -> None:
    frame = typed_events([dict(zip(EVENT_TYPES, one, strict=True)) for one in rows])
    keys = np.arange(len(rows), dtype=np.int64)
    moments = micros(np.array([one[3] for one in rows]))
    of_rows = row_identities(tuple(zip(*rows, strict=True)), keys, keys + 7, moments)
    assert of_rows.tolist() == identities(frame, keys, keys + 7).tolist()


def test_events_count_once_while_identities_move_into_the_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FOLD", 16)
    path = tmp_path / "s.db"
    with SqliteStore(path) as store:
        for turn in range(3):
            for n in range(0, 60, 3):
                done = store.append([row(event_id=f"e{k}") for k in range(n, n + 3)])
                assert done.fresh == [turn == 0] * 3
        assert store.counts().events == 60
        folded, in_tree = inside(path)
        assert folded == 54
        assert in_tree == folded
    with SqliteStore(path) as store:
        assert store.append([row(event_id=f"e{k}") for k in range(61)]).fresh == [False] * 60 + [True]


@pytest.mark.parametrize("piece", [7, 20_000])
def test_the_filter_before_the_tree_knows_what_is_in_it_at_every_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    """Read piece by piece after a start, filled by what moves into the tree, outgrown and made anew."""
    monkeypatch.setattr(module, "FOLD", 16)
    monkeypatch.setattr(append, "FOLD", 16)
    monkeypatch.setattr(append, "PIECE", piece)
    path = tmp_path / "s.db"
    stored = 0
    for _start in range(3):
        with SqliteStore(path) as store, SqliteStore(path) as other:
            for _turn in range(40):
                new = [row(event_id=f"e{n}") for n in range(stored, stored + 5)]
                known = [row(event_id=f"e{n}") for n in range(0, stored, 11)]
                assert store.append(new + known).fresh == [True] * 5 + [False] * len(known)
                stored += 5
            assert other.append([row(event_id=f"e{stored}")]).fresh == [True]
            stored += 1
            every = [row(event_id=f"e{n}") for n in range(stored)]
            assert not any(store.append(every).fresh)
            assert store.counts().events == stored


def test_the_filter_fills_while_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FOLD", 16)
    monkeypatch.setattr(append, "FOLD", 16)
    monkeypatch.setattr(append, "PIECE", 7)
    path = tmp_path / "s.db"
    every = [row(event_id=f"e{n}") for n in range(40)]
    with SqliteStore(path) as store:
        store.append(every)
        store.append(every[:1])  # all others are in the tree by then
    with SqliteStore(path) as store, SqliteStore(path) as other:
        assert [store.settle() for _ in range(6)] == [True] * 5 + [False]
        assert not store.settle()
        assert not any(store.append(every).fresh)
        assert store.append([row(event_id="more")]).fresh == [True]
        assert other.append(every[:3] + [row(event_id=f"other{n}") for n in range(40)]).fresh[2:4] == [
            False,
            True,
        ]
        other.append(every[:1])  # the other one moves its own into the tree
        assert store.append([row(event_id=f"other{n}") for n in range(40)]).fresh == [False] * 40
        while store.settle():
            pass
        assert not any(store.append(every).fresh)


def test_the_filter_is_wrong_about_few_new_ones_and_about_no_known_one() -> None:
    random = np.random.default_rng(0)
    known, new = random.integers(-(2**63), 2**63 - 1, (2, 50_000))
    sieve = Sieve(len(known))
    sieve.add(known)
    assert sieve.may_hold(known).all()
    assert sieve.may_hold(new).mean() < 0.02
    assert not Sieve(0).may_hold(known).any()


def inside(path: Path) -> tuple[int, int]:
    db = sqlite3.connect(path)
    try:
        return (
            db.execute("SELECT row FROM folded").fetchone()[0],
            db.execute("SELECT count(*) FROM identities").fetchone()[0],
        )
    finally:
        db.close()


def test_long_and_short_calls_know_each_others_events(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MANY", 20)
    many = [dict(zip(EVENT_TYPES, row(f"u{n}", event_id=f"e{n}"), strict=True)) for n in range(30)]
    assert store.append([row("u3", event_id="e3")]).fresh == [True]
    assert store.add_events(many).duplicates == 1
    assert store.append([row("x", event_id="e29"), row("x", event_id="new")]).fresh == [False, True]
    assert store.add_events(many).accepted == 0
    assert store.counts().events == 31


def test_what_another_writer_stored_is_known_and_leaves_a_gap_in_the_numbers(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "s.db") as here, SqliteStore(tmp_path / "s.db") as there:
        assert here.append([row(event_id="a")]).first_row == 1
        assert there.append([row("new", "new", "b"), row(event_id="a")]).fresh == [True, False]
        done = here.append([row(event_id="b"), row("new", event_id="c")])
        assert done.fresh == [False, True]
        assert done.first_row == 3
        assert here.counts().users == 2


def test_nothing_is_known_of_a_transaction_that_failed(store: SqliteStore) -> None:
    outside = sqlite3.connect(store.path)
    outside.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON events WHEN new.event_id = 'bad' BEGIN"
        " SELECT raise(ABORT, 'refused by a test'); END"
    )
    outside.commit()
    with pytest.raises(StoreError, match="refused by a test"):
        store.append([row("v", "j", "good"), row("w", "k", "bad")])
    outside.execute("DROP TRIGGER refuse")
    outside.commit()
    outside.close()
    assert store.append([row("w", "j", "good"), row("v", "k", "bad")]).fresh == [True, True]
    assert store.events()["user_id"].to_list() == ["w", "v"]
    assert store.events()["item_id"].to_list() == ["j", "k"]


def test_a_store_of_layout_2_is_moved_on_and_still_knows_its_events(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with SqliteStore(path) as store:
        store.append([row(event_id="old"), row("v")])
    db = sqlite3.connect(path)
    db.executescript(
        "INSERT INTO identities SELECT identity FROM events; ALTER TABLE events DROP COLUMN identity;"
        "DROP TABLE folded; PRAGMA user_version=2"
    )
    db.close()
    for _ in range(2):
        with SqliteStore(path) as store:
            assert store.append([row(event_id="old"), row("v")]).fresh == [False, False]
    with SqliteStore(path) as store:
        assert store.append([row(event_id="new")]) == ([True], 3)


def test_more_ids_than_are_known_by_heart_keep_their_keys(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("intently.store.append.KNOWN", 5)
    for turn in range(2):
        for n in range(12):
            store.append([row(f"u{n}", f"i{n % 3}", time_s=1e9 + turn)])
    assert (store.counts().users, store.counts().items, store.counts().events) == (12, 3, 24)
    assert store.append([]).fresh == []


def test_an_erased_users_events_stay_known_though_their_numbers_are_given_again(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "s.db") as store:
        store.append([row("a", event_id="e1"), row("b", event_id="e2"), row("b", event_id="e3")])
        assert store.erase_user("b") == 2
        assert store.append([row("b", event_id="e3"), row("b", event_id="e4")]) == ([False, True], 2)
    with SqliteStore(tmp_path / "s.db") as store:
        assert store.append([row("b", event_id=f"e{n}") for n in range(1, 6)]).fresh == [False] * 4 + [True]
        assert store.events()["user_id"].to_list() == ["a", "b", "b"]


def test_columns_that_only_some_rows_fill_are_kept(store: SqliteStore) -> None:
    rows = [("u", "i", 1, 1e9 + at, None, None, None, None, f"e{at}", None) for at in range(300)]
    rows[7] = (*rows[7][:4], 2.5, None, 9.0, "s1", "e7", "r1")
    assert store.append(rows).fresh == [True] * 300
    assert store.append([rows[7], *rows[:3]]).fresh == [False] * 4
    frame = store.events()
    assert frame.height == 300
    assert frame["price"].to_list() == [9.0 if at == 7 else None for at in range(300)]
    assert frame["value"].null_count() == frame["session_id"].null_count() == 299
    assert frame.row(7, named=True)["value"] == 2.5
