"""How a time is read: epoch numbers, RFC 3339, and the day formats that exports have.

A time without a zone is in the zone the caller names (UTC unless said). 03/04/2024 is read only when
the caller, or another row, says which of the two is the day.
"""

from __future__ import annotations

from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from intently.data.parse import Parsed, text_of
from intently.errors import InputError
from intently.schema import BoolArray
from intently.store.base import TIME_RANGE_S

_CLOCK: Final = (
    r"(?:[T ,:]+(?P<h>[0-9]{1,2}):(?P<mi>[0-9]{1,2})(?::(?P<s>[0-9]{1,2})(?:[.,](?P<f>[0-9]{1,9}))?)?"
    r"\s*(?P<half>[AaPp]\.?[Mm]\.?)?)?"
    r"\s*(?P<zone>[Zz]|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?)?$"
)
_ISO: Final = r"^(?P<y>[0-9]{4})[-/.](?P<mo>[0-9]{1,2})[-/.](?P<d>[0-9]{1,2})" + _CLOCK
_DAYS: Final = r"^(?P<a>[0-9]{1,2})(?P<sep>[-/.])(?P<b>[0-9]{1,2})[-/.](?P<y>[0-9]{4})" + _CLOCK
_DAY_NAME: Final = (
    r"^(?:[A-Za-z]{3,9},?\s+)?(?P<d>[0-9]{1,2})[ /-]+(?P<name>[A-Za-z]{3,9})\.?[ ,/-]+(?P<y>[0-9]{4})"
    + _CLOCK
)
_NAME_DAY: Final = (
    r"^(?:[A-Za-z]{3,9},\s+)?(?P<name>[A-Za-z]{3,9})\.?\s+(?P<d>[0-9]{1,2}),?\s+(?P<y>[0-9]{4})" + _CLOCK
)
_MONTHS: Final = {
    "jan": "1", "feb": "2", "mar": "3", "apr": "4", "may": "5", "jun": "6",
    "jul": "7", "aug": "8", "sep": "9", "oct": "10", "nov": "11", "dec": "12",
}  # fmt: skip
_AMBIGUOUS: Final = "has two readings; say which number is the day with --day-first or --month-first"


def check_zone(name: str) -> str:
    """The name when it is a time zone; raises InputError otherwise."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        hint = "use a name such as UTC, Europe/Berlin or Asia/Shanghai"
        raise InputError(f"unknown time zone {name[:60]!r}", hint=hint, field="timezone") from error
    return name


def times(column: pl.Series, *, zone: str = "UTC", day_first: bool | None = None) -> Parsed:
    """Seconds since 1970 (f64, UTC, to the microsecond) from any column that holds moments.

    Numbers are seconds, milliseconds, micro- or nanoseconds by size; 20240131 is a day. A leap second
    is the second after it. An absent time is a fault. `day_first` None: 03/04/2024 is a fault,
    25/04/2024 is not.
    """
    dtype = column.dtype
    naive = False
    ambiguous = np.zeros(len(column), bool)
    present = column.is_not_null().to_numpy()
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        naive = getattr(dtype, "time_zone", None) is None
        values = _from_datetime(column, zone)
    elif dtype.is_numeric():
        number = column.cast(pl.Float64)
        present &= ~number.is_nan().fill_null(True).to_numpy()
        values = _from_number(number, zone)
    else:
        text, strange = text_of(column)
        present = text.is_not_null().to_numpy() | strange
        values, ambiguous, naive = _from_text(text, zone, day_first)
    low, high = TIME_RANGE_S
    outside = ((values < low) | (values >= high)).fill_null(False).to_numpy()
    unread = values.is_null().to_numpy() & present & ~ambiguous
    faults = [
        (~present, "is missing"),
        (ambiguous, _AMBIGUOUS),
        (unread, f"is not a moment that exists in {zone}" if zone != "UTC" else "is not a time"),
        (outside, "lies outside the years 1900 to 2199"),
    ]
    return Parsed(values.set(pl.Series(outside), None), [f for f in faults if f[0].any()], naive)


def guess_day_first(column: pl.Series) -> bool | None:
    """Which number of 03/04/2024 is the day, as far as the rows show; None when they do not."""
    if column.dtype != pl.String:
        return None
    parts = column.str.strip_chars().str.extract_groups(_DAYS).struct.unnest()
    parts = parts.filter(pl.col("sep").is_in(["/", "-"]))
    first = bool((parts["a"].cast(pl.Int32) > 12).any())
    second = bool((parts["b"].cast(pl.Int32) > 12).any())
    return None if first == second else first


def _from_datetime(column: pl.Series, zone: str) -> pl.Series:
    moments = column.cast(pl.Datetime("us", getattr(column.dtype, "time_zone", None)))
    if moments.dtype.time_zone is None:  # type: ignore[attr-defined]
        moments = _localised(moments, zone)
    return moments.dt.epoch("us") / 1e6


def _localised(moments: pl.Series, zone: str) -> pl.Series:
    """Naive to the zone: the first of two readings in autumn, null in the hour that spring skips."""
    return moments.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")


def _from_number(number: pl.Series, zone: str) -> pl.Series:
    """Epoch numbers by size; eight or fourteen digits that spell a date are that date."""
    n = pl.col("n")
    size = n.abs()
    scale = pl.when(size > 1e17).then(1e9).when(size > 1e14).then(1e6).when(size > 1e11).then(1e3)
    values = pl.DataFrame({"n": number}).select(
        pl.when(n.is_finite()).then(n / scale.otherwise(1.0)).alias("n")
    )["n"]
    for digits in (8, 14):
        low, high = 1900 * 10.0 ** (digits - 4), 2200 * 10.0 ** (digits - 4)
        maybe = (number.is_between(low, high, closed="left") & (number == number.floor())).fill_null(False)
        if not maybe.any():
            continue
        spelled = number.filter(maybe).cast(pl.Int64).cast(pl.String)
        spelled = spelled if digits == 14 else spelled + "000000"
        read = _localised(spelled.str.to_datetime("%Y%m%d%H%M%S", time_unit="us", strict=False), zone)
        values = values.scatter(maybe.arg_true(), read.dt.epoch("us") / 1e6)
    return values


def _from_text(text: pl.Series, zone: str, day_first: bool | None) -> tuple[pl.Series, BoolArray, bool]:
    """(seconds, rows with two readings, whether a naive time was met); one format after the other."""
    values = pl.Series("time_s", [None] * len(text), dtype=pl.Float64)
    ambiguous = np.zeros(len(text), bool)
    naive = False
    digits = text.str.contains(r"^[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?$").fill_null(False)
    if digits.any():
        number = text.filter(digits).cast(pl.Float64, strict=False)
        values = values.scatter(digits.arg_true(), _from_number(number, zone))
    for pattern in (_ISO, _DAYS, _DAY_NAME, _NAME_DAY):
        left = (values.is_null() & text.is_not_null()).to_numpy() & ~ambiguous
        if not left.any():
            break
        rows = np.flatnonzero(left)
        cells = _western(text.gather(rows)) if pattern is _ISO else text.gather(rows)
        parts = _parts(cells, pattern, day_first)
        ambiguous[rows] = parts["two"].to_numpy()
        moments, local = _assembled(parts, zone)
        naive |= local
        values = values.scatter(rows, moments.set(parts["two"], None))
    return values, ambiguous, naive


def _western(text: pl.Series) -> pl.Series:
    """2024年1月31日 12时30分 as 2024-1-31 12:30."""
    if not text.str.contains("年", literal=True).any():
        return text
    dashed = text.str.replace_all("[年月]", "-").str.replace_all("日", " ").str.replace_all("[时分点]", ":")
    return dashed.str.replace_all("秒", "").str.strip_chars(" :")


def _parts(text: pl.Series, pattern: str, day_first: bool | None) -> pl.DataFrame:
    """Columns y, mo, d, h, mi, s, f, half, zone (text) and `two`: day and month cannot be told."""
    parts = text.str.extract_groups(pattern).struct.unnest()
    two = pl.lit(False)
    if pattern == _DAYS:
        a, b = pl.col("a").cast(pl.Int32), pl.col("b").cast(pl.Int32)
        dotted = pl.col("sep") == "."
        if day_first is None:
            first = dotted | (a > 12)
            two = ~dotted & (a <= 12) & (b <= 12) & (a != b)
        else:
            first = dotted | day_first
        day, month = pl.when(first).then("a").otherwise("b"), pl.when(first).then("b").otherwise("a")
        parts = parts.with_columns(day.alias("d"), month.alias("mo"))
    elif "name" in parts.columns:
        short = pl.col("name").str.slice(0, 3).str.to_lowercase()
        parts = parts.with_columns(short.replace_strict(_MONTHS, default=None).alias("mo"))
    return parts.with_columns(two.fill_null(False).alias("two"))


def _assembled(parts: pl.DataFrame, zone: str) -> tuple[pl.Series, bool]:
    """(seconds, whether a naive time was met); null for a day or an hour that does not exist."""
    hour = pl.col("h").fill_null("0").cast(pl.Int32)
    afternoon = pl.col("half").str.to_lowercase().str.starts_with("p")
    twelve = pl.when(hour.is_between(1, 12)).then(hour % 12 + 12 * afternoon.cast(pl.Int32))
    second = pl.col("s").fill_null("0").cast(pl.Int32)
    fields = parts.with_columns(
        h=pl.when(pl.col("half").is_null()).then(hour).otherwise(twelve).cast(pl.String),
        mi=pl.col("mi").fill_null("0"),
        s=pl.min_horizontal(second, 59).cast(pl.String),
        leap=(second == 60).cast(pl.Float64),
        wrong=second > 60,
        part=("0." + pl.col("f").fill_null("0")).cast(pl.Float64),
    )
    written = fields.select(pl.format("{}-{}-{} {}:{}:{}", "y", "mo", "d", "h", "mi", "s").alias("t"))["t"]
    moments = written.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
    moments = moments.set(fields["wrong"].fill_null(False), None)
    naive = (fields["zone"].is_null() & moments.is_not_null()).to_numpy()
    as_utc = moments.dt.epoch("us") / 1e6 - _offset_s(fields["zone"])
    as_local = _localised(moments, zone).dt.epoch("us") / 1e6
    seconds = as_utc.zip_with(fields["zone"].is_not_null(), as_local)
    return seconds + fields["leap"] + fields["part"], bool(naive.any())


def _offset_s(zone: pl.Series) -> pl.Series:
    """Seconds east of Greenwich; null beyond 18 hours or for minutes above 59."""
    parts = zone.str.extract_groups(r"^([+-])([0-9]{2}):?([0-9]{2})?$").struct.unnest()
    sign, hours, minutes = (pl.col(name) for name in parts.columns)
    hours, minutes = hours.cast(pl.Int32), minutes.fill_null("0").cast(pl.Int32)
    east = pl.when(sign == "-").then(-1.0).otherwise(1.0) * (hours * 3600 + minutes * 60)
    good = (hours <= 18) & (minutes <= 59)
    return parts.select(pl.when(sign.is_null()).then(0.0).when(good).then(east).alias("o"))["o"]
