"""One or two places of a list for what is new, drawn with a chance that is logged."""

from __future__ import annotations

import numpy as np

from intently.schema import BoolArray, IntArray
from intently.serving.answer.draft import CODE, Draft
from intently.serving.answer.ruled import room
from intently.serving.online.bandit import KEEP, POOL
from intently.serving.state.engine import Engine
from intently.serving.state.model import Standing

LOOKED: int = 4 * POOL
"""Newest items among which those are looked for that the live model has never seen."""


def explore(engine: Engine, draft: Draft, seed: str) -> None:
    """Draw for the last places of the first page; a user's, as a stranger's outcome would not be known."""
    settings, view, standing = engine.settings, draft.view, draft.view.standing
    if not settings.explore_share or view.user < 0 or standing is None:
        return
    pinned = np.flatnonzero(draft.sources[: draft.n] == CODE["pin"])
    last = int(pinned[-1]) if len(pinned) else 0  # what is pinned keeps its place
    slots = min(settings.explore_slots, draft.n - 1 - last)
    named = draft.scenario.first == "model" and not (
        draft.request.context.query or draft.request.context.page
    )
    if slots < 1 or not named or len(draft) < draft.n:
        return
    pool = unseen(engine, standing, draft.allowed)
    head = draft.numbers[: draft.n - slots]
    free = draft.allowed[pool] & ~np.isin(pool, head) & room(draft, pool)
    for slot, drawn in enumerate(engine.online.explorer.draw(pool, free, seed, slots)):
        place = draft.n - slots + slot
        if drawn.item != KEEP:
            _put(draft, drawn.item, place)
        draft.propensity = draft.propensity.copy()
        draft.propensity[place] = drawn.propensity
        shown = view.user, drawn.item, int(draft.numbers[place]), view.at_s
        engine.online.explorer.shown(*shown)
        engine.company.explored(*shown)


def unseen(engine: Engine, standing: Standing, allowed: BoolArray) -> IntArray:
    """Items that came after the live model was trained, the newest first."""
    newest = engine.catalogue.newest(np.ones(len(allowed), bool), LOOKED)
    return newest[standing.dense(newest) < 0][:POOL]


def _put(draft: Draft, item: int, place: int) -> None:
    """The item to this place, from further down or from outside; what stood there moves down."""
    if item not in draft.numbers:
        draft.extend(np.array([item], np.int32), np.full(1, np.nan), "explore")
    at = int(np.flatnonzero(draft.numbers == item)[0])
    rest = np.delete(np.arange(len(draft)), at)
    draft.reorder(np.insert(rest, place, at))
    draft.sources[place] = CODE["explore"]
