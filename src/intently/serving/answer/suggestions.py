"""A page of a draft as the items of an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np

from intently.serving.answer.draft import SOURCES, Draft
from intently.serving.shapes.answers import Recommendations
from intently.serving.shapes.common import Suggestion, Why
from intently.serving.state.engine import Engine


def suggestions(engine: Engine, draft: Draft, why: Sequence[list[Why]], start: int = 0) -> list[Suggestion]:
    """One entry a candidate, ranked from start + 1."""
    ids = engine.memory.items.ids
    titles, categories, prices = engine.catalogue.told()
    standing = draft.view.standing
    names = (standing.model.name if standing is not None else "model", *SOURCES[1:])
    scores: list[float | None] = draft.scores.round(6).tolist()
    for place in np.flatnonzero(~np.isfinite(draft.scores)).tolist():
        scores[place] = None
    return [
        Suggestion(
            item_id=ids[number],
            title=titles[number],
            category=categories[number],
            price=prices[number],
            score=scores[place],
            probability=scores[place] if draft.calibrated else None,
            rank=start + place + 1,
            source=names[source],
            propensity=chance,
            reasons=why[place],
        )
        for place, (number, source, chance) in enumerate(
            zip(draft.numbers.tolist(), draft.sources.tolist(), draft.propensity.tolist(), strict=True)
        )
    ]


def trimmed(answer: Recommendations, wanted: Sequence[str] | None) -> Recommendations | dict[str, object]:
    """The answer with only these fields of each item; None: as it is."""
    if wanted is None:
        return answer
    told = {one.name: getattr(answer, one.name) for one in fields(answer)}
    return told | {"items": [{name: getattr(item, name) for name in wanted} for item in answer.items]}
