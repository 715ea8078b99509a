"""What is asked and said about the shop's rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from intently.serving.rules.lint import Finding
from intently.serving.rules.rule import Rule
from intently.serving.shapes.common import Request, Short

MAX_USERS = 500
MAX_LINTED = 1000


class RuleQuery(Request):
    """One stored rule."""

    id: Short = Field(description="the rule's id")


class LintRequest(Request):
    """Rules to look at instead of those that are stored."""

    rules: list[Rule] | None = Field(None, max_length=MAX_LINTED, description="left out: the stored ones")


class DryRunRequest(Request):
    """A rule to be tried out beside those that are stored.

    A stored one of the same id is replaced by it; where that is the same rule, its lists are compared with
    those without it.
    """

    rule: Rule
    scenario: Short = Field("home", description="in lists of which scenario")
    users: int = Field(100, ge=1, le=MAX_USERS, description="how many users who were here last")
    n: int | None = Field(None, ge=1, le=50, description="items of a list; left out: the scenario's")
    at: str | None = Field(None, max_length=40, description="a moment, for schedules; left out: now")


@dataclass(frozen=True, slots=True)
class Stored:
    """A rule as it is stored now, and what lint says of it."""

    rule: dict[str, Any]
    version: int
    findings: list[Finding]


@dataclass(frozen=True, slots=True)
class Rules:
    """All stored rules; `holding` names those that are in force now, `troubles` what keeps others from it."""

    version: int
    rules: list[dict[str, Any]]
    holding: list[str]
    troubles: list[str]


@dataclass(frozen=True, slots=True)
class Linted:
    """What was found in how many rules."""

    n_rules: int
    findings: list[Finding]


@dataclass(frozen=True, slots=True)
class Moved:
    """An item, and in how many of the users' lists it was before and is after."""

    item_id: str
    title: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Share:
    """A mean over users and the range that holds it in 95 of 100 samples; null where it is not known."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class DryRun:
    """What the rule would do.

    lists_changed: share of lists with another item or another order. value: sum of the probabilities of a
    list, null where the model gives none; value_change: what a list loses or gains by it. coverage: share
    of the catalogue that is in any list. filled: share of lists that have all n items. taken_out: items of
    the catalogue that the rule's filter takes out for everyone, null where it asks about the user.
    """

    users: int
    n: int
    holds: bool
    lists_changed: Share
    items_changed: int
    value_before: float | None
    value_after: float | None
    value_change: Share | None
    coverage_before: float
    coverage_after: float
    filled_before: float
    filled_after: float
    taken_out: int | None
    lose: list[Moved]
    gain: list[Moved]
    findings: list[Finding]
