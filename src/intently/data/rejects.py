"""Rows that could not be used: kept with line, field and reason, to be repaired and sent again.

A rejects file is JSONL. `row` is the row as it was given: an object of columns; a list of cells with
`columns` beside it when the cells did not fit the header; or plain text when it could not be taken
apart. Repaired in place (any of the three may become an object), the file is imported like any other.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import orjson

from intently.errors import InputError

KEYS = ("line", "field", "reason", "row")


@dataclass(frozen=True)
class Reject:
    """One row that was not used: its line (or row number), the field at fault and why."""

    line: int
    field: str
    reason: str
    row: Any
    columns: tuple[str, ...] | None = None

    def as_json(self) -> bytes:
        """One line without its end; what JSON cannot hold becomes text."""
        found: dict[str, Any] = {n: getattr(self, n) for n in KEYS}
        if self.columns is not None:
            found["columns"] = self.columns
        return orjson.dumps(_holdable(found), option=orjson.OPT_NON_STR_KEYS)


class RejectsFile:
    """Collects rejects beside `path` and puts them there at the end, in one move.

    Nothing is written unless a row is rejected; an older rejects file at `path` is replaced, or
    removed when nothing was rejected. Raises InputError when `path` is the source itself, a folder,
    or a file that is not a rejects file: it would be lost.
    """

    def __init__(self, path: Path, source: Path) -> None:
        self.path = path
        self.count = 0
        self.first: Reject | None = None
        self._stream: BinaryIO | None = None
        if path.is_dir():
            raise InputError(f"the rejects file {path} is a folder", field="rejects")
        if path.exists() and path.samefile(source):
            raise InputError(f"the rejects file {path} is the file being imported", field="rejects")
        if path.exists() and path.stat().st_size and not is_rejects(path):
            raise InputError(
                f"{path} exists and is not a rejects file; it is not overwritten", field="rejects"
            )

    def add(self, rejects: Iterable[Reject]) -> None:
        """Keep these rows."""
        for reject in rejects:
            if self._stream is None:
                self._stream = self._begin()
            self.first = self.first or reject
            self._stream.write(reject.as_json() + b"\n")
            self.count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()
            os.replace(self._part, self.path)
        elif kind is None and self.path.exists():
            self.path.unlink()

    @property
    def _part(self) -> Path:
        return self.path.with_name(f".{self.path.name}.part")

    def _begin(self) -> BinaryIO:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return self._part.open("wb")
        except OSError as error:
            message = f"cannot write the rejects file {self.path}: {error.strerror}"
            raise InputError(message, field="rejects") from error


def is_rejects(path: Path) -> bool:
    """Whether the first line of a file is a reject."""
    with path.open("rb") as stream:
        line = stream.readline(16 << 20)
    try:
        return is_reject(orjson.loads(line))
    except orjson.JSONDecodeError:
        return False


def is_reject(row: Any) -> bool:
    """Whether a JSON value is a line of a rejects file."""
    return isinstance(row, dict) and all(key in row for key in KEYS)


def given_again(record: dict[str, Any], line: int) -> dict[str, Any] | Reject:
    """The row inside a line of a rejects file, or the reject anew when nobody repaired its cells."""
    row, columns = record["row"], record.get("columns")
    if isinstance(row, dict):
        return row
    field, reason = str(record["field"]), str(record["reason"])
    if isinstance(row, list) and isinstance(columns, list):
        if len(row) == len(columns):
            return dict(zip(map(str, columns), row, strict=True))
        return Reject(line, field, reason, row, tuple(map(str, columns)))
    return Reject(line, field, reason, row)


def _holdable(value: Any) -> Any:
    """A value that JSON can hold, as near to what was given as can be."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_holdable(str(k)): _holdable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_holdable(v) for v in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64:
        return str(value)
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    if value is None or isinstance(value, int | float):
        return value
    return str(value)
