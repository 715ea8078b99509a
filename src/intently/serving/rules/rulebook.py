"""All rules of a shop in use: what holds for a scenario now, worked out again only when something changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from intently.serving.rules.book import Edition, RuleFile
from intently.serving.rules.filters import STEP_S
from intently.serving.rules.force import Force, force_of
from intently.serving.rules.rule import Rule


@dataclass(frozen=True, slots=True)
class _Known:
    """A force and as of what it was worked out."""

    edition: Edition
    frame: pl.DataFrame
    held: tuple[Rule, ...]
    from_s: float
    until_s: float
    force: Force | None


class RuleBook:
    """Opens rules.json in the shop's folder; asked by many threads at once."""

    def __init__(self, path: Path) -> None:
        self.file = RuleFile(path)
        self._known: dict[str, _Known] = {}

    def force(
        self, scenario: str, at_s: float, frame: Callable[[], pl.DataFrame], number: Callable[[str], int]
    ) -> Force | None:
        """What holds in lists of a scenario at a moment, None where nothing does.

        frame: gives the catalogue as it is now; called only where there are rules. number: an item's row.
        """
        edition = self.file.current()
        if not edition.rules:
            return None
        now = frame()
        known = self._known.get(scenario)
        if (
            known is None
            or known.edition is not edition
            or known.frame is not now
            or not (known.from_s <= at_s < known.until_s)
        ):
            known = self._known[scenario] = _worked_out(edition, scenario, at_s, now, number, known)
        return known.force

    def troubles(self) -> list[str]:
        """What is wrong with the file, and with rules in the lists that were asked for lately."""
        found = [self.file.trouble] if self.file.trouble else []
        forces = [known.force for known in list(self._known.values()) if known.force is not None]
        return found + sorted({trouble for force in forces for trouble in force.troubles})


def _worked_out(
    edition: Edition,
    scenario: str,
    at_s: float,
    frame: pl.DataFrame,
    number: Callable[[str], int],
    before: _Known | None,
) -> _Known:
    """Looked at once a minute and whenever a schedule turns; what did not change is taken over."""
    rules = [rule for rule in edition.rules if rule.concerns(scenario) and rule.enabled]
    held = tuple(rule for rule in rules if rule.holds(at_s))
    minute = at_s // STEP_S * STEP_S
    turns = [s for r in rules if r.schedule is not None for s in (r.schedule.start_s, r.schedule.end_s)]
    from_s = max([minute, *(s for s in turns if s <= at_s)])
    until_s = min([minute + STEP_S, *(s for s in turns if s > at_s)])
    if before is not None and before.frame is frame and before.held == held:
        force = before.force
    else:
        force = force_of(held, frame, number) if held else None
    return _Known(edition, frame, held, from_s, until_s, force)
