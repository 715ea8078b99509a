"""Vectors on disk, found by the content of what they are of.

One SQLite file for each way of encoding: SHA-256 of a text or of a picture's file -> the vector's bytes and
their checksum. Neither texts nor pictures are kept. SQLite commits each chunk as a whole and locks between
processes, so that a killed run loses at most one chunk and two runs at once only do some work twice. A file
that cannot be read is put aside and begun anew; a vector whose checksum is wrong counts as missing.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import numpy as np

from intently import progress
from intently.schema import FloatArray

T = TypeVar("T")
_WAIT_S = 60.0
_ASK = 500
_PAGES = "PRAGMA page_size = 16384"  # whole vectors in a page; counts for a new file only
_SCHEMA = "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, sum INTEGER, vector BLOB)"


def user_cache() -> Path:
    """The user's cache folder: $XDG_CACHE_HOME/intently, %LOCALAPPDATA%\\intently or ~/.cache/intently."""
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        if folder := os.environ.get(name):
            return Path(folder) / "intently"
    return Path.home() / ".cache" / "intently"


def default_cache() -> Path:
    """Where vectors are kept unless a folder is named: `vectors` in the user's cache."""
    return user_cache() / "vectors"


def text_key(text: str) -> bytes:
    """SHA-256 of the text; a lone surrogate is hashed as it is.

    >>> text_key("tea").hex()[:8]
    'a9f74d1e'
    """
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class VectorCache:
    """Vectors of length `size` in the SQLite file at `path`, which is made when first written."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size

    def get(self, keys: Sequence[bytes]) -> dict[bytes, FloatArray]:
        """What is there of `keys`; damaged vectors are left out."""
        if not self.path.exists():
            return {}
        return self._try(lambda connection: self._read(connection, keys)) or {}

    def put(self, keys: Sequence[bytes], vectors: FloatArray) -> None:
        """Keep (n, size) vectors under `keys`; all of them or none. Notes when the disk refuses."""
        rows = [
            (key, zlib.crc32(raw), raw)
            for key, vector in zip(keys, vectors, strict=True)
            for raw in [np.ascontiguousarray(vector, "<f4").tobytes()]
        ]

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)

        self._try(write)

    def _read(self, connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, FloatArray]:
        found: dict[bytes, FloatArray] = {}
        for start in range(0, len(keys), _ASK):
            some = keys[start : start + _ASK]
            marks = ",".join("?" * len(some))
            query = f"SELECT key, sum, vector FROM vectors WHERE key IN ({marks})"
            for key, checksum, raw in connection.execute(query, some):
                if len(raw) == 4 * self.size and zlib.crc32(raw) == checksum:
                    found[key] = np.frombuffer(raw, "<f4")
        return found

    def _try(self, job: Callable[[sqlite3.Connection], T]) -> T | None:
        """Run `job`; begin a damaged file anew once; without a usable disk go on without the cache."""
        for _ in range(2):
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with closing(sqlite3.connect(self.path, timeout=_WAIT_S)) as connection:
                    connection.execute(_PAGES)
                    connection.execute(_SCHEMA)
                    return job(connection)
            except (sqlite3.OperationalError, OSError) as error:  # locked, full, read-only
                progress.note(f"the vector cache {self.path} cannot be used ({error}); going on without it")
                return None
            except sqlite3.DatabaseError as error:
                progress.note(f"the vector cache {self.path} was damaged ({error}) and is begun anew")
                self._put_aside()
        return None

    def _put_aside(self) -> None:
        os.replace(self.path, self.path.with_suffix(".damaged"))
