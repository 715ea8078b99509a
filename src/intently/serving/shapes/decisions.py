"""Why a list was answered, and why an item was not in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from intently.serving.shapes.answers import Arm
from intently.serving.shapes.common import Id, Request, Why


class DecisionQuery(Request):
    """An answer, and one item of which it is asked why it was not shown."""

    recommendation_id: str = Field(min_length=1, max_length=64, description="of an answer")
    item_id: Id | None = Field(None, description="why was this item shown, or not?")


@dataclass(frozen=True, slots=True)
class Evidence:
    """The check of an item's first reason: its score, and its score without what the reason names."""

    code: str
    score: float
    score_without: float


@dataclass(frozen=True, slots=True)
class Shown:
    """One item that was answered; `evidence` is null where no reason could be checked."""

    item_id: str
    title: str
    rank: int
    score: float | None
    source: str
    propensity: float
    reasons: list[Why]
    evidence: Evidence | None


@dataclass(frozen=True, slots=True)
class TakenOut:
    """What one stage took out: candidates that were on the way into the list, and items in all."""

    stage: str
    text: str
    candidates: int
    items: int | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one item.

    code: shown, ranked_below, not_a_candidate, unknown_item, or the stage that took it out: removed,
    excluded, cart, context, met, bought, served, filter, rule. `rank` counts from 1 among the candidates, or
    among all items the model ranks where it was no candidate.
    """

    item_id: str
    title: str
    code: str
    text: str
    stage: str
    rank: int | None
    score: float | None
    last_shown_score: float | None


@dataclass(frozen=True, slots=True)
class DecisionTold:
    """One answer and what stood behind it; `answered_at` is the machine's time, `as_of` the shop's."""

    recommendation_id: str
    answered_at: str
    as_of: str
    who: str
    scenario: str
    n: int
    filled_by: str
    experiment: Arm | None
    model: str
    model_version: str
    rules_version: int
    catalogue_version: int
    request: dict[str, Any]
    n_history: int
    n_candidates: int
    taken_out: list[TakenOut]
    items: list[Shown]
    verdict: Verdict | None
    notes: list[str]
