"""One file in, batches of raw rows out, in bounded memory.

What a file is, is told by its first bytes, never by its name. `open_source` refuses what is not a
table with one clear line; from then on a row that cannot be taken apart is a `Reject`, not an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from intently.data.readers_base import Batch, Source, raw_stream
from intently.data.readers_csv import csv_batches
from intently.data.readers_json import array_batches, jsonl_batches
from intently.data.readers_text import check_encoding, guess_encoding, text_blocks, verified_encoding
from intently.data.rejects import Reject
from intently.errors import InputError
from intently.schema import LongArray

BATCH_ROWS: Final = 250_000

_HEAD: Final = 1 << 16
_FOREIGN: Final = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "save the sheet as CSV UTF-8"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save the sheet as CSV UTF-8"),
    (b"%PDF", "a PDF", "export the table as CSV"),
    (b"SQLite format 3", "a SQLite file", "export the table as CSV"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed", "unpack it, or use gzip"),
    (b"BZh", "bzip2-compressed", "unpack it, or use gzip"),
    (b"\xfd7zXZ", "xz-compressed", "unpack it, or use gzip"),
    (b"Obj\x01", "an Avro file", "convert it to Parquet"),
    (b"ORC", "an ORC file", "convert it to Parquet"),
    (b"ARROW1", "an Arrow file", "convert it to Parquet"),
    (b"\x89PNG", "a picture", "give a table"),
)


@dataclass(frozen=True)
class FrameBatch:
    """Rows of a Parquet file."""

    lines: LongArray
    frame: pl.DataFrame
    done: float
    bad: list[Reject] = field(default_factory=list)

    @property
    def names(self) -> Sequence[str]:
        """See Batch."""
        return self.frame.columns

    def series(self, name: str) -> pl.Series:
        """See Batch."""
        return self.frame[name]

    def given(self, row: int) -> dict[str, Any]:
        """See Batch."""
        return self.frame.row(row, named=True)


def open_source(path: Path, *, encoding: str = "") -> Source:
    """Look at a file and say how it is read.

    encoding: '' finds it (UTF-8, UTF-16, GB18030). Raises InputError for a path that is missing,
    a folder, empty, cut off, packed in a way we do not read, or no table at all.
    """
    head = _head(path)
    if head[:4] == b"PAR1":
        return _open_parquet(path)
    for magic, what, hint in _FOREIGN:
        if head.startswith(magic):
            raise InputError(f"{path.name} is {what}, not a table that can be read", hint=hint)
    return _open_text(path, head, encoding)


def _open_text(path: Path, head: bytes, encoding: str) -> Source:
    """A CSV, JSONL or JSON source."""
    known = check_encoding(encoding) if encoding else guess_encoding(head, path.name)
    found = verified_encoding(path, known)
    size = float(path.stat().st_size)
    start = head.decode(found, "ignore").lstrip("\ufeff \t\r\n")[:1]
    if not start and not any(line.strip() for _, lines, _ in text_blocks(path, found) for line in lines):
        raise InputError(f"{path.name} is empty", hint="expected a header and rows")

    def lines_of_objects() -> Iterator[Batch]:
        yield from jsonl_batches(text_blocks(path, found), path.name)

    def one_array() -> Iterator[Batch]:
        yield from array_batches(path, found)

    def rows_of_cells() -> Iterator[Batch]:
        yield from csv_batches(text_blocks(path, found), path.name)

    kind, batches = {"{": ("jsonl", lines_of_objects), "[": ("json", one_array)}.get(
        start, ("csv", rows_of_cells)
    )
    return Source(path, kind, found, size, "bytes", batches)


def _head(path: Path) -> bytes:
    if not path.exists():
        raise InputError(f"no file {path}", hint="check the path")
    if path.is_dir():
        raise InputError(f"{path} is a folder; a file is needed", hint="import its files one by one")
    if not path.is_file():
        raise InputError(f"{path} is not a plain file", hint="write it to a file first")
    try:
        stream, _ = raw_stream(path)
        with stream:
            head = stream.read(_HEAD)
    except PermissionError as error:
        raise InputError(f"no permission to read {path}") from error
    except (OSError, EOFError) as error:
        raise InputError(f"{path.name} is a damaged gzip file: {error}") from error
    if not head:
        raise InputError(f"{path.name} is empty", hint="expected a header and rows")
    return head


def _open_parquet(path: Path) -> Source:
    scan = pl.scan_parquet(path)
    try:
        n_rows = int(scan.select(pl.len()).collect().item())
        names = scan.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        hint = "it may be cut off; copy or write it again"
        raise InputError(f"{path.name} is a damaged Parquet file: {_first_line(error)}", hint=hint) from error
    if not names:
        raise InputError(f"{path.name} has no columns")

    def batches() -> Iterator[Batch]:
        for start in range(0, max(n_rows, 1), BATCH_ROWS):
            try:
                frame = scan.slice(start, BATCH_ROWS).collect()
            except (pl.exceptions.PolarsError, OSError) as error:
                raise InputError(
                    f"{path.name} is damaged after row {start}: {_first_line(error)}",
                    hint="the rows before are stored; importing it again once it is whole is safe",
                ) from error
            lines = np.arange(start + 1, start + 1 + frame.height, dtype=np.int64)
            yield FrameBatch(lines, frame, float(start + frame.height))

    return Source(path, "parquet", "", float(n_rows), "rows", batches)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
