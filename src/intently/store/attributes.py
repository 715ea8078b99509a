"""A catalogue's or a profile's attributes: rows of any columns to JSON and back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import orjson
import polars as pl

from intently.errors import InputError
from intently.store.base import MAX_ID, TableRows

Attributes = dict[str, Any]
_INT64 = (-(2**63), 2**63)


def attributes_of(rows: TableRows, key: str) -> list[tuple[str, Attributes]]:
    """(id, its attributes without the nulls) of each row.

    Raises InputError for a row whose id is not text of 1 to MAX_ID characters without NUL.
    """
    found = []
    for position, row in enumerate(rows.iter_rows(named=True) if isinstance(rows, pl.DataFrame) else rows):
        ident = row.get(key)
        if not isinstance(ident, str) or not 0 < len(ident) <= MAX_ID or "\0" in ident:
            allowed = f"text of 1 to {MAX_ID} characters without NUL"
            message = f"{key} of row {position}: got {str(ident)[:80]!r}, allowed: {allowed}"
            raise InputError(message, field=key)
        found.append((ident, {n: _plain(v) for n, v in row.items() if v is not None and n != key}))
    return found


def to_json(attributes: Attributes) -> str:
    """Compact JSON with sorted keys: the same attributes, the same text."""
    return orjson.dumps(attributes, option=orjson.OPT_SORT_KEYS).decode()


def from_json(text: str | None) -> Attributes:
    """The attributes; none for an id known only from events."""
    return orjson.loads(text) if text else {}


def to_frame(key: str, idents: Sequence[str], rows: Sequence[Attributes]) -> pl.DataFrame:
    """One row an id; a column an attribute, in order of first appearance.

    A column of numbers is Int64 or Float64, of truth values Boolean, of lists a list, else text
    (mixed kinds and objects as JSON).
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = [column(name, [row.get(name) for row in rows]) for name in names]
    return pl.DataFrame([pl.Series(key, idents, pl.String), *columns])


def _plain(value: Any) -> Any:
    """A value that JSON can hold."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, int) and not _INT64[0] <= value < _INT64[1]:
        return str(value)
    return value


def column(name: str, values: list[Any]) -> pl.Series:
    """A column of any values, of the kind that `to_frame` says; of nothing but nulls: Null."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return pl.Series(name, values, pl.Null)
    if kinds == {bool}:
        return pl.Series(name, values, pl.Boolean)
    if kinds == {int} and all(v is None or _INT64[0] <= v < _INT64[1] for v in values):
        return pl.Series(name, values, pl.Int64)
    if kinds <= {int, float}:
        return pl.Series(name, values, pl.Float64, strict=False)
    if kinds == {list} and all(isinstance(part, str) for v in values if v for part in v):
        return pl.Series(name, values, pl.List(pl.String))
    return as_text(name, values)


def as_text(name: str, values: list[Any]) -> pl.Series:
    """A column of texts: what is none as JSON."""
    return pl.Series(name, [v if v is None else _text(v) for v in values], pl.String)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
