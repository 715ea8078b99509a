"""A shop's folder in one file, taken while the service runs, and the folder again from the file.

SQLite files are copied by SQLite itself (its online back-up: one consistent moment of each, whatever is
written meanwhile), all others as they are; the settings file comes along. The file is a plain tar whose last
member is a manifest with the size and the SHA-256 of every other. Restoring unpacks aside, compares all of
it, syncs, and only then gives the folder its name: a file that was damaged, cut short or added to is refused.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from intently import __version__, progress
from intently.errors import InputError, StoreError

MANIFEST: Final = "manifest.json"
SETTINGS: Final = "intently.toml"
LAYOUT: Final = 1
_SQLITE: Final = b"SQLite format 3\0"
_BESIDE: Final = ("-wal", "-shm", "-journal")
_MOST_MANIFEST: Final = 64 << 20
_CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class Copied:
    """What a back-up holds."""

    files: int
    bytes: int
    made_at: str


def back_up(home: Path, out: Path, settings: Path | None = None) -> Copied:
    """Write the shop in `home`, and the settings file, to `out`, which appears whole or not at all.

    Raises InputError when there is no shop or `out` exists, StoreError when something cannot be read or
    written.
    """
    if not (home / "store.db").is_file():
        raise InputError(f"no shop in {home}", hint="name its folder with --home")
    if out.exists():
        raise InputError(f"{out} exists already", hint="choose another name, or remove it first")
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    aside = out.with_name(f".{out.name}.{os.getpid()}")
    held: dict[str, dict[str, Any]] = {}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("xb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                _pack(tar, home, settings, held)
                facts = {"layout": LAYOUT, "version": __version__, "made_at": made_at, "files": held}
                _add_manifest(tar, facts)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(out)
        _sync(out.parent)
    except (OSError, sqlite3.Error, tarfile.TarError) as error:
        raise StoreError(f"the back-up could not be written: {error}") from error
    finally:
        aside.unlink(missing_ok=True)
    return Copied(len(held), sum(one["size"] for one in held.values()), made_at)


def restore(file: Path, home: Path) -> Copied:
    """Make the folder `home` from a back-up.

    Raises InputError when `home` exists and is not empty, or when the file is no back-up or not what its
    manifest says; nothing is then left behind.
    """
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise InputError(f"{home} is not empty", hint="restore into a new folder, then put it in its place")
    if not file.is_file():
        raise InputError(f"no file {file}")
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=f".{home.name}.") as scratch:
        aside = Path(scratch) / "home"
        aside.mkdir()
        try:
            facts = _unpack(file, aside)
        except (tarfile.TarError, ValueError, KeyError, TypeError, EOFError) as error:
            raise _damaged(file, str(error)) from error
        except OSError as error:
            raise StoreError(f"{file} could not be restored: {error}") from error
        for path in sorted(aside.rglob("*")):
            _sync(path)
        _sync(aside)
        if home.exists():
            home.rmdir()
        aside.rename(home)
        _sync(home.parent)
    held = facts["files"]
    return Copied(len(held), sum(one["size"] for one in held.values()), str(facts["made_at"]))


# -- writing --------------------------------------------------------------------------------------


def _pack(tar: tarfile.TarFile, home: Path, settings: Path | None, held: dict[str, Any]) -> None:
    found = list(_files(home))
    with progress.track("backing up", total=len(found)) as advance, tempfile.TemporaryDirectory() as scratch:
        for path in found:
            name = path.relative_to(home).as_posix()
            try:
                if _is_sqlite(path):
                    copy = _snapshot(path, Path(scratch) / "copy.db")
                    _add(tar, name, copy, held)
                    copy.unlink()
                else:
                    _add(tar, name, path, held)
            except FileNotFoundError:
                continue  # it went while we were at it: no part of the shop any more
            advance(1)
    if settings is not None and settings.is_file() and SETTINGS not in held:
        _add(tar, SETTINGS, settings, held)


def _files(home: Path) -> Iterator[Path]:
    """Every file; the pointer to the live model first, so that what it names is there when it is copied."""
    found = [
        path
        for path in sorted(home.rglob("*"))
        if path.is_file() and not path.is_symlink() and not _is_beside(path)
    ]
    yield from sorted(found, key=lambda path: path.name != "live.json")


def _is_beside(path: Path) -> bool:
    """Whether the file belongs to a SQLite file, whose copy already holds what it says."""
    return any(
        path.name.endswith(end) and path.with_name(path.name.removesuffix(end)).exists() for end in _BESIDE
    )


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _snapshot(path: Path, copy: Path) -> Path:
    """One moment of a SQLite file, as a file of its own without a log beside it."""
    source, target = sqlite3.connect(path, timeout=30.0), sqlite3.connect(copy)
    try:
        source.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")
    finally:
        source.close()
        target.close()
    return copy


def _add(tar: tarfile.TarFile, name: str, path: Path, held: dict[str, Any]) -> None:
    """One file, by the bytes that were hashed: it may change or grow while it is read."""
    data = path.read_bytes() if path.stat().st_size < _CHUNK else None
    with io.BytesIO(data) if data is not None else path.open("rb") as file:
        size = len(data) if data is not None else path.stat().st_size
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, path.stat().st_mode & 0o777
        reader = _Hashing(file)
        tar.addfile(info, reader)
    held[name] = {"size": size, "sha256": reader.hexdigest()}


class _Hashing:
    """Hands bytes on and hashes them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def read(self, n: int = -1) -> bytes:
        """As a file's."""
        data = self._file.read(n)
        self._hash.update(data)
        return data

    def hexdigest(self) -> str:
        """Of all that was read."""
        return self._hash.hexdigest()


def _add_manifest(tar: tarfile.TarFile, facts: dict[str, Any]) -> None:
    text = json.dumps(facts, ensure_ascii=False, sort_keys=True)
    sealed = json.dumps({"sha256": hashlib.sha256(text.encode()).hexdigest(), "facts": text}).encode()
    info = tarfile.TarInfo(MANIFEST)
    info.size = len(sealed)
    tar.addfile(info, io.BytesIO(sealed))


# -- reading --------------------------------------------------------------------------------------


def _unpack(file: Path, aside: Path) -> dict[str, Any]:
    """Files under `aside`, as the manifest says; raises InputError for anything else."""
    found: dict[str, dict[str, Any]] = {}
    facts: dict[str, Any] | None = None
    with tarfile.open(file, mode="r:") as tar, progress.track("restoring") as advance:
        for member in tar:
            if facts is not None:
                raise _damaged(file, "something stands behind its manifest")
            if not member.isreg() or not _is_plain(member.name):
                raise _damaged(file, "it holds what no back-up holds")
            reader = tar.extractfile(member)
            assert reader is not None
            if member.name == MANIFEST:
                facts = _unsealed(reader.read(_MOST_MANIFEST))
            else:
                found[member.name] = _write(reader, aside / member.name, member.mode)
            advance(1)
    if facts is None:
        raise _damaged(file, "its end is missing")
    if facts["layout"] != LAYOUT:
        hint = "use the Intently that wrote it"
        raise InputError(f"{file} has layout {facts['layout']}; this Intently reads {LAYOUT}", hint=hint)
    if found != facts["files"]:
        wrong = sorted(set(found) ^ set(facts["files"])) or sorted(
            name for name in found if found[name] != facts["files"][name]
        )
        raise _damaged(file, f"{wrong[0][:80]} is not what the manifest says")
    return facts


def _write(reader: IO[bytes], path: Path, mode: int) -> dict[str, Any]:
    path.parent.mkdir(parents=True, exist_ok=True)
    hashing = _Hashing(reader)
    with path.open("xb") as file:
        shutil.copyfileobj(hashing, file, _CHUNK)
        size = file.tell()
    path.chmod(mode | 0o600)
    return {"size": size, "sha256": hashing.hexdigest()}


def _is_plain(name: str) -> bool:
    """Whether the name stays inside the folder.

    >>> _is_plain("artifacts/live.json"), _is_plain("../x"), _is_plain("/etc/x")
    (True, False, False)
    """
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and "\\" not in name


def _unsealed(data: bytes) -> dict[str, Any]:
    sealed = json.loads(data)
    text = sealed["facts"]
    if hashlib.sha256(text.encode()).hexdigest() != sealed["sha256"]:
        raise ValueError("its manifest was changed")
    return dict(json.loads(text))


def _damaged(file: Path, why: str) -> InputError:
    return InputError(f"{file} is damaged, or no back-up of Intently: {why}", hint="take another copy of it")


def _sync(path: Path) -> None:
    """Onto the disk, a folder's names too."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
