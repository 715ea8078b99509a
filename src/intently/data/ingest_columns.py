"""Which column of a source is which of ours, and a batch of columns as typed event rows."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl

from intently.data.parse import Parsed, canonical, event_names, idents, numbers, rename_columns
from intently.data.parse_times import check_zone, guess_day_first, times
from intently.data.readers_base import Batch
from intently.data.rejects import Reject
from intently.errors import InputError
from intently.schema import (
    EVENT_ALIASES,
    EVENT_CODES,
    EVENT_COLUMNS,
    EVENT_REQUIRED,
    EVENTS,
    ITEM_COLUMNS,
    IntArray,
)
from intently.store.base import EVENT_TYPES, NUMBERS, TEXTS

KEYS: Final = {"events": EVENT_REQUIRED, "items": ("item_id",), "users": ("user_id",)}
"""Table -> columns it cannot do without."""

_WANTED: Final = {"events": EVENT_COLUMNS, "items": ITEM_COLUMNS, "users": ("user_id",)}


@dataclass(frozen=True)
class ImportOptions:
    """How to read what a file does not say itself; each default is the usual case.

    columns: source column -> ours, before the aliases. event: name for rows of a source without an
    event column. timezone: of times without one. day_first: the reading of 03/04/2024; None looks
    at the first rows. Raises InputError for a name that is unknown.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    event: str = "purchase"
    timezone: str = "UTC"
    day_first: bool | None = None
    encoding: str = ""

    def __post_init__(self) -> None:
        check_zone(self.timezone)
        if EVENT_ALIASES.get(self.event, self.event) not in EVENT_CODES:
            raise InputError(f"unknown event {self.event!r}; allowed: {', '.join(EVENTS)}", field="event")
        known = list(dict.fromkeys([*EVENT_COLUMNS, *ITEM_COLUMNS]))
        for ours in self.columns.values():
            if ours not in known:
                near = difflib.get_close_matches(ours, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(known)}"
                raise InputError(f"cannot map to unknown column {ours!r}", hint=hint, field="map")


def assign(table: str, names: Sequence[str], columns: Mapping[str, str]) -> dict[str, str]:
    """Our column -> the source's: what the user said first, then exact names, then aliases."""
    wanted = _WANTED[table]
    found: dict[str, str] = {}
    for source, ours in columns.items():
        name = next((n for n in names if n == source), None) or next(
            (n for n in names if canonical(n) == canonical(source)), None
        )
        if name is not None and ours in wanted:
            found[ours] = name
    rest = [name for name in names if name not in found.values()]
    aliased = rename_columns(rest, [ours for ours in wanted if ours not in found])
    return found | {ours: source for source, ours in aliased.items()}


def require(table: str, mapping: Mapping[str, str], names: Sequence[str], source: str) -> None:
    """Raises InputError, naming the columns got and how to map them, when a required one is missing."""
    missing = [ours for ours in KEYS[table] if ours not in mapping]
    if missing:
        shown = ", ".join(name[:40] for name in names[:30]) + (", ..." if len(names) > 30 else "")
        raise InputError(
            f"{source} lacks {', '.join(missing)}; its columns are: {shown}",
            hint=f"say which column it is: --map COLUMN={missing[0]}",
            field=missing[0],
        )


def day_first(batch: Batch, mapping: Mapping[str, str], options: ImportOptions) -> bool | None:
    """The reading of 03/04/2024 that the first rows show, unless the user said it."""
    if options.day_first is not None or "timestamp" not in mapping or not len(batch.lines):
        return options.day_first
    return guess_day_first(batch.series(mapping["timestamp"]))


def typed_batch(
    batch: Batch, mapping: Mapping[str, str], options: ImportOptions, day: bool | None
) -> tuple[pl.DataFrame, list[Reject], bool]:
    """(rows for EventStore.add_events, the others, whether a time without a zone was met)."""
    read: dict[str, Parsed] = {}
    for ours in EVENT_REQUIRED:
        source = mapping.get(ours)
        column = batch.series(source) if source else pl.Series([None] * len(batch.lines), dtype=pl.String)
        if ours == "timestamp":
            read[ours] = times(column, zone=options.timezone, day_first=day)
        else:
            read[ours] = idents(column)
    if "event" in mapping:
        read["event"] = event_names(batch.series(mapping["event"]))
    read |= {n: numbers(batch.series(mapping[n])) for n in NUMBERS if n in mapping}
    read |= {n: idents(batch.series(mapping[n]), required=False) for n in TEXTS if n in mapping}
    rejects, wrong = rejected(batch, mapping, read)
    frame = _typed(read, options, len(batch.lines))
    if len(wrong):
        good = np.ones(len(batch.lines), bool)
        good[wrong] = False
        frame = frame.filter(pl.Series(good))
    return frame, rejects, read["timestamp"].naive


def rejected(
    batch: Batch, mapping: Mapping[str, str], read: Mapping[str, Parsed]
) -> tuple[list[Reject], IntArray]:
    """(a reject for each row with a fault, naming its first fault; their positions)."""
    causes: list[tuple[str, str]] = []
    cause = np.full(len(batch.lines), -1, np.int32)
    for ours, parsed in read.items():
        for rows, reason in parsed.faults:
            cause[rows & (cause < 0)] = len(causes)
            causes.append((ours, reason))
    wrong = np.flatnonzero(cause >= 0).astype(np.int32)
    rejects = []
    for row in wrong.tolist():
        ours, reason = causes[cause[row]]
        given = batch.given(row)
        source = mapping.get(ours, ours)
        got = given.get(source)
        shown = "" if got is None else f": got {str(got)[:80]!r}"
        rejects.append(Reject(int(batch.lines[row]), ours, f"{source} {reason}{shown}", given))
    return rejects, wrong


def _typed(read: Mapping[str, Parsed], options: ImportOptions, n: int) -> pl.DataFrame:
    default = EVENT_CODES[EVENT_ALIASES.get(options.event, options.event)]
    columns = []
    for name, dtype in EVENT_TYPES.items():
        parsed = read.get("timestamp" if name == "time_s" else name)
        if parsed is not None:
            columns.append(parsed.values.cast(dtype).alias(name))
        elif name == "event":
            columns.append(pl.Series(name, np.full(n, default, np.uint8)))
        else:
            columns.append(pl.Series(name, [None], dtype=dtype).new_from_index(0, n).alias(name))
    return pl.DataFrame(columns)
