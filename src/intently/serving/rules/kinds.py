"""What kind of values a column holds, and which polars expression gives them plainly.

All numbers become 64-bit floats and all moments seconds since 1970, so that one rule of comparison holds
for every way in which a shop's table was typed. What is no number (NaN) is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import polars as pl

Kind = Literal["text", "number", "flag", "time", "texts"]
PLAINLY: Final[dict[Kind, str]] = {
    "text": "a text",
    "number": "a number",
    "flag": "true or false",
    "time": "a moment",
    "texts": "a list of texts",
}
MOMENTS: Final = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d")
"""How a moment may be written as text; without a zone it is UTC."""


def kinds(schema: Mapping[str, pl.DataType]) -> dict[str, Kind]:
    """Column -> kind; columns of other types (objects, lists of numbers) cannot be filtered by."""
    found = {name: kind_of(dtype) for name, dtype in schema.items()}
    return {name: kind for name, kind in found.items() if kind is not None}


def kind_of(dtype: pl.DataType) -> Kind | None:
    """The kind of a polars type, None for one that has none.

    >>> kind_of(pl.Int32()), kind_of(pl.List(pl.String)), kind_of(pl.Binary())
    ('number', 'texts', None)
    """
    if dtype.is_numeric():
        return "number"
    if dtype == pl.Boolean:
        return "flag"
    if dtype in (pl.Datetime, pl.Date):
        return "time"
    if dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null):
        return "text"
    return "texts" if dtype == pl.List(pl.String) else None


def plain(name: str, kind: Kind) -> pl.Expr:
    """The column's values in their plain form; null where missing."""
    column = pl.col(name)
    if kind == "number":
        return column.cast(pl.Float64).fill_nan(None)
    if kind == "text":
        return column.cast(pl.String)
    return column.cast(pl.Datetime("us")).dt.epoch("us") / 1e6 if kind == "time" else column


def seconds(name: str, kind: Kind) -> pl.Expr:
    """Seconds since 1970 of a column of moments, of texts that are moments, or of such numbers."""
    if kind != "text":
        return plain(name, kind)
    text = pl.col(name).cast(pl.String).str.replace(r"Z$", "+00:00")
    zoned = text.str.to_datetime(MOMENTS[0], time_unit="us", time_zone="UTC", strict=False).dt.epoch("us")
    bare = [text.str.to_datetime(form, time_unit="us", strict=False).dt.epoch("us") for form in MOMENTS[1:3]]
    day = text.str.to_date(MOMENTS[3], strict=False).cast(pl.Datetime("us")).dt.epoch("us")
    return pl.coalesce(zoned, *bare, day) / 1e6
