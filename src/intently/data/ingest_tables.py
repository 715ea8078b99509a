"""Rows of a catalogue or of profiles: known columns are read, all others kept as attributes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import polars as pl

from intently.data.ingest_columns import ImportOptions, rejected
from intently.data.parse import MISSING, Parsed, idents, numbers
from intently.data.parse_times import times
from intently.data.readers_base import Batch, Source
from intently.data.rejects import Reject
from intently.schema import ITEM_TEXTS, PATH, BoolArray

_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?")


def number_columns(source: Source) -> frozenset[str]:
    """Columns of a CSV whose every cell is a plain number: their cells are kept as numbers.

    Codes with a leading zero stay text. Other kinds of files say themselves what a cell is.
    """
    if not source.textual:
        return frozenset()
    seen: set[str] = set()
    other: set[str] = set()
    for batch in source.batches():
        for name in batch.names:
            if name in other:
                continue
            cells = batch.series(name).unique().to_list()
            filled = [cell for cell in cells if cell.strip().lower() not in MISSING]
            if all(_NUMBER.fullmatch(cell.strip()) for cell in filled):
                seen.update([name] if filled else [])
            else:
                other.add(name)
    return frozenset(seen - other)


def typed_rows(
    batch: Batch, mapping: Mapping[str, str], key: str, options: ImportOptions, numeric: frozenset[str]
) -> tuple[list[dict[str, Any]], list[Reject]]:
    """(rows for EventStore.upsert_items or _users, the others)."""
    read = {key: idents(batch.series(mapping[key]))}
    if "price" in mapping:
        read["price"] = numbers(batch.series(mapping["price"]))
    if "created_at" in mapping:
        read["created_at"] = _optional_times(batch.series(mapping["created_at"]), options)
    given = [batch.given(row) for row in range(len(batch.lines))]
    read |= {n: _texts([row.get(mapping[n]) for row in given]) for n in ITEM_TEXTS if n in mapping}
    rejects, wrong = rejected(batch, mapping, read)
    bad = set(wrong.tolist())
    columns = {ours: parsed.values.to_list() for ours, parsed in read.items()}
    if "created_at" in columns:
        columns["created_at"] = [_written(moment) for moment in columns["created_at"]]
    used = {mapping[ours] for ours in read}
    rows = []
    for position, row in enumerate(given):
        if position in bad:
            continue
        extra = {n: _extra(v, n in numeric) for n, v in row.items() if n not in used and n not in read}
        rows.append(extra | {ours: values[position] for ours, values in columns.items()})
    return rows, rejects


def _optional_times(column: pl.Series, options: ImportOptions) -> Parsed:
    parsed = times(column, zone=options.timezone, day_first=options.day_first)
    return Parsed(parsed.values, [fault for fault in parsed.faults if fault[1] != "is missing"])


def _written(moment: float | None) -> str | None:
    """RFC 3339, UTC."""
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


def _texts(values: list[Any]) -> Parsed:
    """Words of the catalogue; a list of texts is joined as a path."""
    strange: BoolArray = np.zeros(len(values), bool)
    texts: list[str | None] = []
    for row, value in enumerate(values):
        text = _text(value)
        strange[row] = value is not None and text is None
        texts.append(text if text and text.strip().lower() not in MISSING else None)
    return Parsed(pl.Series(texts, dtype=pl.String), [(strange, "is not text")] if strange.any() else [])


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return PATH.join(part.strip() for part in value)
    if isinstance(value, dict | list | bytes | None):
        return None
    return str(value)


def _extra(value: Any, numeric: bool) -> Any:
    if not isinstance(value, str):
        return value
    text = value.strip()
    if numeric:
        if text.lower() in MISSING:
            return None
        return float(text) if "." in text else int(text)
    return text or None
