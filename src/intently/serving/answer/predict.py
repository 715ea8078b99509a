"""P(the event within the horizon) of user-item pairs, and the decision at the threshold."""

from __future__ import annotations

import time

import numpy as np

from intently.data import Histories
from intently.errors import UnknownIdError
from intently.serving.answer.reasons import finite, reasons_of
from intently.serving.shapes.answers import Pair, Prediction, Predictions, PredictRequest
from intently.serving.shapes.common import Why
from intently.serving.state.engine import Engine, stage, threshold
from intently.serving.state.model import Calibrated, Standing
from intently.serving.state.view import View

NO_PROBABILITY = "the live model gives an order, not probabilities"
UNKNOWN_ITEM = "unknown item: the live model has not seen it"
STRANGER = "unknown user: answered as a stranger"


def predict(engine: Engine, asked: PredictRequest) -> Predictions:
    """One prediction a pair, in order; raises UnknownIdError when the only pair's item is unknown."""
    began = time.perf_counter()
    standing = engine.live.current
    pairs = asked.pairs or [Pair(user_id=asked.user_id or "", item_id=asked.item_id or "")]
    if asked.pairs is None:
        _refuse_unknown(standing, pairs[0].item_id)
    calibrated = standing.calibrated if standing else None
    notes = engine.problems()
    if standing is None or calibrated is None:
        notes.append(NO_PROBABILITY)
        predictions = [_blank(pair, NO_PROBABILITY) for pair in pairs]
    else:
        predictions = _predictions(engine, standing, calibrated, pairs, asked.explain)
    return Predictions(
        model_version=standing.artifact.version if standing else "",
        stage=stage(standing),
        event=engine.event(standing),
        horizon_days=engine.horizon_days(standing),
        degraded=bool(notes),
        notes=notes,
        took_ms=round((time.perf_counter() - began) * 1e3, 3),
        threshold=threshold(standing),
        predictions=predictions,
    )


def _predictions(
    engine: Engine, standing: Standing, calibrated: Calibrated, pairs: list[Pair], explain: bool
) -> list[Prediction]:
    """Pairs grouped by user: the model sees each history once."""
    by_user: dict[str, list[int]] = {}
    for place, pair in enumerate(pairs):
        by_user.setdefault(pair.user_id, []).append(place)
    dense = [standing.artifact.items.get(pair.item_id) for pair in pairs]
    wanted = {user: [p for p in places if dense[p] >= 0] for user, places in by_user.items()}
    views = {user: engine.ask(user) for user, places in wanted.items() if places}
    asked = [[dense[p] for p in wanted[user]] for user in views]
    found = calibrated.probability(_batch(standing, list(views.values())), asked) if views else []
    out = {p: _blank(pair, UNKNOWN_ITEM) for p, pair in enumerate(pairs) if dense[p] < 0}
    at = threshold(standing)
    for (user, view), items, chances in zip(views.items(), asked, found, strict=True):
        why = reasons_of(standing, view, items) if explain else [[] for _ in items]
        for place, chance, reasons in zip(wanted[user], chances, why, strict=True):
            out[place] = _answer(engine, pairs[place], float(chance), at, reasons)
    return [out[place] for place in range(len(pairs))]


def _batch(standing: Standing, views: list[View]) -> Histories:
    parts = [view.history(standing) for view in views]
    return Histories(
        np.concatenate([[0], np.cumsum([len(part.items) for part in parts])]).astype(np.int64),
        np.concatenate([part.items for part in parts]),
        np.concatenate([part.time_s for part in parts]),
        np.concatenate([part.events for part in parts]),
        np.concatenate([part.users for part in parts]),
        np.concatenate([part.at_s for part in parts]),
    )


def _answer(engine: Engine, pair: Pair, chance: float, at: float, reasons: list[Why]) -> Prediction:
    note = STRANGER if engine.memory.users.get(pair.user_id) < 0 else ""
    return Prediction(pair.user_id, pair.item_id, finite(chance), chance >= at, reasons, note)


def _blank(pair: Pair, note: str) -> Prediction:
    return Prediction(pair.user_id, pair.item_id, None, None, [], note)


def _refuse_unknown(standing: Standing | None, item_id: str) -> None:
    if standing is not None and standing.artifact.items.get(item_id) < 0:
        raise UnknownIdError(
            "no such item in the live model",
            hint="ids are compared as text; a new item is known after the next training",
            field="item_id",
        )
