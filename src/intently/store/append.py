"""Small groups of events into SQLite, as a service receives them: tens of thousands of rows a second.

What makes it quick: keys of ids that were met lately are known by heart; every statement takes many rows,
so that a busy interpreter is asked for its lock a few times a group and not a few times a row; and what
tells a new event from a known one is not written into a tree at random places.

Identities as a log and a tree. Each event keeps its identity in its own row, which is written at the end of
the table. `identities` is the tree of all identities up to the row in `folded`; those of later rows are
read into memory at start and looked up there. After FOLD rows they go into the tree in sorted order, which
touches each of its pages once (the idea of the log-structured merge tree: O'Neil, Cheng, Gawlick and
O'Neil, Acta Informatica 1996, with one level in memory and the rows themselves as its log). With a million
events, one of 30 rows in a commit then costs 9 microseconds of commit instead of 27. What is surely not in
the tree is known from a filter in memory (sieve.py), filled from the tree piece by piece after the start,
when nothing waits to be written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import compress
from typing import Any, Final

import numpy as np
import orjson

from intently.schema import LongArray
from intently.store.base import WRITTEN, Appended, EventRow
from intently.store.identity import micros, row_identities
from intently.store.sieve import Sieve

FOLD: Final = 300_000
"""Identities outside the tree, at most."""

PIECE: Final = 20_000
"""Identities of the tree that are read into the filter at once while that is not complete."""

KNOWN: Final = 200_000
"""Keys of users, and of items, that are known by heart, at most."""

_LEAST: Final = -(2**63)
_MOST: Final = 2**63 - 1  # of identities

_SIZES: Final = (
    256,
    128,
    64,
    32,
    16,
    8,
    4,
    2,
    1,
)  # rows of a statement; 256 * 12 is far below SQLite's limit


@cache
def _insert(names: tuple[str, ...], size: int) -> str:
    row = f"({', '.join('?' * len(names))})"
    return f"INSERT INTO events ({', '.join(names)}) VALUES {', '.join([row] * size)}"


_KNOWN_MARKS: Final = (
    "SELECT json_group_array(identity) FROM (SELECT t.identity FROM json_each(?) AS given"
    " CROSS JOIN identities AS t ON t.identity = given.value)"
)
_PIECE: Final = (
    "SELECT json_group_array(identity) FROM"
    " (SELECT identity FROM identities WHERE identity >= ? ORDER BY identity LIMIT ?)"
)
_LAST_ROW: Final = "SELECT coalesce(max(row), 0) FROM events"
_FOLD: Final = "INSERT OR IGNORE INTO identities SELECT value FROM json_each(?)"


class Appender:
    """What the writer knows of its file between two transactions.

    A transaction calls `look`, then `add`; after its commit `keep`, or `forget` if it failed, so that
    nothing is known that is not on disk.
    """

    def __init__(self) -> None:
        self._keys: dict[str, dict[str, int]] = {"users": {}, "items": {}}
        self._met: dict[str, dict[str, int]] = {"users": {}, "items": {}}
        self._recent: set[int] = set()
        self._staged: set[int] = set()
        self._version = -1  # SQLite's count of what other connections changed
        self._row = self._row_after = 0
        self._folded = self._folded_after = -1
        self._sieve = Sieve(0)  # of the tree below the identity `_sieved`; None: all of it
        self._sieved: int | None = _LEAST

    def look(self, db: sqlite3.Connection) -> None:
        """Take in what other writers did since the last transaction of this one."""
        version = db.execute("PRAGMA data_version").fetchone()[0]
        if version == self._version:
            return
        self.forget()
        folded = db.execute("SELECT row FROM folded").fetchone()[0]
        self._sift_anew(folded)
        if folded != self._folded:
            self._recent.clear()
            self._folded = self._folded_after = self._row = folded
        query = "SELECT row, identity FROM events WHERE row > ? ORDER BY row"
        for row, mark in db.execute(query, (self._row,)):
            self._recent.add(mark)
            self._row = row
        self._version = version

    def add(self, db: sqlite3.Connection, rows: Sequence[EventRow]) -> Appended:
        """Store the rows whose identity is not known; of equal ones the first."""
        columns = tuple(zip(*rows, strict=True))
        users, items = self._found(db, "users", columns[0]), self._found(db, "items", columns[1])
        moments = micros(np.array(columns[3], np.float64))
        identities = row_identities(columns, np.array(users), np.array(items), moments)
        marks = identities.tolist()
        fresh = self._new(marks, self._in_tree(db, identities))
        full: list[Sequence[Any]] = [users, items, columns[2], moments.tolist(), *columns[4:], marks]
        if not all(fresh):
            full = [list(compress(column, fresh)) for column in full]
        self._row_after = self._write(db, full)
        return Appended(fresh, self._row_after - len(full[0]) + 1)

    def keep(self) -> None:
        """The transaction is on disk: know what it added."""
        for table, met in self._met.items():
            keys = self._keys[table]
            if len(keys) + len(met) > KNOWN:
                keys.clear()
            keys.update(met)
            met.clear()
        if self._folded_after != self._folded:
            self._recent.clear()
            self._folded = self._folded_after
        self._recent |= self._staged
        self._staged.clear()
        self._row = self._row_after

    def forget(self) -> None:
        """Know nothing of ids, and look at the file again before the next transaction."""
        for table in self._keys:
            self._keys[table].clear()
            self._met[table].clear()
        self._staged.clear()
        self._version = -1

    @property
    def next_row(self) -> int:
        """The arrival number of the next event, as far as is known."""
        return self._row + 1

    @property
    def sifted(self) -> bool:
        """Whether the filter holds all of the tree."""
        return self._sieved is None

    @property
    def n_recent(self) -> int:
        """Identities outside the tree."""
        return len(self._recent)

    def fold(self, db: sqlite3.Connection) -> None:
        """Put all recent identities into the tree, in the transaction that is open."""
        if self._recent:
            marks = np.sort(np.fromiter(self._recent, np.int64, len(self._recent)))
            db.execute(_FOLD, (orjson.dumps(marks, option=orjson.OPT_SERIALIZE_NUMPY).decode(),))
            self._sieve.add(marks)
        self.skip(db)
        if self._folded_after > self._sieve.room:
            self._sift_anew(self._folded_after)

    def skip(self, db: sqlite3.Connection) -> None:
        """Every identity is in the tree: say so in the file."""
        self._folded_after = db.execute(_LAST_ROW).fetchone()[0]
        db.execute("UPDATE folded SET row = ?", (self._folded_after,))

    def read_on(self, db: sqlite3.Connection) -> None:
        """The next piece of the tree into the filter."""
        if self._sieved is None:
            return
        piece = orjson.loads(db.execute(_PIECE, (self._sieved, PIECE)).fetchone()[0])
        if piece:
            self._sieve.add(np.array(piece, np.int64))
        self._sieved = piece[-1] + 1 if len(piece) == PIECE and piece[-1] < _MOST else None

    # -- inside ---------------------------------------------------------------------------------

    def _found(self, db: sqlite3.Connection, table: str, idents: Sequence[str]) -> list[int]:
        """Keys of ids; an id nobody has seen gets the next one, in order of arrival."""
        keys = self._keys[table]
        try:
            return list(map(keys.__getitem__, idents))
        except KeyError:
            met = self._met[table]
            self._look_up(db, table, {one for one in idents if one not in keys and one not in met})
            new = [one for one in dict.fromkeys(idents) if one not in keys and one not in met]
            if new:
                last = db.execute(f"SELECT coalesce(max(key), 0) FROM {table}").fetchone()[0]
                given = dict(zip(new, range(last + 1, last + 1 + len(new)), strict=True))
                query = f"INSERT INTO {table} (id, key) SELECT value->>0, value->>1 FROM json_each(?)"
                db.execute(query, (_json(list(given.items())),))
                met |= given
            return [keys[one] if one in keys else met[one] for one in idents]

    def _look_up(self, db: sqlite3.Connection, table: str, wanted: Iterable[str]) -> None:
        """Learn the keys of those ids that the file knows."""
        query = (
            "SELECT json_group_array(json_array(id, key)) FROM (SELECT t.id, t.key FROM json_each(?) AS given"
            f" CROSS JOIN {table} AS t ON t.id = given.value)"
        )
        found = db.execute(query, (_json(sorted(wanted)),)).fetchone()[0]
        self._met[table].update(orjson.loads(found))

    def _new(self, marks: list[int], known: set[int]) -> list[bool]:
        """For each identity whether it is new; `known` are those of them that the tree holds."""
        staged, recent, distinct = self._staged, self._recent, set(marks)
        as_usual = not known and len(distinct) == len(marks)
        if as_usual and recent.isdisjoint(distinct) and staged.isdisjoint(distinct):
            staged |= distinct
            return [True] * len(marks)
        fresh = []
        for mark in marks:
            new = mark not in recent and mark not in staged and mark not in known
            fresh.append(new)
            if new:
                staged.add(mark)
        return fresh

    def _in_tree(self, db: sqlite3.Connection, identities: LongArray) -> set[int]:
        """Those of them that the tree holds."""
        if self._sieved is None:
            identities = identities[self._sieve.may_hold(identities)]
        else:
            self.read_on(db)
        if not len(identities):
            return set()
        asked = _json(sorted(identities.tolist()))
        return set(orjson.loads(db.execute(_KNOWN_MARKS, (asked,)).fetchone()[0]))

    def _sift_anew(self, rows: int) -> None:
        """Forget what is in the tree; it is read again, with room for twice these rows."""
        self._sieve, self._sieved = Sieve(2 * rows + 4 * FOLD), _LEAST

    def _write(self, db: sqlite3.Connection, columns: Sequence[Sequence[Any]]) -> int:
        """Append rows with as few statements as can be; SQLite numbers them, and the last number is given.

        columns: those of WRITTEN. One that says nothing in all rows is left out: most do.
        """
        n = len(columns[0])
        said = [column.count(None) < n for column in columns]
        names, given = tuple(compress(WRITTEN, said)), list(compress(columns, said))
        width = len(given)
        flat: list[Any] = [None] * (n * width)
        for place, column in enumerate(given):
            flat[place::width] = column
        done, last = 0, self._row
        for size in _SIZES:
            while n - done >= size:
                part = flat[done * width : (done + size) * width]
                last = db.execute(_insert(names, size), part).lastrowid or last
                done += size
        return last


def _json(values: object) -> str:
    """A list for SQLite's json_each."""
    return orjson.dumps(values).decode()
