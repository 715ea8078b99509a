"""The default store: one SQLite file in write-ahead mode.

Layout. `users` and `items` give each outside id an integer key for good; `events` holds keys and
numbers, its rowid is the order of arrival. What makes two events the same, their 64-bit identity, stands
in the event's row, and in the tree `identities` for all rows up to the one in `folded`: see append.py.
A long import goes into the tree in sorted order, so that it is walked once a batch. Each call is one
transaction, synced before it returns.

One writer at a time: a second one waits `timeout_s`, then gets a StoreError. Reads use connections
of their own and never block the writer.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import numpy as np
import orjson
import polars as pl

from intently.errors import StoreError, StoreFullError
from intently.schema import LongArray
from intently.store import attributes as attr
from intently.store.append import FOLD, Appender
from intently.store.base import (
    NUMBERS,
    OUTCOME_TYPES,
    OUTCOMES,
    SEARCH,
    WRITTEN,
    Added,
    Appended,
    Counts,
    EventRow,
    EventRows,
    TableRows,
    typed_events,
)
from intently.store.erase import ERASED, erase_user
from intently.store.identity import identities, micros
from intently.store.read import read_events

VERSION: Final = 3
_APPLICATION_ID: Final = 0x494E544C  # "INTL": the file says whose it is
_MANY: Final = 5_000  # events of one call that go into the tree of identities at once
_WAL_PAGES: Final = 4_000  # 16 MB of changes before they are copied into the file itself

_SCHEMA: Final = """
CREATE TABLE users (key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, attributes TEXT);
CREATE TABLE items (key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, attributes TEXT);
CREATE TABLE events (
  row INTEGER PRIMARY KEY, user INTEGER NOT NULL, item INTEGER NOT NULL, event INTEGER NOT NULL,
  time_us INTEGER NOT NULL, value REAL, quantity REAL, price REAL,
  session_id TEXT, event_id TEXT, recommendation_id TEXT, identity INTEGER);
CREATE TABLE identities (identity INTEGER PRIMARY KEY);
CREATE TABLE folded (row INTEGER NOT NULL);
INSERT INTO folded VALUES (0)
"""
_SEARCHES: Final = "SELECT count(*) FROM items WHERE id >= ? AND id < ?"
_PUT: Final = (
    "INSERT INTO {table} (id, attributes) VALUES (?, ?)"
    " ON CONFLICT (id) DO UPDATE SET attributes = excluded.attributes"
)


class SqliteStore:
    """See EventStore for what each method promises.

    path: the file; made, with its folder, when missing. Raises StoreError when it cannot be opened,
    is not a store, or was written by a newer Intently.
    """

    def __init__(self, path: str | Path, *, timeout_s: float = 10.0) -> None:
        self.path = Path(path)
        self._timeout_s = timeout_s
        self._known = Appender()
        self._lock = threading.RLock()
        if self.path.is_dir():
            raise StoreError(f"{self.path} is a folder, not a store")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make the folder {self.path.parent}: {error.strerror}") from error
        with self._explained():
            self._writer: sqlite3.Connection | None = self._connect()
        self._prepare()

    # -- writing ------------------------------------------------------------------------------

    def add_events(self, rows: EventRows) -> Added:
        """See EventStore.add_events."""
        frame = typed_events(rows)
        if frame.height < _MANY:
            new = self.append(frame.rows()).fresh
            return _added([place for place, one in enumerate(new) if one], frame.height)
        with self._write() as db:
            self._known.look(db)
            self._known.fold(db)
            users = _keys(db, "users", frame["user_id"])
            items = _keys(db, "items", frame["item_id"])
            marks = identities(frame, users, items)
            fresh = _claim(db, marks)
            _insert_events(db, frame, users, items, marks, fresh)
            self._known.skip(db)
        self._known.forget()
        return _added(fresh.tolist(), frame.height)

    def append(self, rows: Sequence[EventRow]) -> Appended:
        """Store a few plain rows that were checked before; on return they are on disk (see append.py)."""
        if not rows:
            return Appended([], self._known.next_row)
        with self._write() as db:
            self._known.look(db)
            if self._known.n_recent > FOLD:
                self._known.fold(db)
            done = self._known.add(db, rows)
        self._known.keep()
        return done

    def settle(self) -> bool:
        """See EventStore.settle: the filter of known identities is filled."""
        if self._known.sifted:
            return False
        with self._lock, self._explained():
            db = self._open()
            self._known.look(db)
            self._known.read_on(db)
        return not self._known.sifted

    def upsert_items(self, rows: TableRows) -> Added:
        """See EventStore.upsert_items."""
        return self._upsert("items", "item_id", rows)

    def upsert_users(self, rows: TableRows) -> Added:
        """See EventStore.upsert_users."""
        return self._upsert("users", "user_id", rows)

    def replace_items(self, given: Mapping[str, Mapping[str, object]]) -> None:
        """See EventStore.replace_items."""
        self._replace("items", "item_id", given)

    def replace_users(self, given: Mapping[str, Mapping[str, object]]) -> None:
        """See EventStore.replace_users."""
        self._replace("users", "user_id", given)

    def erase_user(self, user_id: str) -> int:
        """See EventStore.erase_user."""
        with self._lock:
            with self._write() as db:
                self._known.look(db)
                self._known.fold(db)  # what an erased event was stays known, so that it does not come back
                n = erase_user(db, user_id)
                self._known.skip(db)  # numbers of the last rows may be given again
            self._known.forget()
            with self._explained():
                self._open().execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the log held the bytes too
        return n

    # -- reading ------------------------------------------------------------------------------

    def item(self, item_id: str) -> dict[str, object] | None:
        """See EventStore.item."""
        return self._one("items", item_id)

    def user(self, user_id: str) -> dict[str, object] | None:
        """See EventStore.user."""
        return self._one("users", user_id)

    def events(self) -> pl.DataFrame:
        """See EventStore.events."""
        return self._events(0, (*NUMBERS, "session_id")).drop("row")

    def events_since(self, row: int) -> pl.DataFrame:
        """See EventStore.events_since."""
        return self._events(row, ("session_id",))

    def outcomes(self) -> pl.DataFrame:
        """See EventStore.outcomes."""
        with self._read() as db:
            return pl.DataFrame(db.execute(OUTCOMES).fetchall(), schema=OUTCOME_TYPES, orient="row")

    def last_row(self) -> int:
        """See EventStore.last_row."""
        with self._read() as db:
            return _last_row(db)

    def items(self) -> pl.DataFrame:
        """See EventStore.items."""
        return attr.to_frame("item_id", self.item_records())

    def users(self) -> pl.DataFrame:
        """See EventStore.users."""
        return attr.to_frame("user_id", self.user_records())

    def item_records(self) -> list[tuple[str, attr.Attributes]]:
        """See EventStore.item_records."""
        return self._records("items")

    def user_records(self) -> list[tuple[str, attr.Attributes]]:
        """See EventStore.user_records."""
        return self._records("users")

    def counts(self) -> Counts:
        """See EventStore.counts."""
        with self._read() as db:
            found = [
                db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("events", "items", "users")
            ]
            found[1] -= db.execute(_SEARCHES, (SEARCH, SEARCH[:-1] + ";")).fetchone()[0]  # ';' follows ':'
        return Counts(*found)

    def close(self) -> None:
        """See EventStore.close."""
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- inside -------------------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self.path, timeout=self._timeout_s, isolation_level=None, check_same_thread=False
        )

    def _prepare(self) -> None:
        """Settings of the writer; tables of a new file; refuse a strange one."""
        with self._explained():
            db = self._open()
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("PRAGMA secure_delete=ON")
            db.execute("PRAGMA cache_size=-65536")
            db.execute(f"PRAGMA journal_size_limit={64 << 20}")
            db.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES}")
            if not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                with self._write():
                    self._create(db)
            owner = db.execute("PRAGMA application_id").fetchone()[0]
            version = db.execute("PRAGMA user_version").fetchone()[0]
        if owner != _APPLICATION_ID:
            self.close()
            raise StoreError(f"{self.path} is a SQLite file, but not a store of Intently")
        if version == 2:
            version = self._moved_on()
        if version != VERSION:
            self.close()
            hint = "use the Intently that wrote it" if version > VERSION else "import into a new folder"
            raise StoreError(f"{self.path} has layout {version}; this Intently reads {VERSION}", hint=hint)

    @staticmethod
    def _create(db: sqlite3.Connection) -> None:
        if db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            return  # another process was first
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA application_id={_APPLICATION_ID}")
        db.execute(f"PRAGMA user_version={VERSION}")

    def _moved_on(self) -> int:
        """Layout 2 to 3: new rows hold their identity; those of the old ones are all in the tree."""
        with self._write() as db:
            if db.execute("PRAGMA user_version").fetchone()[0] == 2:  # else another process was first
                db.execute("ALTER TABLE events ADD COLUMN identity INTEGER")
                db.execute("CREATE TABLE folded (row INTEGER NOT NULL)")
                db.execute("INSERT INTO folded SELECT coalesce(max(row), 0) FROM events")
                db.execute(f"PRAGMA user_version={VERSION}")
        return VERSION

    def _open(self) -> sqlite3.Connection:
        if self._writer is None:
            raise StoreError(f"the store {self.path} was closed")
        return self._writer

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """One transaction, committed and synced at the end, undone on any error."""
        with self._lock, self._explained():
            db = self._open()
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                self._known.forget()
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        """One consistent view on a connection of its own."""
        self._open()
        with self._explained():
            db = self._connect()
            try:
                db.execute("PRAGMA query_only=ON")
                db.execute("BEGIN")
                yield db
            finally:
                db.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """SQLite's errors in our words."""
        try:
            yield
        except sqlite3.Error as error:
            raise _explain(self.path, error) from error

    def _events(self, row: int, sparse: Sequence[str]) -> pl.DataFrame:
        with self._read() as db:
            frame = read_events(db, row, sparse)
        return frame.filter(~pl.col("item_id").str.starts_with(SEARCH))

    def _upsert(self, table: str, key: str, rows: TableRows) -> Added:
        given = attr.attributes_of(rows, key)
        with self._write() as db:
            changed = sum(_merge(db, table, ident, attributes) for ident, attributes in given)
        return Added(changed, len(given) - changed)

    def _replace(self, table: str, key: str, given: Mapping[str, Mapping[str, object]]) -> None:
        rows = attr.attributes_of([{key: ident, **attributes} for ident, attributes in given.items()], key)
        with self._write() as db:
            db.executemany(_PUT.format(table=table), [(ident, attr.to_json(row)) for ident, row in rows])

    def _one(self, table: str, ident: str) -> dict[str, object] | None:
        with self._read() as db:
            found = db.execute(f"SELECT attributes FROM {table} WHERE id = ?", (ident,)).fetchone()
        return None if found is None else attr.from_json(found[0])

    def _records(self, table: str) -> list[tuple[str, attr.Attributes]]:
        with self._read() as db:
            rows = db.execute(f"SELECT id, attributes FROM {table} ORDER BY key").fetchall()
        return [(row[0], attr.from_json(row[1])) for row in rows if not row[0].startswith((ERASED, SEARCH))]


def _explain(path: Path, error: sqlite3.Error) -> StoreError:
    text = str(error)
    if "locked" in text or "busy" in text:
        return StoreError(
            f"another process is writing to {path}",
            hint="wait until it has finished, or stop it, then try again",
        )
    if "is full" in text:
        return StoreFullError(f"no room for {path}: {text}", hint="free some space, then try again")
    if "not a database" in text or "malformed" in text:
        return StoreError(f"{path} is not a readable store: {text}", hint="restore it from a copy")
    return StoreError(f"the store {path} cannot be used: {text}")


def _added(fresh: list[int], n: int) -> Added:
    return Added(len(fresh), n - len(fresh), tuple(fresh))


def _last_row(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT coalesce(max(row), 0) FROM events").fetchone()[0])


def _keys(db: sqlite3.Connection, table: str, idents: pl.Series) -> LongArray:
    """Keys of these ids, (n,); an id nobody has seen gets the next one, in order of arrival.

    The ids are looked up in sorted order in one statement, which walks the index once.
    """
    distinct = idents.unique(maintain_order=True)
    ordered = distinct.sort()
    # CROSS keeps SQLite from scanning the table for each id instead
    query = (
        f"SELECT given.key, t.key FROM json_each(?) AS given CROSS JOIN {table} AS t ON t.id = given.value"
    )
    found = np.asarray(db.execute(query, (_json(ordered.to_list()),)).fetchall(), np.int64).reshape(-1, 2)
    known = pl.DataFrame({"id": ordered[found[:, 0]], "key": found[:, 1]})
    new = pl.DataFrame({"id": distinct}).join(known, on="id", how="anti", maintain_order="left")
    last = int(db.execute(f"SELECT coalesce(max(key), 0) FROM {table}").fetchone()[0])
    new = new.with_columns(key=pl.int_range(last + 1, last + 1 + new.height, dtype=pl.Int64))
    db.executemany(f"INSERT INTO {table} (id, key) VALUES (?, ?)", new.rows())
    joined = pl.DataFrame({"id": idents}).join(
        pl.concat([known, new]), on="id", how="left", maintain_order="left"
    )
    return joined["key"].to_numpy()


def _claim(db: sqlite3.Connection, marks: LongArray) -> LongArray:
    """Positions of the rows whose identity was not known, in order; they are known from now on."""
    distinct, first = np.unique(marks, return_index=True)  # sorted; first occurrence
    query = "INSERT OR IGNORE INTO identities SELECT value FROM json_each(?) RETURNING identity"
    added = np.asarray(db.execute(query, (_json(distinct),)).fetchall(), np.int64).reshape(-1)
    return np.sort(first[np.isin(distinct, added, assume_unique=True)]).astype(np.int64)


def _json(values: list[str] | LongArray) -> str:
    """A list for SQLite's json_each."""
    return orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def _insert_events(
    db: sqlite3.Connection,
    frame: pl.DataFrame,
    users: LongArray,
    items: LongArray,
    marks: LongArray,
    fresh: LongArray,
) -> None:
    """Append the fresh rows; SQLite gives each the next arrival number."""
    moments = micros(frame["time_s"].to_numpy())
    chosen = frame.with_columns(user=users, item=items, time_us=moments, identity=marks)
    if len(fresh) < frame.height:
        chosen = chosen[fresh]
    columns = [chosen[name].to_list() for name in WRITTEN]
    names, places = ", ".join(WRITTEN), ", ".join("?" * len(WRITTEN))
    db.executemany(f"INSERT INTO events ({names}) VALUES ({places})", zip(*columns, strict=True))


def _merge(db: sqlite3.Connection, table: str, ident: str, given: attr.Attributes) -> bool:
    """Merge attributes into a row of items or users; False when nothing changed."""
    found = db.execute(f"SELECT attributes FROM {table} WHERE id = ?", (ident,)).fetchone()
    if found is None:
        db.execute(f"INSERT INTO {table} (id, attributes) VALUES (?, ?)", (ident, attr.to_json(given)))
        return True
    merged = attr.to_json(attr.from_json(found[0]) | given)
    if merged == found[0]:
        return False
    db.execute(f"UPDATE {table} SET attributes = ? WHERE id = ?", (merged, ident))
    return True
