"""Events out of SQLite as typed columns, in bulk.

Whole numbers leave it as one flat array a chunk, and columns that most rows leave empty in a walk of their
own over the rows that fill them, so that no row is made into objects for what it does not say.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain, islice
from typing import Final

import numpy as np
import polars as pl

from intently.store.base import EVENT_TYPES, NUMBERS

_CHUNK: Final = 200_000
_FEW: Final = 2_000  # ids looked up one by one rather than all read
_WHOLE: Final = {"row": pl.Int64, "user": pl.Int64, "item": pl.Int64, "event": pl.UInt8, "time_us": pl.Int64}


def read_events(db: sqlite3.Connection, row: int, sparse: Sequence[str]) -> pl.DataFrame:
    """Events after a row, in order of arrival: row, user_id, item_id, event, time_s, then `sparse`."""
    frame = _whole(db, row)
    for name in sparse:
        frame = frame.with_columns(_filled(db, name, frame["row"]))
    return frame.select(
        "row",
        _names(db, "users", frame["user"]).alias("user_id"),
        _names(db, "items", frame["item"]).alias("item_id"),
        "event",
        (pl.col("time_us") / 1e6).alias("time_s"),
        *sparse,
    )


def _whole(db: sqlite3.Connection, row: int) -> pl.DataFrame:
    """The columns that every event fills."""
    cursor = db.execute(f"SELECT {', '.join(_WHOLE)} FROM events WHERE row > ? ORDER BY row", (row,))
    parts = [pl.DataFrame(schema=_WHOLE)]
    while True:
        flat = np.fromiter(chain.from_iterable(islice(cursor, _CHUNK)), np.int64)
        if not len(flat):
            return pl.concat(parts)
        table = flat.reshape(-1, len(_WHOLE))  # (rows, columns)
        columns = [pl.Series(name, table[:, at]).cast(kind) for at, (name, kind) in enumerate(_WHOLE.items())]
        parts.append(pl.DataFrame(columns))


def _filled(db: sqlite3.Connection, name: str, rows: pl.Series) -> pl.Series:
    """A column of which most rows say nothing, (n,)."""
    kind: type[pl.DataType] = pl.Float32 if name in NUMBERS else EVENT_TYPES[name]
    if not len(rows):
        return pl.Series(name, [], kind)
    query = f"SELECT row, {name} FROM events WHERE row > ? AND {name} IS NOT NULL ORDER BY row"
    cursor = db.execute(query, (rows[0] - 1,))
    parts = [pl.DataFrame(schema={"row": pl.Int64, name: kind})]
    while found := cursor.fetchmany(_CHUNK):
        at, said = zip(*found, strict=True)
        parts.append(pl.DataFrame({"row": pl.Series(at, dtype=pl.Int64), name: pl.Series(said, dtype=kind)}))
    held = pl.concat(parts)
    if not held.height:
        return pl.Series(name, [None], kind).new_from_index(0, len(rows)).alias(name)
    return rows.to_frame("row").join(held, on="row", how="left", maintain_order="left")[name]


def _names(db: sqlite3.Connection, table: str, keys: pl.Series) -> pl.Series:
    """Outside ids of keys, (n,)."""
    if len(keys) <= _FEW:
        query = f"SELECT key, id FROM {table} WHERE key = ?"
        rows = [db.execute(query, (key,)).fetchone() for key in sorted(set(keys.to_list()))]
    else:
        rows = db.execute(f"SELECT key, id FROM {table} ORDER BY key").fetchall()
    known = np.fromiter((row[0] for row in rows), np.int64, len(rows))
    ids = pl.Series([row[1] for row in rows], dtype=pl.String)
    return ids.gather(np.searchsorted(known, keys.to_numpy()))
