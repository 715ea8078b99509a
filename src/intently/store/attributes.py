"""A catalogue's or a profile's attributes: rows of any columns to JSON and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any

import orjson
import polars as pl

from intently.errors import InputError
from intently.schema import ITEM_TEXTS, PATH
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


def to_frame(key: str, records: Sequence[tuple[str, Attributes]]) -> pl.DataFrame:
    """One row an id; a column an attribute, in order of first appearance, each as `column` makes it."""
    names = list(dict.fromkeys(name for _, row in records for name in row))
    columns = [column(name, [row.get(name) for _, row in records]) for name in names]
    return pl.DataFrame([pl.Series(key, [ident for ident, _ in records], pl.String), *columns])


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
    """A column of the kind that most of its values have: Boolean, Int64 or Float64, List(String), String.

    A value of another kind is converted where that says the same (a text that is a number, a number as a
    text, a text as a list of one), else it is null: one item that says "none" of its stock does not make
    texts of all others' numbers. Texts win a draw. Titles, categories and such are always texts, lists of
    them paths; prices are always numbers. Without any value: Null.
    """
    always, types = _ALWAYS.get(name), set(map(type, values)) - {type(None)}
    if not types:
        return pl.Series(name, values, pl.Null)
    if types == {str} and always != "number":  # as nearly all columns are
        return pl.Series(name, values, pl.String)
    if types <= {int, float} and always != "path":
        return _numbers(name, values)
    kinds = Counter(_kind(value) for value in values if value is not None)
    most = always or max(_KINDS, key=lambda kind: kinds[kind])
    if most == "path":
        return pl.Series(name, [None if value is None else as_path(value) for value in values], pl.String)
    if most == "number":
        return _numbers(name, [as_number(value) for value in values])
    made = [None if value is None else _KINDS[most](value) for value in values]
    return pl.Series(name, made, _DTYPES[most])


def as_path(value: Any) -> str:
    """A text, a list of texts as a path, anything else as JSON.

    >>> as_path(["Food", "Tea"]), as_path("Tea"), as_path(4)
    ('Food > Tea', 'Tea', '4')
    """
    return PATH.join(value) if _kind(value) == "texts" else _text(value)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int | float):
        return "number"
    return "texts" if isinstance(value, list) and all(isinstance(part, str) for part in value) else "text"


def _numbers(name: str, values: list[int | float | None]) -> pl.Series:
    told = [value for value in values if value is not None]
    whole = set(map(type, told)) == {int} and _INT64[0] <= min(told) and max(told) < _INT64[1]
    return pl.Series(name, values, pl.Int64 if whole else pl.Float64, strict=False)


def as_number(value: Any) -> int | float | None:
    """A number, also one that was written as a text; None for anything else, truth values too."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, int | float):
        return value
    try:
        read = float(value)
    except ValueError:
        return None
    return read if isfinite(read) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _texts(value: Any) -> list[str] | None:
    if isinstance(value, list):
        return [_text(part) for part in value]
    return [value] if isinstance(value, str) else None


_KINDS: dict[str, Callable[[Any], Any]] = {
    "text": _text,
    "texts": _texts,
    "number": as_number,
    "truth": lambda value: value if isinstance(value, bool) else None,
}
"""What a value becomes in a column of each kind; the first wins a draw."""
_ALWAYS = {**dict.fromkeys((*ITEM_TEXTS, "created_at"), "path"), "price": "number"}
_DTYPES: dict[str, pl.DataType | type[pl.DataType]] = {
    "text": pl.String,
    "texts": pl.List(pl.String),
    "truth": pl.Boolean,
}
