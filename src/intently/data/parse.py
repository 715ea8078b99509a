"""How one cell is read: ids, numbers, event names, and which column means what.

Every way in (files, frames, repaired rejects) reads through here and `parse_times`. A cell is
present and good, absent (null), or at fault; nothing raises, the caller decides what a fault costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl

from intently.schema import COLUMN_ALIASES, EVENT_ALIASES, EVENT_CODES, EVENTS, BoolArray
from intently.store.base import MAX_ID, MAX_NUMBER

MISSING: Final = ("", "null", "nan", "none", "undefined", "na", "n/a", "nat", "<na>", "\\n")
"""Words (in any case) that other systems write for "no value"."""

UNUSABLE: Final = "\0"
"""Stands, in a column of text, for an object, a list, or a number too large to be exact."""


@dataclass(frozen=True)
class Parsed:
    """One column as read: null where absent or at fault; faults: (rows at fault, the reason)."""

    values: pl.Series
    faults: list[tuple[BoolArray, str]] = field(default_factory=list)
    naive: bool = False  # a time without a zone was among them


def canonical(name: str) -> str:
    """Lower case, spaces and dashes as underscores, no byte-order mark."""
    return name.strip().lstrip("\ufeff").strip().lower().replace(" ", "_").replace("-", "_")


def rename_columns(columns: Sequence[str], wanted: Sequence[str]) -> dict[str, str]:
    """Source column -> our column, exact names first, then schema.COLUMN_ALIASES.

    >>> rename_columns(["CustomerID", "title"], ["user_id", "title"])
    {'title': 'title', 'CustomerID': 'user_id'}
    """
    found: dict[str, str] = {}
    by_name = {canonical(column): column for column in reversed(columns)}
    for ours in wanted:
        if ours in by_name:
            found[by_name[ours]] = ours
    for ours in wanted:
        if ours in found.values():
            continue
        for alias in COLUMN_ALIASES.get(ours, ()):
            source = by_name.get(alias)
            if source is not None and source not in found:
                found[source] = ours
                break
    return found


def text_of(column: pl.Series) -> tuple[pl.Series, BoolArray]:
    """(text without outer spaces, MISSING as null; rows that are no text).

    Whole numbers kept as floats (what pandas makes of ids with a gap) lose their ".0".
    """
    none = np.zeros(len(column), bool)
    dtype = column.dtype
    if dtype == pl.Binary:
        column = _decoded(column)
    elif dtype.is_float():
        return _float_text(column.cast(pl.Float64))
    elif dtype.is_nested() or dtype in (pl.Boolean, pl.Object, pl.Time, pl.Duration):
        return pl.Series(column.name, [None] * len(column), dtype=pl.String), column.is_not_null().to_numpy()
    text = column.cast(pl.String)
    if dtype.is_integer():
        return text, none
    strange = (text == UNUSABLE).fill_null(False)
    text = text.set(strange, None).str.strip_chars()
    missing = text.str.len_bytes().is_between(0, 9) & text.str.to_lowercase().is_in(list(MISSING))
    return text.set(missing.fill_null(False), None), strange.to_numpy()


def idents(column: pl.Series, *, required: bool = True) -> Parsed:
    """Outside ids: text of 1 to MAX_ID characters without NUL.

    An id with a line break is at fault, too: nearly always a quote was opened by mistake.
    """
    text, strange = text_of(column)
    size = text.str.len_chars().fill_null(0).to_numpy()
    broken = text.str.contains(r"[\x00\n\r]").fill_null(False).to_numpy()
    faults = [
        (strange, "is not text or a whole number"),
        (size > MAX_ID, f"is longer than {MAX_ID} characters"),
        (broken, "has a NUL character or a line break"),
    ]
    faults = [fault for fault in faults if fault[0].any()]
    values = _without(text, faults)
    if required and text.null_count():
        faults.append((text.is_null().to_numpy(), "is missing"))
    return Parsed(values, faults)


def numbers(column: pl.Series) -> Parsed:
    """Finite numbers up to MAX_NUMBER; "1,234.50", "12,50" and a currency sign are understood."""
    dtype = column.dtype
    if dtype.is_numeric() or dtype == pl.Boolean:
        values = column.cast(pl.Float64).fill_nan(None)
        strange = np.zeros(len(column), bool)
    else:
        text, strange = text_of(column)
        values = text.cast(pl.Float64, strict=False)
        values = values.set(values.is_nan().fill_null(False), None)
        left = (values.is_null() & text.is_not_null()).to_numpy()
        if left.any():
            values = values.scatter(np.flatnonzero(left), _written_number(text.filter(pl.Series(left))))
        strange = strange | (values.is_null() & text.is_not_null()).to_numpy()
    huge = (values.abs() > MAX_NUMBER).fill_null(False).to_numpy()
    faults = [(strange, "is not a number"), (huge, "is not a finite number up to 1e15")]
    faults = [fault for fault in faults if fault[0].any()]
    return Parsed(_without(values, faults), faults)


def event_names(column: pl.Series) -> Parsed:
    """Codes (u8) of schema.EVENTS from their names and aliases; an absent name is a fault."""
    text, _ = text_of(column)
    values = event_codes(text)
    faults = [(values.is_null().to_numpy(), f"is not one of {', '.join(EVENTS)} or a known alias")]
    return Parsed(values, [fault for fault in faults if fault[0].any()])


def event_codes(column: pl.Series) -> pl.Series:
    """Codes of schema.EVENTS; null for a name nobody knows."""
    table = EVENT_CODES | {alias: EVENT_CODES[name] for alias, name in EVENT_ALIASES.items()}
    names = column.cast(pl.String).str.strip_chars().str.to_lowercase().str.replace_all("[ -]", "_")
    return names.replace_strict(table, default=None, return_dtype=pl.UInt8)


def _without(values: pl.Series, faults: list[tuple[BoolArray, str]]) -> pl.Series:
    for rows, _ in faults:
        values = values.set(pl.Series(rows), None)
    return values


def _decoded(column: pl.Series) -> pl.Series:
    """Bytes as text; bytes that are not UTF-8 become UNUSABLE."""
    parts: list[str | None] = []
    for raw in column.to_list():
        try:
            parts.append(None if raw is None else raw.decode())
        except UnicodeDecodeError:
            parts.append(UNUSABLE)
    return pl.Series(column.name, parts, dtype=pl.String)


def _float_text(column: pl.Series) -> tuple[pl.Series, BoolArray]:
    whole = (column == column.floor()) & (column.abs() < 2.0**53)
    text = column.set(~whole.fill_null(False), None).cast(pl.Int64).cast(pl.String)
    absent = column.is_null() | column.is_nan()
    return text, (text.is_null() & ~absent).to_numpy()


def _written_number(text: pl.Series) -> pl.Series:
    """Numbers as people write them, where that is not ambiguous ("1,234" is)."""
    plain = text.str.replace_all(r"[$€£¥￥\s]", "")
    cell = pl.col("cell")
    point = cell.str.contains(r"^[+-]?[0-9]{1,3}((,[0-9]{3})+\.[0-9]+|(,[0-9]{3}){2,})$")
    comma = cell.str.contains(r"^[+-]?[0-9]{1,3}((\.[0-9]{3})+,[0-9]+|(\.[0-9]{3}){2,})$")
    short = cell.str.contains(r"^[+-]?[0-9]+,[0-9]{1,2}$")
    swapped = cell.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    chosen = (
        pl.when(point)
        .then(cell.str.replace_all(",", "", literal=True))
        .when(comma | short)
        .then(swapped)
        .otherwise(cell)
    )
    values = pl.DataFrame({"cell": plain}).select(chosen.cast(pl.Float64, strict=False))["cell"]
    return values.set(values.is_nan().fill_null(False), None)
