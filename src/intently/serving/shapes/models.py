"""What is said of published models."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from intently.serving.shapes.common import Request


class VersionQuery(Request):
    """One published version."""

    version: str = Field(min_length=1, max_length=128, pattern=r"^[\w.-]+$", description="a version's name")


class Confirmed(Request):
    """An empty object: a page of a stranger cannot send JSON."""


@dataclass(frozen=True, slots=True)
class ModelLine:
    """A published version.

    `live` answers now; `before` is its place among those that were live earlier, 1 for the one that a
    roll-back takes, null for the others. `trouble` says why a version cannot be listed in full.
    """

    version: str
    live: bool
    before: int | None
    model: str
    stage: str
    event: str
    horizon_days: float | None
    created_at: str
    n_events: int | None
    n_items: int | None
    metrics: dict[str, float]
    verdict: str
    trouble: str


@dataclass(frozen=True, slots=True)
class Models:
    """Every published version, newest first.

    `answering` is what the service answers from now, '' for none; `trouble` is set when which one is live
    cannot be read.
    """

    answering: str
    trouble: str
    models: list[ModelLine]


@dataclass(frozen=True, slots=True)
class Swapped:
    """What answers since this request, and what did before ('' for none)."""

    model_version: str
    before: str
    took_ms: float
