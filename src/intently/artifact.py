"""The folder a model is published as.

    <version>/
      manifest.json      SHA-256 of every other file, model name, data fingerprint, figures
      README.md          the model card
      items.parquet      row = dense id: item_id and the shop's columns
      users.parquet      row = dense id: user_id and the shop's columns
      model/             model.json, arrays.safetensors, one folder for each inner model
    live.json            which version answers, and which ones did before

A folder appears whole or not at all (written aside, synced, renamed). `load` refuses one in which any
file is missing, added or changed by a bit. There is no pickle anywhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from intently.data import Dataset, IdMap
from intently.errors import ArtifactError
from intently.models import Recommender, model_class

FORMAT = 1


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
    root.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".writing-", dir=root))
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
        (aside / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        for path in sorted(aside.rglob("*")):
            _sync(path)
        digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:8]
        final = root / f"{made:%Y%m%dT%H%M%S%f}-{digest}"
        aside.chmod(0o755)
        aside.rename(final)
        _sync(root)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
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
    """The manifest, after every file's SHA-256 was compared with it."""
    try:
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        expected: dict[str, str] = manifest["files"]
        version = manifest["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{folder.name} has no readable manifest.json", hint="train again") from error
    if version != FORMAT:
        raise ArtifactError(f"{folder.name} has format {version}, this release reads {FORMAT}")
    found = hashes(folder)
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            state = "missing" if name not in found else "changed" if name in expected else "not published"
            raise ArtifactError(
                f"{folder.name} is damaged: {name} is {state}",
                hint="roll back to an earlier version or train again",
            )
    return manifest


def promote(root: Path, version: str) -> None:
    """Make `version` the live one, atomically; the one before it is kept for `roll_back`."""
    if not (root / version / "manifest.json").exists():
        raise ArtifactError(f"no version {version!r} under {root.name}", hint=f"there are: {versions(root)}")
    try:
        before = _pointer(root)
    except ArtifactError:  # what was live before is lost; this version can answer all the same
        before = []
    _point(root, [version, *(v for v in before if v != version)])


def roll_back(root: Path) -> str:
    """Make the version that was live before this one live again, and return its name."""
    before = _pointer(root)
    earlier = [v for v in before[1:] if (root / v).is_dir()]
    if not earlier:
        raise ArtifactError("there is no earlier version to go back to")
    _point(root, earlier)
    return earlier[0]


def live(root: Path) -> Path | None:
    """The folder that answers now, None when nothing was promoted yet."""
    pointer = _pointer(root)
    return root / pointer[0] if pointer else None


def versions(root: Path) -> list[str]:
    """Published versions, oldest first."""
    return sorted(p.parent.name for p in root.glob("[!.]*/manifest.json"))


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 by relative path of every file but the manifest."""
    out = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if name != "manifest.json":
            with path.open("rb") as stream:
                out[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return out


def _pointer(root: Path) -> list[str]:
    try:
        return list(json.loads((root / "live.json").read_text(encoding="utf-8"))["versions"])
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError("live.json is damaged", hint="promote a version again") from error


def _point(root: Path, names: list[str]) -> None:
    aside = root / ".live.json"
    aside.write_text(json.dumps({"versions": names}), encoding="utf-8")
    _sync(aside)
    aside.replace(root / "live.json")
    _sync(root)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
