"""JSON lines, one JSON array, and repaired rejects files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import polars as pl

from intently.data.parse import UNUSABLE
from intently.data.readers_base import raw_stream
from intently.data.readers_text import Block, sound
from intently.data.rejects import Reject, given_again, is_reject
from intently.errors import InputError
from intently.schema import LongArray

_LARGEST_ARRAY: Final = 256 << 20


@dataclass(frozen=True)
class JsonBatch:
    """Rows that are objects, each with keys of its own; see readers.Batch."""

    lines: LongArray
    names: Sequence[str]
    rows: list[dict[str, Any]]
    bad: list[Reject]
    done: float

    def series(self, name: str) -> pl.Series:
        """See Batch: whole numbers, numbers or text; mixed kinds become text."""
        values = [row.get(name) for row in self.rows]
        kinds = {type(value) for value in values} - {type(None)}
        if kinds == {int} and all(value is None or -(2**63) <= value < 2**63 for value in values):
            return pl.Series(name, values, dtype=pl.Int64)
        if kinds == {float}:
            return pl.Series(name, values, dtype=pl.Float64)
        return pl.Series(name, [_cell(value) for value in values], dtype=pl.String)

    def given(self, row: int) -> dict[str, Any]:
        """See Batch."""
        return self.rows[row]


def jsonl_batches(blocks: Iterable[Block], source: str) -> Iterator[JsonBatch]:
    """A batch a block; raises InputError when the file is one pretty-printed object."""
    begun = False
    for first, lines, done in blocks:
        numbers, values, bad = _loaded(lines, first)
        if not begun and bad and (not numbers or bad[0].line < numbers[0]):
            _refuse_one_document(lines, source)
        begun = begun or bool(numbers or bad)
        yield _batch(numbers, values, bad, done)


def array_batches(path: Path, encoding: str) -> Iterator[JsonBatch]:
    """The elements of one JSON array; their number in it stands for the line."""
    stream, _ = raw_stream(path)
    with stream:
        raw = stream.read(_LARGEST_ARRAY + 1)
    if len(raw) > _LARGEST_ARRAY:
        raise InputError(
            f"{path.name} is one JSON array of more than 256 MB", hint="write one object a line (JSONL)"
        )
    try:
        values = orjson.loads(raw.decode(encoding).lstrip("\ufeff"))
    except (orjson.JSONDecodeError, UnicodeDecodeError) as error:
        hint = "mend it, or write one object a line (JSONL)"
        raise InputError(f"{path.name} is a JSON array that cannot be read: {error}", hint=hint) from error
    yield _batch(list(range(1, len(values) + 1)), values, [], float(path.stat().st_size))


def _loaded(lines: list[str], first: int) -> tuple[list[int], list[Any], list[Reject]]:
    """(line of each value, values, lines that are no JSON)."""
    numbers: list[int] = []
    values: list[Any] = []
    bad: list[Reject] = []
    for number, line in enumerate(lines, first):
        if not line.strip(" \t\ufeff"):
            continue
        try:
            values.append(orjson.loads(line.lstrip("\ufeff")))
            numbers.append(number)
        except orjson.JSONDecodeError as error:
            shown = line.encode("utf-8", "replace").decode()
            reason = f"is not JSON: {error}" if sound(line) else "bytes that are not of the file's encoding"
            bad.append(Reject(number, "", reason, shown))
    return numbers, values, bad


def _batch(numbers: list[int], values: list[Any], bad: list[Reject], done: float) -> JsonBatch:
    lines: list[int] = []
    rows: list[dict[str, Any]] = []
    for number, value in zip(numbers, values, strict=True):
        row = given_again(value, number) if is_reject(value) else value
        if isinstance(row, dict):
            lines.append(number)
            rows.append(row)
        else:
            bad.append(
                row if isinstance(row, Reject) else Reject(number, "", "is not an object of columns", value)
            )
    bad.sort(key=lambda reject: reject.line)
    names = list(dict.fromkeys(chain.from_iterable(rows)))
    return JsonBatch(np.asarray(lines, np.int64), names, rows, bad, done)


def _cell(value: Any) -> str | None:
    """A value as a CSV would hold it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict | list):
        return UNUSABLE
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and abs(value) >= 2**53:
        return UNUSABLE
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return repr(value)


def _refuse_one_document(lines: list[str], source: str) -> None:
    """One object over many lines is a mistake of format, not a thousand bad rows."""
    try:
        whole = orjson.loads("\n".join(lines).lstrip("\ufeff"))
    except orjson.JSONDecodeError:
        return
    kind = "object" if isinstance(whole, dict) else "value"
    raise InputError(
        f"{source} is one JSON {kind} over {len(lines)} lines",
        hint="write one object a line (JSONL), or one array of objects",
    )
