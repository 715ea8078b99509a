"""The ladder: a list is always filled, and the answer says by whom."""

from __future__ import annotations

from typing import Final

import numpy as np

from intently.serving.answer.draft import CODE, Draft
from intently.serving.state.engine import Engine

BY_MODEL: Final = "model"
FOR_STRANGERS: Final = "popular for strangers"
FILLED_UP: Final = "model, then popular"
NO_MODEL: Final = "popular, no model is live"
AFTER_FAILURE: Final = "popular, the model failed"
CHUNK: Final = 1000


def fill(engine: Engine, draft: Draft) -> None:
    """Up to n: what the shop's customers met most lately, then the rest of the catalogue, newest first."""
    popular = engine.memory.popular
    for start in range(0, len(popular), CHUNK):
        if len(draft) >= draft.n:
            return
        part = popular[start : start + CHUNK]
        draft.extend(part, np.full(len(part), np.nan), "popular")
    if len(draft) < draft.n:
        rest = engine.catalogue.newest(draft.allowed, draft.n + len(draft))
        draft.extend(rest, np.full(len(rest), np.nan), "catalogue")


def filled_by(draft: Draft) -> str:
    """Who filled the first n, in words."""
    if draft.view.standing is None:
        return NO_MODEL
    if draft.failed:
        return AFTER_FAILURE
    if not len(draft.view.deeds.items) and draft.scenario.first == "model":
        return FOR_STRANGERS
    shown = set(draft.sources[: draft.n].tolist())
    behind = shown & {CODE["popular"], CODE["catalogue"]}
    if draft.scenario.first == "model":
        return FILLED_UP if behind else BY_MODEL
    parts = [draft.scenario.first] if CODE[draft.scenario.first] in shown else []
    parts += [BY_MODEL] if CODE["model"] in shown else []
    return ", then ".join(parts + (["popular"] if behind or not parts else []))
