"""The folder a model is published as.

    <version>/
      manifest.json      SHA-256 of every other file, model name, data fingerprint, figures
      manifest.sha256    SHA-256 of manifest.json
      README.md          the model card
      items.parquet      row = dense id: item_id and the shop's columns
      users.parquet      row = dense id: user_id and the shop's columns
      model/             model.json, arrays.safetensors, one folder for each inner model
    live.json            which version answers, and which ones did before

A folder appears whole or not at all (written aside, synced, renamed). `load` refuses one in which any
file is missing, added or changed by a bit. What a killed publication left aside is swept by the next one.
The pointer is replaced as a whole, by one process at a time. There is no pickle anywhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from intently.data import Dataset, IdMap
from intently.errors import ArtifactError
from intently.models import Recommender, model_class

try:
    import fcntl
except ImportError:  # no such locks on Windows
    fcntl = None  # type: ignore[assignment]

FORMAT: Final = 2
UNSEALED: Final = 1
"""The format of earlier releases, whose manifest has no hash of its own."""
MANIFEST, SEAL = "manifest.json", "manifest.sha256"
_ASIDE: Final = ".writing-"


@dataclass(frozen=True)
class Artifact:
    """A published model with the ids and texts it answers in."""

    folder: Path
    manifest: dict[str, Any]
    model: Recommender
    items: IdMap
    users: IdMap
    item_table: pl.DataFrame
    user_table: pl.DataFrame

    @property
    def version(self) -> str:
        """The folder's name."""
        return self.folder.name


def publish(root: Path, model: Recommender, dataset: Dataset, facts: dict[str, Any], card: str) -> Path:
    """Write `model` under `root` as a new version and return its folder; `promote` makes it live.

    facts: what the manifest says besides hashes (stage, target, horizon_days, threshold, metrics,
    ...); must be JSON.
    """
    aside, handle = _begin(root)
    try:
        model.save(aside / "model")
        dataset.item_table.write_parquet(aside / "items.parquet")
        dataset.user_table.write_parquet(aside / "users.parquet")
        (aside / "README.md").write_text(card, encoding="utf-8")
        files = hashes(aside)
        made = datetime.now(UTC)
        manifest = {
            "format": FORMAT,
            "model": model.name,
            "created_at": made.isoformat(timespec="seconds"),
            "fingerprint": dataset.fingerprint,
            "n_users": dataset.n_users,
            "n_items": dataset.n_items,
            "n_events": dataset.n_events,
            "end_s": dataset.end_s,
            **facts,
            "files": files,
        }
        said = json.dumps(manifest, indent=1).encode()
        (aside / MANIFEST).write_bytes(said)
        (aside / SEAL).write_text(hashlib.sha256(said).hexdigest(), encoding="ascii")
        for path in (*sorted(aside.rglob("*")), aside):
            _sync(path)
        digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:8]
        final = root / f"{made:%Y%m%dT%H%M%S%f}-{digest}"
        aside.chmod(0o755)
        aside.rename(final)
        _sync(root)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    finally:
        os.close(handle)
    return final


def load(folder: Path) -> Artifact:
    """The artifact in `folder`; raises ArtifactError naming the first file that is not as published."""
    manifest = verify(folder)
    item_table = pl.read_parquet(folder / "items.parquet")
    user_table = pl.read_parquet(folder / "users.parquet")
    return Artifact(
        folder,
        manifest,
        model_class(manifest["model"]).load(folder / "model"),
        IdMap(item_table["item_id"].to_list()),
        IdMap(user_table["user_id"].to_list()),
        item_table,
        user_table,
    )


def verify(folder: Path) -> dict[str, Any]:
    """The manifest, after its own and every file's SHA-256 were compared with what was published."""
    try:
        said = (folder / MANIFEST).read_bytes()
        manifest: dict[str, Any] = json.loads(said)
        expected: dict[str, str] = manifest["files"]
        version = manifest["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{folder.name} has no readable manifest.json", hint="train again") from error
    if version not in (FORMAT, UNSEALED):
        raise ArtifactError(f"{folder.name} has format {version}, this release reads {FORMAT}")
    if version != UNSEALED and hashlib.sha256(said).hexdigest().encode() != _seal(folder):
        raise _damaged(folder, MANIFEST, "changed")
    found = hashes(folder)
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            state = "missing" if name not in found else "changed" if name in expected else "not published"
            raise _damaged(folder, name, state)
    return manifest


def promote(root: Path, version: str) -> None:
    """Make `version` the live one, atomically; the one before it is kept for `roll_back`."""
    if version not in versions(root):
        raise ArtifactError(f"no version {version!r} under {root.name}", hint=f"there are: {versions(root)}")
    with _alone(root):
        try:
            before = history(root)
        except ArtifactError:  # what was live before is lost; this version can answer all the same
            before = []
        _point(root, [version, *(v for v in before if v != version)])


def roll_back(root: Path, to: str = "") -> str:
    """Make the latest earlier live version that is whole live again, and return its name.

    to: the earlier version, when the caller has checked it already.
    """
    before = history(root)
    if len(before) < 2:
        raise ArtifactError("there is no earlier version to go back to")
    with _alone(root):
        before = history(root)
        for place, version in enumerate(before[1:], 1):
            if version == to or (not to and _whole(root / version)):
                _point(root, before[place:])
                return version
    raise ArtifactError("there is no earlier version to go back to that is whole", hint="train again")


def live(root: Path) -> Path | None:
    """The folder that answers now, None when nothing was promoted yet."""
    named = history(root)
    return root / named[0] if named else None


def history(root: Path) -> list[str]:
    """The live version, then those that were live before it; [] when nothing was promoted yet."""
    try:
        return list(json.loads((root / "live.json").read_text(encoding="utf-8"))["versions"])
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError("live.json is damaged", hint="promote a version again") from error


def versions(root: Path) -> list[str]:
    """Published versions, oldest first."""
    return sorted(p.parent.name for p in root.glob("[!.]*/manifest.json"))


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 by relative path of every file but the manifest and its seal."""
    out = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if name not in (MANIFEST, SEAL):
            with path.open("rb") as stream:
                out[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return out


def _whole(folder: Path) -> bool:
    try:
        verify(folder)
    except ArtifactError:  # removed, or damaged since
        return False
    return True


def _seal(folder: Path) -> bytes:
    try:
        return (folder / SEAL).read_bytes()
    except OSError as error:
        raise _damaged(folder, SEAL, "missing") from error


def _damaged(folder: Path, name: str, state: str) -> ArtifactError:
    return ArtifactError(
        f"{folder.name} is damaged: {name} is {state}",
        hint="roll back to an earlier version or train again",
    )


def _point(root: Path, names: list[str]) -> None:
    aside = root / ".live.json"
    aside.write_text(json.dumps({"versions": names}), encoding="utf-8")
    _sync(aside)
    aside.replace(root / "live.json")
    _sync(root)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else holds `folder` meanwhile; the lock ends with its process, however that ends."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _begin(root: Path) -> tuple[Path, int]:
    """An empty folder aside and the handle that locks it, after what dead publications left was removed."""
    root.mkdir(parents=True, exist_ok=True)
    with _alone(root):
        for left in root.glob(f"{_ASIDE}*"):
            if _abandoned(left):
                shutil.rmtree(left, ignore_errors=True)
        aside = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=root))
        handle = os.open(aside, os.O_RDONLY)
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX)
    return aside, handle


def _abandoned(aside: Path) -> bool:
    """Whether no process holds the folder any more; where that cannot be asked, none is taken for one."""
    handle = os.open(aside, os.O_RDONLY)
    try:
        if fcntl is None:
            return False
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
