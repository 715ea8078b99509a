"""The shop's rules, kept: listed, added, changed, deleted, looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from intently.errors import InputError
from intently.serving.rules.book import Edition
from intently.serving.rules.kinds import Kind, kinds
from intently.serving.rules.lint import Finding, lint
from intently.serving.rules.rule import Rule
from intently.serving.shapes.rules import Linted, LintRequest, Rules, Stored
from intently.serving.state.clock import rfc3339
from intently.serving.state.engine import Engine

FIELDS: Final = {
    "filter": "filter",
    "column": "column",
    "unknown item": "item_id",
    "scenario": "scenarios",
}
"""Faults for which a rule is not stored, and the field that each is about."""


def listed(engine: Engine) -> Rules:
    """Every rule in the order in which they were made."""
    edition, now_s = engine.rules.file.current(), engine.clock.now()
    return Rules(
        version=edition.version,
        rules=[told(rule) for rule in edition.rules],
        holding=[rule.id for rule in edition.rules if rule.holds(now_s)],
        troubles=engine.rules.troubles(),
    )


def one(engine: Engine, rule_id: str) -> Stored:
    """One rule; raises UnknownIdError."""
    edition = engine.rules.file.current()
    return _stored(engine, edition.get(rule_id), edition)


def added(engine: Engine, rule: Rule) -> Stored:
    """Store a new rule. Raises InputError for one that this catalogue cannot carry, or a taken id."""
    _sound(engine, rule)
    made = engine.rules.file.add(rule, rfc3339(engine.clock.now()))
    return _stored(engine, made, engine.rules.file.current())


def replaced(engine: Engine, rule_id: str, rule: Rule) -> Stored:
    """Store a rule in place of the one of this id. Raises InputError as `added`, UnknownIdError."""
    engine.rules.file.current().get(rule_id)
    _sound(engine, rule)
    made = engine.rules.file.replace(rule_id, rule)
    return _stored(engine, made, engine.rules.file.current())


def removed(engine: Engine, rule_id: str) -> Stored:
    """Delete a rule and say what it was; raises UnknownIdError."""
    gone = engine.rules.file.remove(rule_id)
    return Stored(told(gone), engine.rules.file.current().version, [])


def linted(engine: Engine, asked: LintRequest) -> Linted:
    """What is wrong with these rules, or with the stored ones."""
    rules = engine.rules.file.current().rules if asked.rules is None else named(asked.rules)
    return Linted(len(rules), findings(engine, rules))


def findings(engine: Engine, rules: Sequence[Rule]) -> list[Finding]:
    """What lint says over this shop's catalogue, users and scenarios."""
    frame, number = engine.catalogue.frame(), engine.memory.items.get
    return lint(rules, frame, number, engine.clock.now(), attributes(engine), list(engine.scenarios))


def attributes(engine: Engine) -> dict[str, Kind] | None:
    """What the users' table has, None where no model is live that brings one."""
    standing = engine.live.current
    if standing is None:
        return None
    return kinds({k: v for k, v in standing.artifact.user_table.schema.items() if k != "user_id"})


def named(rules: Sequence[Rule]) -> list[Rule]:
    """Rules without an id get their place as one."""
    return [
        rule if rule.id else rule.model_copy(update={"id": f"rule-{place}"})
        for place, rule in enumerate(rules, 1)
    ]


def told(rule: Rule) -> dict[str, Any]:
    """A rule as JSON says it: what was left out stays out."""
    return rule.model_dump(exclude_defaults=True) | {"enabled": rule.enabled}


def _sound(engine: Engine, rule: Rule) -> None:
    (checked,) = named([rule.model_copy(update={"enabled": True})])
    for found in findings(engine, [checked]):
        if found.code in FIELDS:
            hint = "nothing was stored; POST /v1/rules:lint says all that is wrong"
            raise InputError(found.message, hint=hint, field=FIELDS[found.code])


def _stored(engine: Engine, rule: Rule, edition: Edition) -> Stored:
    said = [found for found in findings(engine, edition.rules) if found.rule_id == rule.id]
    return Stored(told(rule), edition.version, said)
