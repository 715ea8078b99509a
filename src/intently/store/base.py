"""The contract of a store, and the typed event rows that it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol, Self

import polars as pl

from intently.errors import InputError
from intently.schema import EVENT_CODES, EVENTS

NUMBERS: Final = ("value", "quantity", "price")
TEXTS: Final = ("session_id", "event_id", "recommendation_id")

WRITTEN: Final = ("user", "item", "event", "time_us", *NUMBERS, *TEXTS, "identity")
"""Columns of an event as it is kept, beside its number: keys, whole microseconds, what makes it the same."""

EVENT_TYPES: Final[dict[str, type[pl.DataType]]] = {
    "user_id": pl.String,
    "item_id": pl.String,
    "event": pl.UInt8,
    "time_s": pl.Float64,
    **dict.fromkeys(NUMBERS, pl.Float64),
    **dict.fromkeys(TEXTS, pl.String),
}
"""Columns of `add_events`; those after time_s may be left out or null."""

TIME_RANGE_S: Final = (-2208988800.0, 7258118400.0)
"""1900-01-01 to 2200-01-01 in seconds since 1970: a time outside is a mistake, not a time."""

MAX_NUMBER: Final = 1e15
"""No price, rating or quantity is larger; keeps 32-bit numbers finite later."""

MAX_ID: Final = 512
"""Longest id in characters."""

OUTCOMES: Final = (
    "SELECT recommendation_id, event, count(*) FROM events WHERE recommendation_id IS NOT NULL GROUP BY 1, 2"
)
OUTCOME_TYPES: Final = {"recommendation_id": pl.String, "event": pl.UInt8, "n": pl.Int64}

SEARCH: Final = "search:"
"""A search names no item: this and its words stand in for one. Such rows are kept and count once, but are no
items: `items`, `counts` and `events` leave them out."""

EventRow = tuple[Any, ...]
"""One event as a plain tuple in the order of EVENT_TYPES, its event as a code; checked before."""

EventRows = pl.DataFrame | Sequence[Mapping[str, object]]
TableRows = pl.DataFrame | Sequence[Mapping[str, object]]
"""Rows of items or users: the id and any attributes that JSON can hold."""


@dataclass(frozen=True)
class Added:
    """What became of the rows given: accepted + duplicates = rows.

    fresh: positions of the accepted ones (events only), in order.
    """

    accepted: int
    duplicates: int
    fresh: tuple[int, ...] = field(default=(), compare=False, repr=False)


class Appended(NamedTuple):
    """What became of a group: for each row whether it was new; the arrival number of the first new one."""

    fresh: list[bool]
    first_row: int


@dataclass(frozen=True)
class Counts:
    """Rows of each table; items and users include those known only from events."""

    events: int
    items: int
    users: int


class EventStore(Protocol):
    """Events are only added; items and users are added or changed, never silently emptied."""

    def add_events(self, rows: EventRows) -> Added:
        """Store typed events; on return they are on disk, and events known before counted once.

        Identity is `event_id` where given, else all fields together: an exact copy of a row is a
        duplicate, also within one call. Two identical purchases at one moment need event ids.
        Raises InputError (nothing is stored) for a row that breaks EVENT_TYPES.
        """
        ...

    def append(self, rows: Sequence[EventRow]) -> Appended:
        """Store a few plain rows that were checked before; on return they are on disk, each counted once."""
        ...

    def settle(self) -> bool:
        """Use a moment in which nothing waits to be appended, some 5 ms; True while there is more to do."""
        ...

    def upsert_items(self, rows: TableRows) -> Added:
        """Add items or merge into known ones; null cells change nothing; same again: a duplicate.

        Raises InputError (nothing is stored) for a row whose item_id is not text of 1 to MAX_ID.
        """
        ...

    def upsert_users(self, rows: TableRows) -> Added:
        """As upsert_items, for users."""
        ...

    def replace_items(self, given: Mapping[str, Mapping[str, object]]) -> None:
        """Attributes by item id become these, whatever they were. Raises InputError for a wrong id."""
        ...

    def replace_users(self, given: Mapping[str, Mapping[str, object]]) -> None:
        """As replace_items, for users."""
        ...

    def item(self, item_id: str) -> dict[str, object] | None:
        """An item's attributes, {} when only events know it, None when nothing does."""
        ...

    def user(self, user_id: str) -> dict[str, object] | None:
        """As item, for a user."""
        ...

    def erase_user(self, user_id: str) -> int:
        """Remove a user's events, attributes and id from the file, and say how many events there were.

        The bytes are overwritten, not only marked as free. What makes events the same stays known as a
        number, so that re-sending an erased event does not bring it back.
        """
        ...

    def events(self) -> pl.DataFrame:
        """Every event in order of arrival.

        Columns user_id, item_id (text), event (u8 code of schema.EVENTS), time_s (f64 seconds since
        1970, UTC), value, quantity, price (f32), session_id (text).
        """
        ...

    def events_since(self, row: int) -> pl.DataFrame:
        """Events that arrived after number `row`, for those who follow what users do.

        As `events`, with a first column `row` (i64), and without value, quantity and price.
        """
        ...

    def outcomes(self) -> pl.DataFrame:
        """What came of answers: recommendation_id, event (u8 code), n; how many events name each."""
        ...

    def last_row(self) -> int:
        """Arrival number of the newest event, 0 when empty."""
        ...

    def items(self) -> pl.DataFrame:
        """item_id and every attribute ever given, in order of arrival; a column has one kind of value."""
        ...

    def users(self) -> pl.DataFrame:
        """As items: user_id and every attribute."""
        ...

    def item_records(self) -> list[tuple[str, dict[str, object]]]:
        """(item_id, its attributes as they were given), in order of arrival."""
        ...

    def user_records(self) -> list[tuple[str, dict[str, object]]]:
        """As item_records, for users."""
        ...

    def counts(self) -> Counts:
        """How many rows each table has."""
        ...

    def close(self) -> None:
        """Release the file; the store cannot be used afterwards."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def typed_events(rows: EventRows) -> pl.DataFrame:
    """The rows with exactly the columns and types of EVENT_TYPES; `event` may be a name or a code.

    Raises InputError for an unknown column or event, a missing id or time, an id that is empty,
    longer than MAX_ID or has a NUL, a time outside TIME_RANGE_S or a number that is not finite.
    """
    frame = rows if isinstance(rows, pl.DataFrame) else _frame_of(rows)
    unknown = [name for name in frame.columns if name not in EVENT_TYPES]
    if unknown:
        allowed = ", ".join(EVENT_TYPES)
        raise InputError(f"unknown event field {unknown[0]!r}; allowed: {allowed}", field=unknown[0])
    for name in ("user_id", "item_id", "event", "time_s"):
        if name not in frame.columns:
            raise InputError(f"events lack {name}; got {', '.join(frame.columns)}", field=name)
    if frame["event"].dtype == pl.String:
        codes = pl.col("event").replace_strict(EVENT_CODES, default=None, return_dtype=pl.UInt8)
        frame = frame.with_columns(codes)
    absent = [pl.lit(None, dtype).alias(n) for n, dtype in EVENT_TYPES.items() if n not in frame.columns]
    try:
        frame = frame.with_columns(absent).select(pl.col(n).cast(t) for n, t in EVENT_TYPES.items())
    except pl.exceptions.PolarsError as error:
        raise InputError(f"events of a wrong type: {str(error).splitlines()[0]}") from error
    for name, (bad, allowed) in _faults().items():
        _refuse(frame, name, bad, allowed)
    return frame


def _frame_of(rows: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    names = list(dict.fromkeys(name for row in rows for name in row)) or list(EVENT_TYPES)
    try:
        return pl.DataFrame(
            {name: pl.Series(name, [row.get(name) for row in rows], _dtype(name, rows)) for name in names}
        )
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        raise InputError(f"events of a wrong type: {str(error).splitlines()[0]}") from error


def _dtype(name: str, rows: Sequence[Mapping[str, object]]) -> type[pl.DataType] | None:
    if name == "event":
        return pl.String if any(isinstance(row.get(name), str) for row in rows) else pl.UInt8
    return EVENT_TYPES.get(name)


def _faults() -> dict[str, tuple[pl.Expr, str]]:
    """Column -> (true where the row is wrong, what is allowed)."""
    low, high = TIME_RANGE_S
    found: dict[str, tuple[pl.Expr, str]] = {}
    for name in ("user_id", "item_id"):
        size = pl.col(name).str.len_chars()
        bad = size.is_null() | (size == 0) | (size > MAX_ID)
        bad |= pl.col(name).str.contains("\0", literal=True)
        found[name] = (bad, f"text of 1 to {MAX_ID} characters without NUL")
    found["event"] = (
        pl.col("event").is_null() | (pl.col("event") >= len(EVENTS)),
        f"one of {', '.join(EVENTS)}",
    )
    time = pl.col("time_s")
    found["time_s"] = (
        time.is_null() | time.is_nan() | (time < low) | (time >= high),
        "seconds since 1970, years 1900 to 2199",
    )
    for name in NUMBERS:
        number = pl.col(name)
        wrong = number.is_nan() | (number.abs() > MAX_NUMBER)
        found[name] = (wrong.fill_null(False), f"a finite number up to {MAX_NUMBER:g}")
    return found


def _refuse(frame: pl.DataFrame, name: str, bad: pl.Expr, allowed: str) -> None:
    rows = frame.select(bad.fill_null(True).alias("bad"))["bad"]
    if rows.any():
        row = int(rows.arg_max() or 0)
        got = frame[name][row]
        raise InputError(f"{name} of event {row}: got {str(got)[:80]!r}, allowed: {allowed}", field=name)
