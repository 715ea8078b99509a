"""What must not be answered, decided before candidates are looked for."""

from __future__ import annotations

from typing import Final

import numpy as np

from intently.serving.answer.draft import Bar, Draft
from intently.serving.state.engine import Engine

HOUR_S: Final = 3600.0


def collect(engine: Engine, draft: Draft) -> None:
    """Removed items, the caller's exclusions, the cart, what was met, bought or shown too lately."""
    draft.allowed = engine.catalogue.allowed()
    if not np.logical_and.reduce(draft.allowed):
        draft.bars.append(Bar("removed", "was taken out of the shop", mask=~draft.allowed))
    view, scenario, request = draft.view, draft.scenario, draft.request
    if request.exclude_ids:
        known = [engine.memory.items.get(name) for name in request.exclude_ids]
        numbers = np.array([number for number in known if number >= 0], np.int32)
        draft.bar(Bar("excluded", "is in exclude_ids", numbers))
    if len(view.cart) and not scenario.in_cart:
        draft.bar(Bar("cart", "lies in the cart", view.cart))
    if len(view.deeds.items):
        _met(engine, draft)
    if len(view.visit) and scenario.first in ("similar", "together"):
        draft.bar(Bar("context", "is what was asked about", view.visit))
    hours = max(scenario.served_hours, request.unserved_minutes / 60.0)
    if hours > 0 and view.who:
        shown = engine.served.since(view.who, view.at_s - hours * HOUR_S)
        if len(shown):
            draft.bar(Bar("served", f"was shown within {hours:g} hours", shown))


def _met(engine: Engine, draft: Draft) -> None:
    """Items of the history: all where the model never repeats, the bought ones where the scenario says so."""
    view, bought = draft.view, draft.scenario.bought
    repeats = view.standing.model.repeats if view.standing is not None else True
    if bought is None and not repeats:
        draft.bar(Bar("met", "was met before", view.deeds.items))
    elif bought is False:
        draft.bar(Bar("bought", "was bought before", engine.memory.bought(view.deeds)))
