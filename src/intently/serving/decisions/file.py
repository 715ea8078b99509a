"""The file that decisions are kept in: one SQLite file in write-ahead mode, apart from the events.

Layout. `decisions` holds one row an answer's page: its id, where the page starts, who asked, the era and the
bytes (record.py). An era is one run of the service: item numbers hold within it, and `names` keeps their ids
in runs, each text once however often the service is started. `shared` keeps each once what many decisions
have in common: the bits of bars over the whole catalogue, and the shop's rules as they were.

Commits are not synced (a kill of the process loses none and harms nothing; a power cut may lose the last
ones, and never the file). What is deleted is overwritten with zeros.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from intently.errors import StoreError
from intently.schema import BoolArray
from intently.serving.decisions.ids import PREFIX, key_of, moment_of
from intently.serving.decisions.record import (
    LARGEST_MASK,
    Decision,
    Logged,
    armed,
    decode,
    encode,
    packed,
    shared_of,
    told,
)

VERSION: Final = 1
_APPLICATION_ID: Final = 0x494E4445  # "INDE"
_SCHEMA: Final = """
CREATE TABLE decisions (
  id BLOB NOT NULL, start INTEGER NOT NULL, who INTEGER, era INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (id, start));
CREATE INDEX decisions_who ON decisions (who) WHERE who IS NOT NULL;
CREATE TABLE who (key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
CREATE TABLE eras (era INTEGER PRIMARY KEY, row INTEGER NOT NULL, began_s REAL NOT NULL);
CREATE TABLE names (key INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, ids BLOB NOT NULL);
CREATE TABLE runs (
  era INTEGER NOT NULL, first INTEGER NOT NULL, names INTEGER NOT NULL, PRIMARY KEY (era, first));
CREATE TABLE shared (
  key INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, body BLOB NOT NULL, used_s REAL NOT NULL);
"""
_FORGET_AFTER: Final = 4096  # entries of the writer's own memory of keys
_MASKS: Final = 32
_PRUNED_AT_ONCE: Final = 500
_USED_AGAIN_S: Final = 3600.0
NAMES_AT_ONCE: Final = 100_000

IN_A_ROW: Final = 12
GIVE_WAY_S: Final = 1e-5
"""Slept after so many decisions: an answer that is being made takes the interpreter back at once. Else it
waits for a whole switch interval wherever numpy lets it go, 20 ms a list while 512 are written."""


class DecisionFile:
    """One file of decisions, as one run of the service writes it. Raises StoreError.

    path: made when missing. row: the last row of the event store when this run began.
    """

    def __init__(self, path: Path, row: int, now_s: float) -> None:
        self.path = path
        self._keys: dict[str, int] = {}
        self._masks: dict[int, tuple[BoolArray, bytes, bytes]] = {}
        self._shared: dict[bytes, tuple[int, float]] = {}
        self._rules: tuple[Sequence[object], bytes] = ((), b"")  # the latest, and as bytes
        self._named = 0
        self._version = -1  # of the file, as others wrote it
        with explained(path):
            self._db = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
                with self._transaction() as db:
                    made = db.execute("INSERT INTO eras (row, began_s) VALUES (?, ?)", (row, now_s))
                self.era = int(made.lastrowid or 0)
            except BaseException:
                self._db.close()
                raise

    def _prepare(self) -> None:
        db = self._db
        if not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            db.execute("PRAGMA page_size=16384")
            db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        for setting in ("journal_mode=WAL", "synchronous=NORMAL", "secure_delete=ON", "cache_size=-8192"):
            db.execute(f"PRAGMA {setting}")
        db.execute(f"PRAGMA journal_size_limit={16 << 20}")
        with self._transaction():
            if not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id={_APPLICATION_ID}")
                db.execute(f"PRAGMA user_version={VERSION}")
        owner = db.execute("PRAGMA application_id").fetchone()[0]
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if (owner, version) != (_APPLICATION_ID, VERSION):
            raise StoreError(f"{self.path} is no decision log of this Intently", hint="move it away")

    # -- writing ------------------------------------------------------------------------------

    def add(self, decisions: Sequence[Decision], ids: Sequence[str], now_s: float) -> None:
        """Write decisions in one commit; ids: of every item number so far."""
        with explained(self.path), self._transaction() as db:
            self._doubt(db)
            self._name(db, ids)
            self._meet(db, {one.who for one in decisions if one.who})
            rows = []
            for place, decision in enumerate(decisions):
                rows.append(self._row(db, decision, now_s))
                if place % IN_A_ROW == 0:
                    time.sleep(GIVE_WAY_S)
            db.executemany("INSERT OR IGNORE INTO decisions VALUES (?, ?, ?, ?, ?)", rows)

    def _doubt(self, db: sqlite3.Connection) -> None:
        """Forget the keys that are known where another service wrote: it may have deleted what they name."""
        version = db.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._version = version
            self._keys.clear()
            self._shared.clear()

    def _row(self, db: sqlite3.Connection, decision: Decision, now_s: float) -> tuple[object, ...]:
        masks = {
            place: self._share(db, *self._packed(bar.mask), now_s)
            for place, bar in enumerate(decision.bars)
            if bar.mask is not None and len(bar.mask) <= LARGEST_MASK
        }
        if decision.rules is not self._rules[0]:
            self._rules = decision.rules, told(decision.rules)
        rules = self._share(db, self._rules[1], digest_of(self._rules[1]), now_s) if decision.rules else 0
        who = self._keys[decision.who] if decision.who else None
        return key_of(decision.id), decision.start, who, self.era, encode(decision, masks, rules)

    def _name(self, db: sqlite3.Connection, ids: Sequence[str]) -> None:
        """Keep the ids that came since the last time."""
        while self._named < len(ids):
            part = ids[self._named : self._named + NAMES_AT_ONCE]
            text = "\n".join(part).encode("utf-8", "surrogatepass")
            digest = digest_of(text)
            db.execute(
                "INSERT OR IGNORE INTO names (digest, ids) VALUES (?, ?)", (digest, zlib.compress(text, 1))
            )
            key = db.execute("SELECT key FROM names WHERE digest = ?", (digest,)).fetchone()[0]
            db.execute("INSERT INTO runs VALUES (?, ?, ?)", (self.era, self._named, key))
            self._named += len(part)

    def _meet(self, db: sqlite3.Connection, names: set[str]) -> None:
        """Know the keys of these people, new ones for who was never written."""
        if len(self._keys) + len(names) > _FORGET_AFTER:
            self._keys.clear()
        new = [name for name in names if name not in self._keys]
        if new:
            db.executemany("INSERT OR IGNORE INTO who (id) VALUES (?)", [(name,) for name in new])
            asked = "SELECT id, key FROM who WHERE id IN (SELECT value FROM json_each(?))"
            self._keys.update(db.execute(asked, (json.dumps(new),)).fetchall())

    def _packed(self, mask: BoolArray) -> tuple[bytes, bytes]:
        """(bits, digest); most masks are those of the answer before, and nobody changes one."""
        known = self._masks.get(id(mask))
        if known is None:
            body = packed(mask)
            if len(self._masks) >= _MASKS:
                self._masks.clear()
            known = self._masks[id(mask)] = (
                mask,
                body,
                digest_of(body),
            )  # held, so that the id stays its own
        return known[1:]

    def _share(self, db: sqlite3.Connection, body: bytes, digest: bytes, now_s: float) -> int:
        """The key under which these bytes are kept."""
        key, used_s = self._shared.get(digest, (-1, 0.0))
        if now_s - used_s > _USED_AGAIN_S:
            db.execute(
                "INSERT INTO shared (digest, body, used_s) VALUES (?, ?, ?)"
                " ON CONFLICT (digest) DO UPDATE SET used_s = excluded.used_s",
                (digest, zlib.compress(body, 1), now_s),
            )
            key = int(db.execute("SELECT key FROM shared WHERE digest = ?", (digest,)).fetchone()[0])
            if len(self._shared) >= _FORGET_AFTER:
                self._shared.clear()
            self._shared[digest] = (key, now_s)
        return key

    def prune(self, before: bytes, most_bytes: int, now_s: float) -> int:
        """Delete decisions with a smaller key than `before`, then the oldest until the size holds."""
        with explained(self.path):
            gone = 0
            while True:
                with self._transaction() as db:
                    n = db.execute(
                        "DELETE FROM decisions WHERE rowid IN (SELECT rowid FROM decisions"
                        " WHERE id < ? ORDER BY id LIMIT ?)",
                        (before, _PRUNED_AT_ONCE),
                    ).rowcount
                    if not n and self.size() > most_bytes:
                        n = db.execute(
                            "DELETE FROM decisions WHERE rowid IN (SELECT rowid FROM decisions"
                            " ORDER BY id LIMIT ?)",
                            (_PRUNED_AT_ONCE,),
                        ).rowcount
                gone += n
                if not n:
                    break
            if gone:
                self._sweep(now_s)
            return gone

    def _sweep(self, now_s: float) -> None:
        """Delete what no decision needs any more, and give the space back."""
        with self._transaction() as db:
            first = db.execute("SELECT min(era) FROM decisions").fetchone()[0]
            first = self.era if first is None else min(first, self.era)
            db.execute("DELETE FROM eras WHERE era < ?", (first,))
            db.execute("DELETE FROM runs WHERE era < ?", (first,))
            db.execute("DELETE FROM names WHERE key NOT IN (SELECT names FROM runs)")
            db.execute("DELETE FROM who WHERE NOT EXISTS (SELECT 1 FROM decisions d WHERE d.who = who.key)")
            oldest = db.execute("SELECT min(id) FROM decisions").fetchone()[0]
            oldest_s = moment_of(oldest) if oldest else now_s
            db.execute("DELETE FROM shared WHERE used_s < ?", (oldest_s - _USED_AGAIN_S,))
        self._keys.clear()
        self._shared.clear()
        self._db.executescript(
            "PRAGMA incremental_vacuum"
        )  # steps through every page; execute would take one

    def erase(self, names: Sequence[str]) -> int:
        """Delete every decision of these users or guests for good, and their names; how many there were."""
        with explained(self.path):
            gone = 0
            with self._transaction() as db:
                for name in names:
                    found = db.execute("SELECT key FROM who WHERE id = ?", (name,)).fetchone()
                    if found is not None:
                        gone += db.execute("DELETE FROM decisions WHERE who = ?", found).rowcount
                        db.execute("DELETE FROM who WHERE key = ?", found)
                    self._keys.pop(name, None)
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # nor may it stay in the write-ahead file
            return gone

    def size(self) -> int:
        """Bytes in use."""
        pages, free, page = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * page)

    def close(self) -> None:
        """No more writing."""
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise


def digest_of(body: bytes) -> bytes:
    """What tells bytes from others."""
    return hashlib.blake2b(body, digest_size=16).digest()


class Reader:
    """Reads a file of decisions beside whoever writes it; remembers the names of the last era."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last: tuple[int, list[str]] = (-1, [])
        self._reading = threading.Lock()

    def find(self, name: str) -> list[Logged]:
        """Every page of an answer, by start; [] for an id that is not kept."""
        key = key_of(name)
        if key is None:
            return []
        return self._logged("SELECT id, start, era, body FROM decisions WHERE id = ? ORDER BY start", (key,))

    def shown_before(self, one: Logged, since_s: float) -> list[Logged]:
        """Earlier decisions of the same person in the same run from a moment of the shop on, oldest first."""
        found = self._logged(
            "SELECT id, start, era, body FROM decisions WHERE who = (SELECT key FROM who WHERE id = ?)"
            " AND era = ? AND (id, start) < (?, ?) ORDER BY id DESC, start DESC LIMIT 200",
            (one.who, one.era, one.key, one.start),
        )
        return [earlier for earlier in reversed(found) if earlier.at_s >= since_s]

    def latest(self, most: int) -> list[str]:
        """Ids of the latest answers, newest first."""
        with self._open() as db:
            rows = db.execute("SELECT id FROM decisions WHERE start = 0 ORDER BY id DESC LIMIT ?", (most,))
            return [PREFIX + key.hex() for (key,) in rows.fetchall()]

    def count(self) -> int:
        """Decisions that are kept."""
        with self._open() as db:
            return int(db.execute("SELECT count(*) FROM decisions").fetchone()[0])

    def armed(self) -> Iterator[tuple[str, str, str, str]]:
        """(experiment, arm, whose arm, answer) of every list that was made in one, oldest first."""
        with self._open() as db:
            for key, body in db.execute("SELECT id, body FROM decisions WHERE start = 0 ORDER BY id"):
                if (found := armed(body)) is not None:
                    yield *found, PREFIX + key.hex()

    def era(self, era: int) -> tuple[int, float]:
        """The last row of the event store when a run began, and when that was."""
        with self._open() as db:
            row, began_s = db.execute("SELECT row, began_s FROM eras WHERE era = ?", (era,)).fetchone()
        return int(row), float(began_s)

    def names(self, era: int) -> list[str]:
        """Ids by item number, of one run of the service."""
        with self._reading, self._open() as db:
            known, ids = self._last if self._last[0] == era else (era, [])
            rows = db.execute(
                "SELECT ids FROM runs JOIN names ON names.key = runs.names"
                " WHERE era = ? AND first >= ? ORDER BY first",
                (era, len(ids)),
            ).fetchall()
            for (text,) in rows:
                ids = ids + zlib.decompress(text).decode("utf-8", "surrogatepass").split("\n")
            self._last = (known, ids)
            return ids

    def _logged(self, query: str, values: tuple[object, ...]) -> list[Logged]:
        with self._open() as db:
            rows = db.execute(query, values).fetchall()
            return [
                decode(key, start, era, body, {one: _shared(db, one) for one in shared_of(body)})
                for key, start, era, body in rows
            ]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with explained(self.path):
            if not self.path.exists():
                raise StoreError(f"no decisions are kept in {self.path.name}", hint="ask for a list first")
            with closing(sqlite3.connect(self.path, timeout=10.0)) as db:
                db.execute("PRAGMA query_only=ON")
                yield db


def _shared(db: sqlite3.Connection, key: int) -> bytes:
    """What is kept under a key, b"" when it is gone."""
    found = db.execute("SELECT body FROM shared WHERE key = ?", (key,)).fetchone()
    return zlib.decompress(found[0]) if found is not None else b""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """SQLite's errors in our words."""
    try:
        yield
    except sqlite3.Error as error:
        hint = "if it stays so, move the file away: a new one is made"
        raise StoreError(f"the decision log {path.name} cannot be used: {error}", hint=hint) from error
