"""What a rule would do, before it does: the lists of the users who were here last, without it and with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from intently.errors import InputError
from intently.intervals import Interval, mean_interval
from intently.schema import DoubleArray, IntArray
from intently.serving.answer import recommend, rules
from intently.serving.answer.draft import Draft
from intently.serving.rules.filters import compile_filter
from intently.serving.rules.force import Force, force_of
from intently.serving.rules.moments import seconds_of
from intently.serving.rules.rule import Rule
from intently.serving.shapes.answers import RecommendationRequest
from intently.serving.shapes.rules import DryRun, DryRunRequest, Moved, Share
from intently.serving.state.engine import Engine
from intently.serving.state.scenarios import Scenario

NAMED: Final = 20
"""Items that are told by name: those that lose and those that gain most."""


def dry_run(engine: Engine, asked: DryRunRequest) -> DryRun:
    """Both lists of each user, compared. Raises InputError for an unknown scenario or moment, or no users."""
    scenario = recommend.scenario_of(engine, asked.scenario)
    at_s = _moment(engine, asked.at)
    users = engine.memory.latest(asked.users)
    if not users:
        raise InputError("nobody has done anything yet: there are no lists to compare", field="users")
    stored = engine.rules.file.current().rules
    rule = asked.rule if asked.rule.id else asked.rule.model_copy(update={"id": "dry-run"})
    known = next((one for one in stored if one.id == rule.id), None)
    changed = [rule if one is known else one for one in stored] + ([] if known else [rule])
    if known is not None and rules.told(known) == rules.told(
        rule.model_copy(update={"created_at": known.created_at})
    ):
        stored = tuple(one for one in stored if one is not known)  # what it does already
    frame, number = engine.catalogue.frame(), engine.memory.items.get

    def held(these: Sequence[Rule]) -> Force:
        now = [one for one in these if one.concerns(scenario.name) and one.holds(at_s)]
        return force_of(now, frame, number)

    n = asked.n or scenario.n
    before = _Lists(engine, users, scenario, n, held(stored))
    after = _Lists(engine, users, scenario, n, held(changed))
    lose, gain = _moved(engine, before, after)
    told = [one for one in rules.findings(engine, changed) if one.rule_id == rule.id]
    return DryRun(
        users=len(users),
        n=n,
        holds=rule.concerns(scenario.name) and rule.holds(at_s),
        lists_changed=_share(mean_interval(before.differ(after))),
        items_changed=sum(before.change(after)),
        value_before=before.value(),
        value_after=after.value(),
        value_change=_share(mean_interval(after.values - before.values)) if before.sure else None,
        coverage_before=before.coverage(engine),
        coverage_after=after.coverage(engine),
        filled_before=before.filled(n),
        filled_after=after.filled(n),
        taken_out=_taken_out(engine, rule),
        lose=lose,
        gain=gain,
        findings=told,
    )


class _Lists:
    """One list a user under one set of rules; asking changes nothing of what was served or seen."""

    def __init__(
        self, engine: Engine, users: Sequence[str], scenario: Scenario, n: int, force: Force
    ) -> None:
        self.numbers: list[IntArray] = []
        self.sure = True
        values = []
        for user_id in users:
            said = {"user_id": user_id, "scenario": scenario.name, "n": n}
            asked = RecommendationRequest.model_validate(said)
            draft = Draft(engine.ask(user_id), asked, scenario, n, force=force)
            recommend.make(engine, draft)
            draft.reorder(range(min(n, len(draft))))
            self.numbers.append(draft.numbers)
            self.sure &= draft.calibrated
            values.append(float(np.nansum(draft.scores)))
        self.values: DoubleArray = np.array(values)
        self.counts = Counter(number for numbers in self.numbers for number in numbers.tolist())

    def value(self) -> float | None:
        """Mean sum of a list's probabilities; an item that the model cannot judge counts nothing."""
        return round(float(self.values.mean()), 6) if self.sure else None

    def coverage(self, engine: Engine) -> float:
        """Share of the catalogue that is in any of the lists."""
        return round(len(self.counts) / max(1, int(engine.catalogue.allowed().sum())), 6)

    def filled(self, n: int) -> float:
        """Share of lists with all n items."""
        return float(np.mean([len(numbers) >= n for numbers in self.numbers]))

    def differ(self, other: _Lists) -> DoubleArray:
        """(users,) 1.0 where the list is not the same."""
        pairs = zip(self.numbers, other.numbers, strict=True)
        return np.array([float(not np.array_equal(one, two)) for one, two in pairs])

    def change(self, other: _Lists) -> list[int]:
        """How many items of each list are not in the other's."""
        pairs = zip(self.numbers, other.numbers, strict=True)
        return [len(np.setdiff1d(one, two)) for one, two in pairs]


def _moved(engine: Engine, before: _Lists, after: _Lists) -> tuple[list[Moved], list[Moved]]:
    """The items that lose and those that gain most, in lists."""
    shift = {
        number: after.counts[number] - before.counts[number]
        for number in before.counts.keys() | after.counts.keys()
    }
    ids, catalogue = engine.memory.items.ids, engine.catalogue

    def named(sign: int) -> list[Moved]:
        found = sorted((sign * -by, number) for number, by in shift.items() if sign * by > 0)
        return [
            Moved(ids[number], catalogue.title(number), before.counts[number], after.counts[number])
            for _, number in found[:NAMED]
        ]

    return named(-1), named(1)


def _taken_out(engine: Engine, rule: Rule) -> int | None:
    """Items that a filtering rule takes out for everyone; None where that differs by user or moment."""
    if rule.kind not in ("exclude", "include") or rule.filter is None:
        return 0
    made = compile_filter(rule.filter)
    if made.personal or made.timed:
        return None
    frame = engine.catalogue.frame()
    passes = int((made.mask(frame) & engine.catalogue.allowed()[: frame.height]).sum())
    return passes if rule.kind == "exclude" else int(engine.catalogue.allowed().sum()) - passes


def _moment(engine: Engine, text: str | None) -> float:
    if text is None:
        return engine.clock.now()
    found = seconds_of(text)
    if found is None:
        raise InputError("at is no moment", hint="write it like 2026-11-30T12:00:00Z", field="at")
    return found


def _share(interval: Interval) -> Share:
    return Share(round(interval.value, 6), round(interval.low, 6), round(interval.high, 6))
