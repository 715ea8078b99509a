"""The store for shops that have a PostgreSQL: the same promises, kept by another database.

    store = "postgresql://intently@db.example/shop"        # in intently.toml; the password in PGPASSWORD

Everything lives in the schema `intently`, in the layout of the SQLite store: keys of users and items, events
in order of arrival, the identities of all of them in a table of their own. A transaction that writes holds an
advisory lock, so that arrival numbers have no gaps and a reader who follows them misses nothing; a number is
never given again, also when the newest events were erased. On return from a call its commit is on the
server's disk (`synchronous_commit` is set for the connection).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

import numpy as np
import polars as pl

from intently.errors import ConfigError, MissingExtraError, StoreError, StoreFullError
from intently.schema import LongArray
from intently.store import attributes as attr
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
from intently.store.erase import ERASED, erased_name
from intently.store.identity import micros, row_identities

if TYPE_CHECKING:
    import psycopg
    from psycopg_pool import ConnectionPool

    Connection = psycopg.Connection[tuple[Any, ...]]

VERSION: Final = 1
_LOCK: Final = 0x494E544C  # "INTL"
_CHUNK: Final = 50_000
READERS: Final = 8
"""Connections that read at once, at most; they stay open."""
_SCHEMA: Final = """
CREATE SCHEMA IF NOT EXISTS intently;
CREATE TABLE IF NOT EXISTS intently.layout (version int NOT NULL);
CREATE TABLE IF NOT EXISTS intently.users (key bigint PRIMARY KEY, id text COLLATE "C" NOT NULL UNIQUE,
  attributes text);
CREATE TABLE IF NOT EXISTS intently.items (key bigint PRIMARY KEY, id text COLLATE "C" NOT NULL UNIQUE,
  attributes text);
CREATE TABLE IF NOT EXISTS intently.events (
  row bigint PRIMARY KEY, "user" bigint NOT NULL, item bigint NOT NULL, event smallint NOT NULL,
  time_us bigint NOT NULL, value float8, quantity float8, price float8,
  session_id text, event_id text, recommendation_id text, identity bigint NOT NULL);
CREATE TABLE IF NOT EXISTS intently.identities (identity bigint PRIMARY KEY);
CREATE TABLE IF NOT EXISTS intently.erased (last bigint NOT NULL);
CREATE INDEX IF NOT EXISTS events_of_user ON intently.events ("user");
INSERT INTO intently.layout SELECT {version} WHERE NOT EXISTS (SELECT FROM intently.layout)
"""
_READ: Final = (
    "SELECT e.row, u.id, i.id, e.event, e.time_us, e.value, e.quantity, e.price, e.session_id"
    " FROM events e JOIN users u ON u.key = e.user JOIN items i ON i.key = e.item WHERE e.row > %s"
    " ORDER BY e.row"
)
_READ_TYPES: Final = {
    "row": pl.Int64,
    "user_id": pl.String,
    "item_id": pl.String,
    "event": pl.UInt8,
    "time_us": pl.Int64,
    **dict.fromkeys(NUMBERS, pl.Float32),
    "session_id": pl.String,
}
_LAST: Final = (
    "SELECT greatest((SELECT coalesce(max(row), 0) FROM events), (SELECT coalesce(max(last), 0) FROM erased))"
)
"""The newest arrival number, of an event that is there or was erased."""
_COPY: Final = "COPY events (row, {}) FROM STDIN".format(", ".join(f'"{name}"' for name in WRITTEN))


class PostgresStore:
    """See EventStore for what each method promises.

    url: postgresql://... . Raises StoreError when the server cannot be reached or holds a newer layout,
    MissingExtraError without psycopg.
    """

    def __init__(self, url: str) -> None:
        try:
            import psycopg
            import psycopg_pool
        except ModuleNotFoundError as error:
            raise MissingExtraError("psycopg", "postgres") from error
        if urlsplit(url).password:
            hint = "set PGPASSWORD, or write it into ~/.pgpass"
            raise ConfigError("the setting `store` may hold no password", hint=hint, field="store")
        self._psycopg = psycopg
        self._url = url
        self._lock = threading.RLock()
        self._writer: Connection | None = None
        self._readers: ConnectionPool[Connection] = psycopg_pool.ConnectionPool(
            url,
            kwargs=self._options(),
            min_size=0,
            max_size=READERS,
            open=False,
            timeout=10.0,
            reconnect_timeout=0.0,
            configure=_only_reads,
            check=psycopg_pool.ConnectionPool.check_connection,
            name="intently-readers",
        )
        self._closed = False
        with self._write() as db:
            db.execute(_SCHEMA.format(version=VERSION))
            found = db.execute("SELECT version FROM layout").fetchone()
        if found is None or found[0] != VERSION:
            self.close()
            hint = "use the Intently that wrote it"
            raise StoreError(f"the store has layout {found and found[0]}; this reads {VERSION}", hint=hint)

    # -- writing ------------------------------------------------------------------------------

    def add_events(self, rows: EventRows) -> Added:
        """See EventStore.add_events."""
        frame = typed_events(rows)
        with self._write() as db:
            fresh = [
                start + place
                for start in range(0, frame.height, _CHUNK)
                for place, new in enumerate(_append(db, frame[start : start + _CHUNK].rows()).fresh)
                if new
            ]
        return Added(len(fresh), frame.height - len(fresh), tuple(fresh))

    def append(self, rows: Sequence[EventRow]) -> Appended:
        """See EventStore.append."""
        with self._write() as db:
            return _append(db, rows)

    def settle(self) -> bool:
        """See EventStore.settle; the database does that by itself."""
        return False

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
        """See EventStore.erase_user; the bytes go with a VACUUM, and from the server's log as it goes on."""
        with self._lock:
            with self._write() as db:
                found = db.execute("SELECT key FROM users WHERE id = %s", (user_id,)).fetchone()
                if found is None:
                    return 0
                last = _one_number(db, _LAST)
                n = db.execute('DELETE FROM events WHERE "user" = %s', found).rowcount
                db.execute("DELETE FROM erased")
                db.execute("INSERT INTO erased VALUES (%s)", (last,))
                query = "UPDATE users SET id = %s, attributes = NULL WHERE key = %s"
                db.execute(query, (erased_name(), *found))
            with self._explained():
                self._open().execute("VACUUM events, users")
        return int(n)

    # -- reading ------------------------------------------------------------------------------

    def item(self, item_id: str) -> dict[str, object] | None:
        """See EventStore.item."""
        return self._one("items", item_id)

    def user(self, user_id: str) -> dict[str, object] | None:
        """See EventStore.user."""
        return self._one("users", user_id)

    def events(self) -> pl.DataFrame:
        """See EventStore.events."""
        return self._events(0).drop("row")

    def events_since(self, row: int) -> pl.DataFrame:
        """See EventStore.events_since."""
        return self._events(row).drop(NUMBERS)

    def _events(self, row: int) -> pl.DataFrame:
        parts = [pl.DataFrame(schema=_READ_TYPES)]
        with self._read() as db, db.cursor() as cursor:
            cursor.execute(_READ, (row,))
            while rows := cursor.fetchmany(_CHUNK):
                parts.append(pl.DataFrame(rows, schema=_READ_TYPES, orient="row"))
        frame = pl.concat(parts).filter(~pl.col("item_id").str.starts_with(SEARCH))
        time_s = (pl.col("time_us") / 1e6).alias("time_s")
        return frame.select("row", "user_id", "item_id", "event", time_s, *NUMBERS, "session_id")

    def outcomes(self) -> pl.DataFrame:
        """See EventStore.outcomes."""
        with self._read() as db:
            return pl.DataFrame(db.execute(OUTCOMES).fetchall(), schema=OUTCOME_TYPES, orient="row")

    def last_row(self) -> int:
        """See EventStore.last_row."""
        with self._read() as db:
            return _one_number(db, _LAST)

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
            found = [_one_number(db, f"SELECT count(*) FROM {t}") for t in ("events", "items", "users")]
            found[1] -= _one_number(db, f"SELECT count(*) FROM items WHERE starts_with(id, '{SEARCH}')")
        return Counts(*found)

    def close(self) -> None:
        """See EventStore.close."""
        with self._lock:
            self._closed = True
            self._readers.close()
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- inside -------------------------------------------------------------------------------

    def _connect(self) -> Connection:
        return self._psycopg.connect(self._url, **self._options())

    def _options(self) -> dict[str, Any]:
        return {
            "autocommit": True,
            "application_name": "intently",
            "connect_timeout": 10,
            "options": "-c search_path=intently,public -c synchronous_commit=on"
            " -c client_min_messages=warning",
        }

    def _open(self) -> Connection:
        """The writer's connection, a new one where the server ended the last."""
        if self._closed:
            raise StoreError("the store was closed")
        if self._writer is None or self._writer.closed:
            self._writer = self._connect()
        return self._writer

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        """One transaction, alone among all writers, committed and synced at the end or undone."""
        with self._lock, self._explained():
            db = self._open()
            with db.transaction():
                db.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                yield db

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        """One consistent view, on a connection that nobody else has meanwhile."""
        if self._closed:
            raise StoreError("the store was closed")
        with self._explained():
            self._readers.open()
            with self._readers.connection() as db, db.transaction():
                yield db

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """The server's errors in our words; never with the password that the address may hold."""
        try:
            yield
        except self._psycopg.errors.DiskFull as error:
            raise StoreFullError("no room on the PostgreSQL server's disk") from error
        except self._psycopg.Error as error:
            told = re.sub(r"password=\S+|://\S+", "...", str(error).splitlines()[0] if str(error) else "")
            hint = "see that the server runs and the setting `store` names it"
            raise StoreError(f"the PostgreSQL store cannot be used: {told[:200]}", hint=hint) from error

    def _upsert(self, table: str, key: str, rows: TableRows) -> Added:
        given = attr.attributes_of(rows, key)
        with self._write() as db:
            changed = sum(_merge(db, table, ident, attributes) for ident, attributes in given)
        return Added(changed, len(given) - changed)

    def _replace(self, table: str, key: str, given: Mapping[str, Mapping[str, object]]) -> None:
        rows = attr.attributes_of([{key: ident, **attributes} for ident, attributes in given.items()], key)
        with self._write() as db:
            _keys(db, table, [ident for ident, _ in rows])
            for ident, row in rows:
                db.execute(f"UPDATE {table} SET attributes = %s WHERE id = %s", (attr.to_json(row), ident))

    def _one(self, table: str, ident: str) -> dict[str, object] | None:
        if "\0" in ident:
            return None  # no id has one, and PostgreSQL cannot be asked for it
        with self._read() as db:
            found = db.execute(f"SELECT attributes FROM {table} WHERE id = %s", (ident,)).fetchone()
        return None if found is None else attr.from_json(found[0])

    def _records(self, table: str) -> list[tuple[str, attr.Attributes]]:
        with self._read() as db:
            rows = db.execute(f"SELECT id, attributes FROM {table} ORDER BY key").fetchall()
        return [(row[0], attr.from_json(row[1])) for row in rows if not row[0].startswith((ERASED, SEARCH))]


def _only_reads(db: Connection) -> None:
    """A connection of the readers: each transaction sees one moment."""
    from psycopg import IsolationLevel

    db.isolation_level = IsolationLevel.REPEATABLE_READ
    db.read_only = True


def _append(db: Connection, rows: Sequence[EventRow]) -> Appended:
    """Inside a transaction: the rows whose identity is not known, numbered without a gap."""
    last = _one_number(db, _LAST)
    if not rows:
        return Appended([], last + 1)
    columns = tuple(zip(*rows, strict=True))
    users, items = _keys(db, "users", columns[0]), _keys(db, "items", columns[1])
    moments = micros(np.array(columns[3], np.float64))
    marks = row_identities(columns, users, items, moments).tolist()
    query = "INSERT INTO identities SELECT unnest(%s::bigint[]) ON CONFLICT DO NOTHING RETURNING identity"
    new = {row[0] for row in db.execute(query, (sorted(set(marks)),)).fetchall()}
    fresh = []
    for mark in marks:
        fresh.append(mark in new)
        new.discard(mark)
    whole = zip(
        users.tolist(), items.tolist(), columns[2], moments.tolist(), *columns[4:], marks, strict=True
    )
    with db.cursor().copy(_COPY) as copy:
        for number, row in enumerate((row for row, one in zip(whole, fresh, strict=True) if one), last + 1):
            copy.write_row((number, *row))
    return Appended(fresh, last + 1)


def _keys(db: Connection, table: str, idents: Sequence[str]) -> LongArray:
    """Keys of these ids, (n,); an id nobody has seen gets the next one, in order of arrival."""
    distinct = list(dict.fromkeys(idents))
    found: dict[str, int] = dict(
        db.execute(f"SELECT id, key FROM {table} WHERE id = ANY(%s)", (distinct,)).fetchall()
    )
    new = [ident for ident in distinct if ident not in found]
    if new:
        last = _one_number(db, f"SELECT coalesce(max(key), 0) FROM {table}")
        keys = list(range(last + 1, last + 1 + len(new)))
        query = f"INSERT INTO {table} (key, id) SELECT * FROM unnest(%s::bigint[], %s::text[])"
        db.execute(query, (keys, new))
        found |= dict(zip(new, keys, strict=True))
    return np.array([found[ident] for ident in idents], np.int64)


def _merge(db: Connection, table: str, ident: str, given: attr.Attributes) -> bool:
    """Merge attributes into a row of items or users; False when nothing changed."""
    known = db.execute(f"SELECT attributes FROM {table} WHERE id = %s", (ident,)).fetchone()
    merged = attr.to_json((attr.from_json(known[0]) if known else {}) | given)
    if known is not None and merged == known[0]:
        return False
    _keys(db, table, [ident])
    db.execute(f"UPDATE {table} SET attributes = %s WHERE id = %s", (merged, ident))
    return True


def _one_number(db: Connection, query: str) -> int:
    found = db.execute(query).fetchone()
    assert found is not None
    return int(found[0])
