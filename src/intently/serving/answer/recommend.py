"""Lists of items: for a user, for a visit, for an item.

The model ranks; where it has too little to say (a stranger, no model yet, fewer items than asked), what
the shop's customers met lately fills the list, and `filled_by` and each item's `source` say so.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterable

import numpy as np

from intently.data import Histories
from intently.errors import UnknownIdError
from intently.schema import EVENT_CODES, EVENTS, FloatArray
from intently.serving.shapes.answers import (
    RecommendationRequest,
    Recommendations,
    Similar,
    SimilarQuery,
)
from intently.serving.shapes.common import Suggestion, Why
from intently.serving.state.engine import Asked, Engine, stage
from intently.serving.state.model import Standing

BY_MODEL = "model"
FOR_STRANGERS = "popular for strangers"
FILLED_UP = "model, then popular"
NO_MODEL = "popular, no model is live"
AFTER_FAILURE = "popular, the model failed"
FAILED = "the model failed on this request: popular items are answered; the log says why"
log = logging.getLogger("intently.serving")

_VERBS = {
    "purchase": "bought",
    "click": "clicked",
    "view": "viewed",
    "cart_add": "put in the cart",
    "rate": "rated",
    "comment": "commented on",
    "share": "shared",
}


def recommend(engine: Engine, asked: RecommendationRequest) -> Recommendations:
    """The next items of a user or a visit."""
    began = time.perf_counter()
    view = engine.ask(asked.user_id, asked.context_item_ids)
    standing = view.standing
    notes = engine.problems()
    if asked.user_id is not None and engine.memory.users.get(asked.user_id) < 0:
        notes.append("unknown user: answered as a stranger")
    if view.unknown:
        notes.append(f"{view.unknown} of context_item_ids are unknown and were left out")
    if standing is not None:
        notes += _unseen(view, standing)
    ranked = _ranked_if_possible(view, asked)
    if ranked is None:
        notes.append(FAILED)
    items = ranked or []
    items = items + _popular(engine, view, asked, items)
    return Recommendations(
        model_version=standing.artifact.version if standing else "",
        stage=stage(standing),
        event=engine.event(standing),
        horizon_days=engine.horizon_days(standing),
        degraded=bool(engine.problems()) or ranked is None,
        notes=notes,
        took_ms=round((time.perf_counter() - began) * 1e3, 3),
        recommendation_id=f"rec_{secrets.token_hex(8)}",
        user_id=asked.user_id,
        filled_by=_filled_by(view, ranked, len(items)),
        items=items,
    )


def similar(engine: Engine, asked: SimilarQuery) -> Similar:
    """Items that follow from one item; raises UnknownIdError for an item nobody has seen."""
    began = time.perf_counter()
    standing = engine.live.current
    dense = standing.artifact.items.get(asked.item_id) if standing else -1
    if standing is None or dense < 0:
        known = engine.memory.items.get(asked.item_id) >= 0
        why = "the live model has not seen it yet; train again" if known else "ids are compared as text"
        raise UnknownIdError(f"no item {asked.item_id[:60]!r} in the live model", hint=why, field="item_id")
    ranked = standing.model.similar(dense, asked.n)
    pairs = [(int(i), float(s)) for i, s in zip(ranked.items[0], ranked.scores[0], strict=True) if i >= 0]
    items = [
        Suggestion(
            item_id=standing.artifact.items[item],
            title=standing.titles[item],
            category=standing.categories[item],
            price=standing.prices[item],
            score=finite(score),
            probability=None,
            rank=rank,
            source=standing.model.name,
            reasons=[],
        )
        for rank, (item, score) in enumerate(pairs, 1)
    ]
    return Similar(
        model_version=standing.artifact.version,
        stage=stage(standing),
        event=engine.event(standing),
        horizon_days=engine.horizon_days(standing),
        degraded=bool(engine.problems()),
        notes=engine.problems(),
        took_ms=round((time.perf_counter() - began) * 1e3, 3),
        item_id=asked.item_id,
        items=items,
    )


def reasons_of(standing: Standing, view: Asked, items: list[int]) -> list[list[Why]]:
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


def _ranked_if_possible(view: Asked, asked: RecommendationRequest) -> list[Suggestion] | None:
    """The model's list, [] without a model, None when the model failed: a shop's page must not."""
    if view.standing is None:
        return []
    try:
        return _ranked(view.standing, view, asked)
    except Exception:
        log.exception("the model failed")
        return None


def _ranked(standing: Standing, view: Asked, asked: RecommendationRequest) -> list[Suggestion]:
    history = view.history(standing)
    barred = [i for i in (standing.artifact.items.get(name) for name in asked.exclude_ids) if i >= 0]
    ranked = standing.model.top_k(history, asked.n, exclude=[barred])
    items = [int(i) for i in ranked.items[0] if i >= 0]
    scores: FloatArray = ranked.scores[0]
    why: list[list[Why]] = [[] for _ in items]
    if asked.explain:
        why = reasons_of(standing, view, items)
    sure = standing.calibrated is not None
    return [
        Suggestion(
            item_id=standing.artifact.items[item],
            title=standing.titles[item],
            category=standing.categories[item],
            price=standing.prices[item],
            score=finite(scores[place]),
            probability=finite(scores[place]) if sure else None,
            rank=place + 1,
            source=standing.model.name,
            reasons=why[place],
        )
        for place, item in enumerate(items)
    ]


def _popular(
    engine: Engine, view: Asked, asked: RecommendationRequest, chosen: list[Suggestion]
) -> list[Suggestion]:
    """What fills the list up to n from the shop's popular items."""
    standing = view.standing
    out: list[Suggestion] = []
    taken = {item.item_id for item in chosen} | set(asked.exclude_ids)
    if len(chosen) >= asked.n:
        return []
    if standing is not None and not standing.model.repeats:
        taken |= {engine.memory.items.ids[number] for number in view.deeds.items.tolist()}
    for item_id in _popular_ids(engine, asked.n + len(taken)):
        if len(chosen) + len(out) >= asked.n:
            break
        if item_id in taken:
            continue
        title, category = standing.words(item_id) if standing else ("", "")
        out.append(
            Suggestion(
                item_id=item_id,
                title=title,
                category=category,
                price=standing.price(item_id) if standing else None,
                score=None,
                probability=None,
                rank=len(chosen) + len(out) + 1,
                source="popular",
                reasons=[Why("met most often in this shop lately", None, "popular_here")]
                if asked.explain
                else [],
            )
        )
    return out


def _popular_ids(engine: Engine, most: int) -> Iterable[str]:
    ids = engine.memory.items.ids
    return (ids[number] for number in engine.memory.popular[:most].tolist())


def _filled_by(view: Asked, ranked: list[Suggestion] | None, total: int) -> str:
    if view.standing is None:
        return NO_MODEL
    if ranked is None:
        return AFTER_FAILURE
    if not len(view.deeds.items):
        return FOR_STRANGERS
    return BY_MODEL if len(ranked) == total else FILLED_UP


def _unseen(view: Asked, standing: Standing) -> list[str]:
    unseen = int((standing.dense(view.deeds.items) < 0).sum())
    if not unseen:
        return []
    return [f"{unseen} of this history's events are on items the live model has not seen"]


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
