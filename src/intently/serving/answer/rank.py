"""The caller's own candidates, put in order for a user."""

from __future__ import annotations

import time

import numpy as np

from intently.schema import DoubleArray, IntArray
from intently.serving.answer.draft import Draft
from intently.serving.answer.recommend import Listed, told
from intently.serving.decisions.ids import new_id
from intently.serving.shapes.answers import RankRequest, RecommendationRequest, Recommendations
from intently.serving.state.engine import Engine
from intently.serving.state.scenarios import Scenario
from intently.serving.state.view import View

RANK = Scenario("rank")


def rank(engine: Engine, asked: RankRequest) -> Recommendations:
    """Every known item once, best first; those that the live model has never seen come last, as they were."""
    began = time.perf_counter()
    view = engine.ask(asked.user_id, asked.session_id, asked.context.item_ids, asked.context.cart)
    question = RecommendationRequest.model_construct(
        user_id=asked.user_id, session_id=asked.session_id, explain=asked.explain, fields=None
    )
    known = [engine.memory.items.get(name) for name in dict.fromkeys(asked.item_ids)]
    numbers = np.array([number for number in known if number >= 0], np.int32)
    draft = Draft(view, question, RANK, len(numbers))
    draft.allowed = np.ones(len(engine.memory.items), bool)
    scores = _scores(view, draft, numbers)
    order = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")
    draft.extend(numbers[order], scores[order], "caller")
    unknown = len(known) - len(numbers)
    if unknown:
        draft.notes.append(f"{unknown} items are unknown and were left out")
    unseen = int(np.isnan(scores).sum())
    if unseen and view.standing is not None:
        draft.notes.append(f"{unseen} items have no score and come last")
    return told(engine, Listed(draft, new_id()), began)


def _scores(view: View, draft: Draft, numbers: IntArray) -> DoubleArray:
    """Probabilities where the model gives them, else its scores; nan where it has none."""
    out = np.full(len(numbers), np.nan)
    standing = view.standing
    if standing is None or not len(numbers):
        return out
    dense = standing.dense(numbers)
    seen = np.flatnonzero(dense >= 0)
    history = view.history(standing)
    if standing.calibrated is not None:
        draft.calibrated = True
        out[seen] = standing.calibrated.probability(history, [dense[seen].tolist()])[0]
    else:
        out[seen] = standing.model.scores(history)[0][dense[seen]]
        out[np.isneginf(out)] = np.nan
    return out
