"""What a source of rows is: the parts that every reader shares."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, cast

import polars as pl

from intently.data.rejects import Reject
from intently.schema import LongArray


class Batch(Protocol):
    """Some consecutive rows of a source, as given."""

    @property
    def lines(self) -> LongArray:
        """Line (or row number, from 1) of each row, (n,)."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """Column names as the source writes them."""
        ...

    @property
    def bad(self) -> list[Reject]:
        """Rows that could not be taken apart; they are not among the n."""
        ...

    @property
    def done(self) -> float:
        """How far into the source this batch reaches, in the source's `unit`."""
        ...

    def series(self, name: str) -> pl.Series:
        """One column, (n,)."""
        ...

    def given(self, row: int) -> dict[str, Any]:
        """The row as it was given, for a rejects file."""
        ...


@dataclass(frozen=True)
class Source:
    """A readable file. `batches()` may be called again and starts anew.

    total: size in `unit`, for a progress bar. textual: cells are text whose kind is unknown.
    """

    path: Path
    kind: str  # csv | jsonl | json | parquet
    encoding: str
    total: float
    unit: str
    batches: Callable[[], Iterator[Batch]]

    @property
    def textual(self) -> bool:
        """Whether every cell is text (CSV)."""
        return self.kind == "csv"


def raw_stream(path: Path) -> tuple[IO[bytes], Callable[[], int]]:
    """(binary stream, unpacked when gzip; bytes of the file read so far)."""
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    if not packed:
        plain = path.open("rb")
        return plain, plain.tell
    unpacked = gzip.GzipFile(path, "rb")
    return cast(IO[bytes], unpacked), cast(IO[bytes], unpacked.fileobj).tell
