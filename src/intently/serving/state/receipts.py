"""Answers to requests that carried an Idempotency-Key, kept so that the same request gets the same answer.

A small file of its own beside the store, written through to the disk before the answer leaves, so that it
survives a restart. Answers are kept for RETENTION_S. What the request did is safe by itself: events under a
key get event ids made from it, so a crash between the two commits costs nothing but the first answer.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from intently.errors import InputError, NotReadyError, StoreError
from intently.serving.state.bus import Alone, Bus

RETENTION_S: Final = 86_400.0
MAX_KEY: Final = 255
CLAIM_S: Final = 60.0
"""A service that ended while it carried a request out keeps others from it for so long."""
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS receipts (key BLOB PRIMARY KEY, digest BLOB NOT NULL,"
    " status INTEGER NOT NULL, answer BLOB NOT NULL, at_s REAL NOT NULL) WITHOUT ROWID"
)


class Receipt(NamedTuple):
    """An answer as it was given."""

    status: int
    answer: bytes


class Receipts:
    """`begin` a request, `keep` its answer when it was carried out, and `drop` it in any case.

    Threads may share one, and services share its file: `bus` keeps two of them from carrying out the same.
    """

    def __init__(self, path: Path, bus: Bus | None = None, wall: Callable[[], float] = time.time) -> None:
        self._path = path
        self._bus = bus or Alone()
        self._wall = wall
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._begun: set[bytes] = set()

    def begin(self, caller: str, key: str, body: bytes) -> Receipt | None:
        """The answer that this request got before; None when it is to be carried out now.

        Raises InputError for a key that cannot be one or was used with another body, NotReadyError while a
        request with the key is being carried out.
        """
        if not 0 < len(key) <= MAX_KEY or not key.isascii() or not key.isprintable():
            allowed = f"1 to {MAX_KEY} printable ASCII characters"
            raise InputError(f"Idempotency-Key must be {allowed}", field="idempotency-key")
        name = _name(caller, key)
        with self._lock:
            if name in self._begun or not self._bus.claim(_claim(name), CLAIM_S):
                raise NotReadyError("a request with this Idempotency-Key is being carried out", hint="wait")
            try:
                query = "SELECT digest, status, answer, at_s FROM receipts WHERE key = ?"
                found = self._open().execute(query, (name,)).fetchone()
                if found is None or found[3] < self._wall() - RETENTION_S:
                    self._begun.add(name)
                    return None
            finally:
                if name not in self._begun:
                    self._bus.release(_claim(name))
        if found[0] != _digest(body):
            hint = "take a new key for a new request"
            message = "this Idempotency-Key was used with another body"
            raise InputError(message, hint=hint, field="idempotency-key")
        return Receipt(found[1], found[2])

    def keep(self, caller: str, key: str, body: bytes, receipt: Receipt) -> None:
        """The request was carried out: on return the answer is on disk. Old ones are thrown away."""
        name, now_s = _name(caller, key), self._wall()
        row = (name, _digest(body), receipt.status, receipt.answer, now_s)
        with self._lock:
            try:
                db = self._open()
                db.execute("BEGIN IMMEDIATE")
                db.execute("DELETE FROM receipts WHERE at_s < ?", (now_s - RETENTION_S,))
                db.execute("INSERT OR REPLACE INTO receipts VALUES (?, ?, ?, ?, ?)", row)
                db.execute("COMMIT")
            except sqlite3.Error as error:
                if self._db is not None and self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise StoreError(f"the answer cannot be kept: {error}", hint="send it again") from error

    def drop(self, caller: str, key: str) -> None:
        """The request is over, carried out or not: it may be sent again."""
        with self._lock:
            name = _name(caller, key)
            if name in self._begun:
                self._begun.discard(name)
                self._bus.release(_claim(name))

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=10.0)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute(_SCHEMA)
            self._db = db
        return self._db


def _name(caller: str, key: str) -> bytes:
    """What stands for a caller's key in the file: neither is kept as it is."""
    return hashlib.blake2b(f"{caller}\n{key}".encode(), digest_size=16).digest()


def _claim(name: bytes) -> str:
    return f"receipt:{name.hex()}"


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).digest()
