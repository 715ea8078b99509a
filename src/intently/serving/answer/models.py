"""Published models: the list, and which of them answers."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from intently import artifact
from intently.errors import ArtifactError
from intently.serving.shapes.models import ModelLine, Models, Swapped, VersionQuery
from intently.serving.state.engine import Engine


def models(engine: Engine) -> Models:
    """Every published version, newest first."""
    standing = engine.live.current
    lines, trouble = listed(engine.settings.artifacts)
    return Models(standing.artifact.version if standing else "", trouble, lines)


def listed(root: Path) -> tuple[list[ModelLine], str]:
    """What the manifests under `root` say, newest first, and what is wrong with the pointer."""
    try:
        order, trouble = artifact.history(root), ""
    except ArtifactError as error:
        order, trouble = [], str(error)
    return [_line(root / version, order) for version in reversed(artifact.versions(root))], trouble


def promote(engine: Engine, asked: VersionQuery) -> Swapped:
    """Answer from a version from now on; raises UnknownIdError or ArtifactError, and changes nothing then."""
    began, before = time.perf_counter(), engine.live.current
    standing = engine.live.promote(asked.version)
    engine.company.swapped()
    return Swapped(
        standing.artifact.version,
        before.artifact.version if before else "",
        round((time.perf_counter() - began) * 1e3, 3),
    )


def roll_back(engine: Engine) -> Swapped:
    """Answer from the version before; raises ArtifactError without one."""
    began, before = time.perf_counter(), engine.live.current
    standing = engine.live.roll_back()
    engine.company.swapped()
    return Swapped(
        standing.artifact.version,
        before.artifact.version if before else "",
        round((time.perf_counter() - began) * 1e3, 3),
    )


def _line(folder: Path, order: list[str]) -> ModelLine:
    place = order.index(folder.name) if folder.name in order else -1
    try:
        said: dict[str, Any] = json.loads((folder / artifact.MANIFEST).read_bytes())
        figures = {name: round(float(value), 6) for name, value in said.get("metrics", {}).items()}
        trouble = ""
    except (OSError, ValueError, TypeError, AttributeError):
        said, figures, trouble = {}, {}, "its manifest cannot be read"
    return ModelLine(
        version=folder.name,
        live=place == 0,
        before=place if place > 0 else None,
        model=str(said.get("model", "")),
        stage=str(said.get("stage", "")),
        event=str(said.get("target", "")),
        horizon_days=said.get("horizon_days"),
        created_at=str(said.get("created_at", "")),
        n_events=said.get("n_events"),
        n_items=said.get("n_items"),
        metrics=figures,
        verdict=str(said.get("verdict", "")),
        trouble=trouble,
    )
