"""One cell: what it means, or why it does not."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.data.parse import Parsed, canonical, event_names, idents, numbers, rename_columns
from intently.data.parse_times import check_zone, guess_day_first, times
from intently.errors import InputError

NOON = datetime(2024, 1, 31, 12, tzinfo=UTC).timestamp()
DAY = datetime(2024, 1, 31, tzinfo=UTC).timestamp()


def one_time(cell: Any, **options: Any) -> float | None:
    found: float | None = times(pl.Series([cell]), **options).values[0]
    return found


def why(parsed: Parsed) -> list[str]:
    return [reason for rows, reason in parsed.faults if rows[0]]


@pytest.mark.parametrize(
    "cell",
    [
        "2024-01-31T12:00:00Z",
        "2024-01-31t12:00:00z".upper(),
        "2024-01-31 12:00:00+00:00",
        "2024-01-31T20:00:00+08:00",
        "2024-01-31T04:00:00-0800",
        "2024-01-31T17:45:00.000+05:45",
        "2024-01-31 12:00",
        " 2024-01-31 12:00:00.000000 ",
        "2024/1/31 12:00",
        "20240131120000",
        "31.01.2024 12:00",
        "31/01/2024 12:00:00",
        "1/31/2024 12:00 PM",
        "31 Jan 2024 12:00",
        "Wed, 31 Jan 2024 12:00:00 GMT",
        "January 31, 2024 12:00 p.m.",
        "31/Jan/2024:12:00:00 +0000",
        "2024年1月31日 12时00分",
        "1706702400",
        "1706702400000",
        "1706702400.0",
        "1.7067024e9",
        1706702400,
        1706702400000,
        1706702400000000,
        1706702400000000000,
        1706702400.0,
        datetime(2024, 1, 31, 12),
        datetime(2024, 1, 31, 12, tzinfo=UTC),
    ],
)
def test_one_moment_has_many_spellings(cell: Any) -> None:
    assert one_time(cell) == NOON


@pytest.mark.parametrize(
    "cell", ["2024-01-31", "20240131", 20240131, 20240131.0, date(2024, 1, 31), "31.1.2024"]
)
def test_a_day_is_its_first_moment(cell: Any) -> None:
    assert one_time(cell) == DAY


def test_a_fraction_of_a_second_is_kept() -> None:
    assert one_time("2024-01-31T12:00:00.25Z") == NOON + 0.25
    assert one_time("2024-01-31T12:00:00,000001Z") == pytest.approx(NOON + 1e-6, abs=1e-7)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (None, "is missing"),
        ("NaT", "is missing"),
        (float("nan"), "is missing"),
        ("soon", "is not a time"),
        ("2024-02-30", "is not a time"),
        ("2024-01-31T24:01", "is not a time"),
        ("20241301", "is not a time"),
        (20241301, "is not a time"),
        (float("inf"), "is not a time"),
        ("1/2/24", "is not a time"),
        ("13 PM", "is not a time"),
        ("2024-01-31 13:00 PM", "is not a time"),
        ("02/03/2024", "has two readings"),
        ("1899-12-31", "lies outside"),
        ("2200-01-01", "lies outside"),
        (-1e10, "lies outside"),
    ],
)
def test_what_is_no_moment_says_why(cell: Any, reason: str) -> None:
    parsed = times(pl.Series([cell]))
    assert parsed.values[0] is None
    assert why(parsed)[0].startswith(reason)


def test_a_zone_applies_to_naive_times_only() -> None:
    assert one_time("2024-01-31 20:00", zone="Asia/Shanghai") == NOON
    assert one_time("2024-01-31T12:00Z", zone="Asia/Shanghai") == NOON
    assert one_time(datetime(2024, 1, 31, 20), zone="Asia/Shanghai") == NOON
    assert one_time(1706702400, zone="Asia/Shanghai") == NOON
    assert times(pl.Series(["2024-01-31 20:00"])).naive
    assert not times(pl.Series(["2024-01-31T20:00Z", "1706702400"])).naive


def test_the_hour_that_spring_skips_does_not_exist() -> None:
    parsed = times(pl.Series(["2024-03-31 02:30"]), zone="Europe/Berlin")
    assert why(parsed) == ["is not a moment that exists in Europe/Berlin"]
    with pytest.raises(InputError, match="unknown time zone 'Europe/Bonn'"):
        check_zone("Europe/Bonn")


def test_day_or_month_is_told_by_other_rows() -> None:
    assert guess_day_first(pl.Series(["03/04/2024", "25/04/2024"])) is True
    assert guess_day_first(pl.Series(["03/04/2024", "04/25/2024"])) is False
    assert guess_day_first(pl.Series(["03/04/2024"])) is None
    assert guess_day_first(pl.Series(["25/04/2024", "04/25/2024"])) is None
    assert one_time("03/04/2024", day_first=True) == datetime(2024, 4, 3, tzinfo=UTC).timestamp()
    assert one_time("03/04/2024", day_first=False) == datetime(2024, 3, 4, tzinfo=UTC).timestamp()
    assert one_time("25/04/2024", day_first=False) is None


@settings(max_examples=50, deadline=None)
@given(st.datetimes(datetime(1901, 1, 1), datetime(2199, 1, 1)), st.integers(-14, 14))
def test_iso_text_agrees_with_python(moment: datetime, hours: int) -> None:
    sign = "-" if hours < 0 else "+"
    text = f"{moment.isoformat()}{sign}{abs(hours):02d}:00"
    expected = datetime.fromisoformat(text).timestamp()
    found = one_time(text)
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1.5", 1.5), (" 2 ", 2.0), ("1e3", 1000.0), ("$3.99", 3.99), ("¥ 12", 12.0), ("1,234.50", 1234.5),
        ("1.234,50", 1234.5), ("12,50", 12.5), ("1,234,567", 1234567.0), ("-4", -4.0), (3, 3.0), (True, 1.0),
        ("", None), ("NaN", None), ("N/A", None), (float("nan"), None), (None, None),
    ],
)  # fmt: skip
def test_numbers_as_people_write_them(cell: Any, value: float | None) -> None:
    parsed = numbers(pl.Series([cell]))
    assert parsed.values[0] == value
    assert not parsed.faults


@pytest.mark.parametrize(
    "cell", ["1,234", "cheap", "inf", "1e400", float("inf"), "1e16", "1_000", "0x1F", [1], "1 2x"]
)
def test_numbers_that_are_none_are_faults(cell: Any) -> None:
    parsed = numbers(pl.Series([cell]))
    assert parsed.values[0] is None
    assert why(parsed)


@pytest.mark.parametrize(
    ("cell", "value"),
    [(" a b ", "a b"), (7, "7"), (7.0, "7"), ("7.0", "7.0"), (b"x", "x"), ("🛒", "🛒"), ("Nancy", "Nancy")],
)
def test_ids_are_text(cell: Any, value: str) -> None:
    assert idents(pl.Series([cell])).values[0] == value


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (None, "is missing"), ("  ", "is missing"), ("NULL", "is missing"), ("undefined", "is missing"),
        (1.5, "is not text"), (1e300, "is not text"), (True, "is not text"), ([1], "is not text"),
        (b"\xff", "is not text"), ("a\0b", "has a NUL"), ("x" * 513, "is longer than 512"),
    ],
)  # fmt: skip
def test_ids_that_are_none_are_faults(cell: Any, reason: str) -> None:
    parsed = idents(pl.Series([cell]))
    assert parsed.values[0] is None
    assert why(parsed)[0].startswith(reason)


def test_an_absent_optional_id_is_no_fault() -> None:
    assert not idents(pl.Series([None, "a"], dtype=pl.String), required=False).faults


def test_event_names_have_aliases() -> None:
    parsed = event_names(pl.Series(["View", "add to cart", "购买", "fly", None]))
    assert parsed.values.to_list() == [0, 2, 4, None, None]
    assert np.flatnonzero(parsed.faults[0][0]).tolist() == [3, 4]


def test_columns_are_recognised_by_name_then_alias() -> None:
    assert canonical("\ufeff User-ID ") == "user_id"
    found = rename_columns(["uid", "user_id", "Product ID", "ts"], ("user_id", "item_id", "timestamp"))
    assert found == {"user_id": "user_id", "Product ID": "item_id", "ts": "timestamp"}
