"""Texts out of a user's files: plain text (a line a text), JSONL, Parquet and CSV, packed or not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from intently import progress
from intently.data.readers import open_source
from intently.data.readers_text import guess_encoding, sound, text_blocks, verified_encoding
from intently.errors import InputError

TEXT_COLUMNS: Final = ("text", "content", "review", "review_text", "sentence", "body", "comment")
"""Columns that hold a whole text; the first one present is read."""

ITEM_COLUMNS: Final = ("title", "category", "brand", "description", "name", "product_name", "标题", "描述")
"""Without one of the above, these are read together as one text."""

_HEAD: Final = 1 << 16


def texts_of(path: Path, column: str = "") -> Iterator[str]:
    """The texts of one file, as they come; white space is not touched, empty ones are left out.

    column: the column of a table that is read ('': the first of TEXT_COLUMNS, else ITEM_COLUMNS side by
    side). Raises InputError for a missing, empty or damaged file and for a table without text.
    """
    if not path.is_file():
        raise InputError(f"no file {path}", hint="a corpus is made of .txt, .jsonl, .parquet or .csv files")
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    plain = bool(suffixes) and suffixes[-1] in (".txt", ".text", ".md")
    return _lines(path) if plain else _cells(path, column)


def _lines(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    packed = head.startswith(b"\x1f\x8b")
    encoding = verified_encoding(path, "" if packed else guess_encoding(head, path.name))
    for number, lines, _ in text_blocks(path, encoding):
        for offset, line in enumerate(lines):
            if not sound(line):
                raise InputError(
                    f"line {number + offset} of {path.name} is not {encoding} text",
                    hint="the file is damaged or of another encoding; save it as UTF-8",
                )
            if line.strip():
                yield line


def _cells(path: Path, column: str) -> Iterator[str]:
    """Rows that cannot be taken apart are left out, and their number is said."""
    source, left_out = open_source(path), 0
    for batch in source.batches():
        if batch.bad and not len(batch.lines):
            first = batch.bad[0]
            raise InputError(f"line {first.line} of {path.name} cannot be read: {first.reason}")
        left_out += len(batch.bad)
        for text in _joined([batch.series(name) for name in _chosen(batch.names, column, path.name)]):
            if text:
                yield text
    if left_out:
        progress.note(f"{path.name}: {left_out} rows could not be read and are left out")


def _chosen(names: Sequence[str], column: str, source: str) -> list[str]:
    """Which columns are read."""
    if column:
        if column in names:
            return [column]
        raise InputError(f"{source} has no column {column!r}, only {_some(names)}", field="column")
    lower = {name.strip().lower(): name for name in reversed(names)}
    whole = [lower[name] for name in TEXT_COLUMNS if name in lower][:1]
    found = whole or [lower[name] for name in ITEM_COLUMNS if name in lower]
    if not found:
        raise InputError(
            f"no column of {source} is known to hold text; it has {_some(names)}",
            hint="name it with --column, or call it text",
        )
    return found


def _joined(columns: list[pl.Series]) -> list[str]:
    """The columns' cells side by side, one text a row."""
    cells = [_as_text(column) for column in columns]
    return [", ".join(part for part in row if part) for row in zip(*cells, strict=True)]


def _as_text(column: pl.Series) -> list[str]:
    if isinstance(column.dtype, pl.List | pl.Array):
        column = column.cast(pl.List(pl.String)).list.join(" ", ignore_nulls=True)
    return column.cast(pl.String).fill_null("").str.strip_chars().to_list()


def _some(names: Sequence[str]) -> str:
    return ", ".join(repr(name[:40]) for name in names[:8]) or "none"
