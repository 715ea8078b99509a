"""Why an item is answered: the model's reasons, or what the history says of it."""

from __future__ import annotations

from typing import Final

import numpy as np

from intently.data import Histories
from intently.schema import EVENT_CODES, EVENTS
from intently.serving.shapes.common import Why
from intently.serving.state.model import Standing
from intently.serving.state.view import View

POPULAR_HERE: Final = Why("met most often in this shop lately", None, "popular_here")
PINNED: Final = Why("put here by the shop", None, "pinned")

_VERBS = {
    "purchase": "bought",
    "click": "clicked",
    "view": "viewed",
    "cart_add": "put in the cart",
    "rate": "rated",
    "comment": "commented on",
    "share": "shared",
}


def reasons_of(standing: Standing, view: View, items: list[int]) -> list[list[Why]]:
    """The model's reasons; for a model without any, what the history says of each item."""
    if not items:
        return []
    history = view.history(standing)
    calibrated = standing.calibrated
    if calibrated is not None:
        found = calibrated.reasons(history, items)
        return [[Why(r.text, finite(r.effect), r.code, r.values) for r in row] for row in found]
    met = _met(history)
    return [[met[item]] if item in met else [] for item in items]


def finite(value: float) -> float | None:
    """A number JSON can carry, to six digits."""
    return round(float(value), 6) if np.isfinite(value) else None


def _met(history: Histories) -> dict[int, Why]:
    """What one history says of each of its items, one part a kind of event.

    >>> _met(Histories.of([[7, 7]], at_s=86400.0 * 3))[7].text
    'bought 2 times, last yesterday'
    """
    found: dict[int, dict[int, list[float]]] = {}
    rows = zip(history.items.tolist(), history.events.tolist(), history.age_days.tolist(), strict=True)
    for item, event, age_days in rows:
        found.setdefault(item, {}).setdefault(event, []).append(age_days)
    return {item: _why(kinds) for item, kinds in found.items()}


def _why(kinds: dict[int, list[float]]) -> Why:
    """`kinds`: event code -> days since each, oldest first."""
    text = "; ".join(_words(event, ages) for event, ages in kinds.items())
    if list(kinds) == [EVENT_CODES["purchase"]]:
        ages = kinds[EVENT_CODES["purchase"]]
        return Why(text, None, "habit", {"times": len(ages), "last_days": round(ages[-1])})
    return Why(text, None, "met")


def _words(event: int, ages: list[float]) -> str:
    often = "once" if len(ages) == 1 else f"{len(ages)} times"
    days = round(ages[-1])
    ago = "today" if days < 1 else "yesterday" if days == 1 else f"{days} days ago"
    return f"{_VERBS.get(EVENTS[event], 'met')} {often}, last {ago}"
