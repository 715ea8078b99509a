"""A finished draft, handed over to the decision log."""

from __future__ import annotations

from typing import Any

from intently.serving.answer.draft import SOURCES, Draft
from intently.serving.decisions.record import Decision
from intently.serving.state.engine import Engine
from intently.serving.state.served import Page


def keep(engine: Engine, draft: Draft, order: Page, name: str, start: int, by: str) -> None:
    """Everything that stood behind an answer, by reference: some microseconds.

    draft: cut to the page. order: all candidates, as they were before that. start: places before the page.
    """
    if not engine.decisions.on:
        return
    view, standing = draft.view, draft.view.standing
    model, edition = standing.model.name if standing is not None else "model", engine.rules.file.current()
    facts: dict[str, Any] = {
        "scenario": draft.scenario.name,
        "n": draft.n,
        "model": model if standing is not None else "",
        "model_version": standing.artifact.version if standing is not None else "",
        "rules_version": edition.version,
        "catalogue_version": engine.catalogue.version,
        "calibrated": draft.calibrated,
        "filled_by": by,
        "failed": draft.failed,
    }
    if draft.arm is not None:
        facts["experiment"] = draft.arm
        if draft.unit != view.who:
            facts["unit"] = draft.unit
    if draft.learned is not None:
        facts["learned"] = draft.learned
    engine.decisions.keep(
        Decision(
            id=name,
            who=view.who,
            at_s=view.at_s,
            row=engine.ledger.row,
            times=view.deeds.time_s,
            numbers=order.numbers,
            scores=order.scores,
            sources=order.sources,
            source_names=(model, *SOURCES[1:]),
            propensity=order.propensity,
            shown=len(draft),
            start=start,
            dropped=draft.dropped,
            bars=draft.bars,
            request=draft.request,
            facts=facts,
            rules=edition.rules,
        )
    )
