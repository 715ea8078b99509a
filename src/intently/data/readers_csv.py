"""CSV as it is found: any of four delimiters, quotes that never close, rows of a wrong length.

A quoted cell may hold line ends, up to 200 lines; a quote that is still open then rejects its own
line only, and reading goes on at the next one. Blank lines are no rows.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import polars as pl

from intently.data.parse import canonical
from intently.data.readers_text import Block, sound
from intently.data.rejects import Reject
from intently.errors import InputError
from intently.schema import COLUMN_ALIASES, EVENT_COLUMNS, ITEM_COLUMNS, LongArray

_DELIMITERS: Final = (",", ";", "\t", "|")
_OPEN_LINES: Final = 200
_END: Final = "\x00end of window\x00"
_KNOWN: Final = frozenset(
    [*EVENT_COLUMNS, *ITEM_COLUMNS, *(alias for names in COLUMN_ALIASES.values() for alias in names)]
)

Cut = tuple[list[int], list[list[str]], list[Reject], int]
"""(line of each row, its cells, lines that could not be cut, lines used)."""


@dataclass(frozen=True)
class CsvBatch:
    """Rows of text cells; see readers.Batch."""

    lines: LongArray
    names: Sequence[str]
    cells: list[list[str]]
    bad: list[Reject]
    done: float

    def series(self, name: str) -> pl.Series:
        """See Batch."""
        column = self.names.index(name)
        return pl.Series(name, [row[column] for row in self.cells], dtype=pl.String)

    def given(self, row: int) -> dict[str, Any]:
        """See Batch."""
        return dict(zip(self.names, self.cells[row], strict=True))


def csv_batches(blocks: Iterable[Block], source: str) -> Iterator[CsvBatch]:
    """A batch a block; raises InputError for a header that names a column twice."""
    csv.field_size_limit(1 << 30)  # lines are bounded already
    names: list[str] = []
    delimiter = ""
    carried: list[str] = []
    for (first, lines, done), last in _with_last(blocks):
        first, lines = first - len(carried), [*carried, *lines]
        if not names:
            skipped, delimiter, names = _header(lines, source)
            first, lines = first + skipped, lines[skipped:]
            if not names:
                continue
        numbers, rows, bad, used = _cut(lines, first, delimiter, final=last)
        carried = lines[used:]
        yield _fitted(numbers, rows, bad, names, done)


def _with_last(blocks: Iterable[Block]) -> Iterator[tuple[Block, bool]]:
    """Each block with whether it is the last one."""
    before: Block | None = None
    for block in blocks:
        if before is not None:
            yield before, False
        before = block
    if before is not None:
        yield before, True


def _header(lines: list[str], source: str) -> tuple[int, str, list[str]]:
    """(lines used, delimiter, column names); no names when all lines are blank."""
    delimiters: tuple[str, ...] = _DELIMITERS
    for used, line in enumerate(lines, 1):
        if said := re.fullmatch(r'"?sep=(.)"?', line.strip("\ufeff ")):
            delimiters = (said[1],)
            continue
        if not line.strip():
            continue
        if not sound(line):
            raise InputError(
                f"the header of {source} is in an unknown encoding", hint="name it with --encoding"
            )
        delimiter, names = max(
            ((d, _split(line, d)) for d in delimiters), key=lambda found: _likeness(found[1])
        )
        named = [name.strip("\ufeff ") or f"column_{i}" for i, name in enumerate(names, 1)]
        twice = [name for name in named if named.count(name) > 1]
        if twice:
            raise InputError(f"{source} names the column {twice[0]!r} twice", hint="rename one of them")
        return used, delimiter, named
    return len(lines), ",", []


def _likeness(names: list[str]) -> tuple[int, int]:
    """(columns we know, columns): the delimiter that gives most of both is the right one."""
    return sum(canonical(name) in _KNOWN for name in names), len(names)


def _split(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])


def _cut(lines: list[str], first: int, delimiter: str, *, final: bool) -> Cut:
    """Lines to rows; a row that reaches beyond the lines stays unused unless they are the last."""
    if not any('"' in line for line in lines):
        rows = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
        numbers = [first + i for i, row in enumerate(rows) if row]
        return numbers, [row for row in rows if row], [], len(lines)
    return _cut_quoted(lines, first, delimiter, final=final)


def _cut_quoted(lines: list[str], first: int, delimiter: str, *, final: bool) -> Cut:
    numbers: list[int] = []
    rows: list[list[str]] = []
    bad: list[Reject] = []
    at = 0
    while at < len(lines):
        window = lines[at : at + _OPEN_LINES]
        used, found = _cut_window(window, delimiter)
        numbers += [first + at + start for start, _ in found]
        rows += [row for _, row in found]
        if not used:  # the first line's quote is open to the end of the window
            if not final and at + len(window) == len(lines):
                break
            bad.append(Reject(first + at, "", "a quote opens here and never closes", _shown(lines[at])))
            used = 1
        at += used
    return numbers, rows, bad, at


def _cut_window(window: list[str], delimiter: str) -> tuple[int, list[tuple[int, list[str]]]]:
    """(lines of whole rows, (line in the window, cells) of each)."""
    ended = chain((f"{line}\n" for line in window), [_END])
    reader = csv.reader(ended, delimiter=delimiter, skipinitialspace=True)
    found: list[tuple[int, list[str]]] = []
    used = 0
    for row in reader:
        if row == [_END] or reader.line_num > len(window):
            break
        if row:
            found.append((used, row))
        used = reader.line_num
    return used, found


def _fitted(
    numbers: list[int], rows: list[list[str]], bad: list[Reject], names: list[str], done: float
) -> CsvBatch:
    """Rows as wide as the header; the others become rejects."""
    width = len(names)
    whole = sound("".join(map("".join, rows)))
    lines: list[int] = []
    cells: list[list[str]] = []
    for number, row in zip(numbers, rows, strict=True):
        while len(row) > width and not row[-1]:
            row.pop()
        if not whole and not sound("".join(row)):
            bad.append(Reject(number, "", "bytes that are not of the file's encoding", _shown(",".join(row))))
        elif len(row) == width:
            lines.append(number)
            cells.append(row)
        elif len(row) > 1 or row[0].strip():
            bad.append(Reject(number, "", f"has {len(row)} cells, the header {width}", row, tuple(names)))
    bad.sort(key=lambda reject: reject.line)
    return CsvBatch(np.asarray(lines, np.int64), names, cells, bad, done)


def _shown(line: str) -> str:
    """A damaged line with U+FFFD where it could not be read."""
    return line.encode("utf-8", "replace").decode()
