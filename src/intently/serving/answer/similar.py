"""What follows from one item."""

from __future__ import annotations

import time

import numpy as np

from intently.errors import UnknownIdError
from intently.serving.answer.draft import Draft
from intently.serving.answer.suggestions import suggestions
from intently.serving.shapes.answers import RecommendationRequest, Similar, SimilarQuery
from intently.serving.state.engine import Engine, stage


def similar(engine: Engine, asked: SimilarQuery) -> Similar:
    """Items that follow from one item; raises UnknownIdError for an item the live model has not seen."""
    began = time.perf_counter()
    view = engine.ask(None)
    standing = view.standing
    dense = standing.artifact.items.get(asked.item_id) if standing else -1
    if standing is None or dense < 0:
        known = engine.memory.items.get(asked.item_id) >= 0
        why = "the live model has not seen it yet; train again" if known else "ids are compared as text"
        raise UnknownIdError("no such item in the live model", hint=why, field="item_id")
    allowed = engine.catalogue.allowed()
    removed = int((~allowed[standing.number]).sum())
    ranked = standing.model.similar(dense, asked.n + removed)
    found = ranked.items[0] >= 0
    draft = Draft(view, RecommendationRequest.model_construct(), engine.scenarios["similar"], asked.n)
    draft.allowed = allowed
    draft.extend(standing.number[ranked.items[0][found]], ranked.scores[0][found].astype(np.float64), "model")
    draft.reorder(range(min(asked.n, len(draft))))
    return Similar(
        model_version=standing.artifact.version,
        stage=stage(standing),
        event=engine.event(standing),
        horizon_days=engine.horizon_days(standing),
        degraded=bool(engine.problems()),
        notes=engine.problems(),
        took_ms=round((time.perf_counter() - began) * 1e3, 3),
        item_id=asked.item_id,
        items=suggestions(engine, draft, [[] for _ in range(len(draft))]),
    )
