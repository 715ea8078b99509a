"""What is wrong with a shop's data, and whether it is enough.

Each check looks at one thing and gives one `Finding`: how bad, a figure, and the rows that show it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

import polars as pl

from intently.data import doctor_checks as checks
from intently.data import doctor_shape as shape
from intently.data.doctor_finding import Evidence, Finding
from intently.schema import EVENTS, TARGETS
from intently.store import EventStore

SEVERITIES: Final = ("bad", "warning", "note", "good")

CHECKS: Final[tuple[Callable[[Evidence], Finding], ...]] = (
    checks.future,
    checks.ancient,
    checks.midnight,
    checks.gaps,
    checks.duplicates,
    checks.bots,
    checks.domination,
    shape.unknown_items,
    shape.dead_items,
    shape.missing_text,
    shape.without_effect,
    shape.returns,
    shape.enough,
)


def examine(store: EventStore, now_s: float) -> list[Finding]:
    """Every check's finding, worst first. now_s: the moment of asking, seconds since 1970."""
    return examine_tables(store.events(), store.items(), now_s)


def examine_tables(events: pl.DataFrame, items: pl.DataFrame, now_s: float) -> list[Finding]:
    """As examine, for tables with the columns of EventStore.events and EventStore.items."""
    if events.is_empty():
        return [Finding("events", "bad", 0.0, "there are no events: import some", [])]
    present = set(events["event"].unique().to_list())
    target = next((name for name in TARGETS if EVENTS.index(name) in present), EVENTS[min(present)])
    evidence = Evidence(events, items, target, now_s)
    findings = [check(evidence) for check in CHECKS]
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def as_dict(finding: Finding) -> dict[str, Any]:
    """A finding for JSON."""
    return asdict(finding)
