"""Who names the items of a list: the live model over the whole catalogue, or what the scenario puts first."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from intently.models.ranking import Ranked
from intently.schema import BoolArray, DoubleArray, FloatArray, IntArray
from intently.serving.answer.draft import CODE, Draft
from intently.serving.answer.judged import Judged
from intently.serving.state.deeds import Deeds
from intently.serving.state.engine import Engine
from intently.serving.state.view import View, one_history

POOL: Final = 300
"""Candidates that go into the later stages; pages and rules choose among them."""

LIFTED: Final = 100
"""More candidates among those that a boost moves up."""

log = logging.getLogger("intently.serving")


def gather(engine: Engine, draft: Draft) -> None:
    """Candidates best first: the scenario's own, then the model's. A model that fails is left out."""
    try:
        standing = draft.view.standing
        draft.calibrated = standing is not None and standing.calibrated is not None
        judged = judge(engine, draft.view)
        if judged is not None:
            judged.best(POOL)  # whatever is wrong with the model shows here
    except Exception:
        log.exception("the model failed")
        draft.failed, judged = True, None
    draft.judged = judged
    FIRST[draft.scenario.first](engine, draft, judged)
    _by_words(engine, draft, judged)
    if draft.scenario.fill or draft.scenario.first == "model":
        by_model(draft, judged)
        _newcomers(engine, draft, judged)


def judge(engine: Engine, view: View) -> Judged | None:
    """What the live model says to a view; None without one."""
    standing, readings = view.standing, engine.readings
    if standing is None:
        return None
    model = standing.stateful
    if model is not None:
        reading = readings.of(view, standing, model)

        def state() -> Any:
            return readings.state(reading, view, standing, model)

        def best(most: int) -> Ranked:
            return model.best(state(), most, repeats=True)

        return Judged(standing, lambda: model.scores_of(state()), reading, best)
    said = readings.said(view, standing)

    def ask() -> FloatArray:
        scores = said.scores
        if scores is None:
            scores = standing.model.scores(view.history(standing))[0]
            readings.keep(view, standing, said, scores)
        return scores

    calibrated = standing.calibrated
    if calibrated is None:
        return Judged(standing, ask, said)
    return Judged(
        standing, ask, said, chances=lambda items: calibrated.probability(view.history(standing), [items])[0]
    )


def by_model(draft: Draft, judged: Judged | None) -> None:
    """The best by the model, out of all that is allowed; what was barred on the way is noted."""
    if judged is None:
        return
    numbers, values = judged.best(POOL)
    ok = draft.allowed.take(numbers)
    if not np.logical_and.reduce(ok):
        draft.barred(numbers[~ok])
        few = ok.sum() < min(POOL, 3 * draft.n)
        if few and len(numbers) >= POOL:  # bars took most: look again among what they leave
            numbers, values = judged.best(POOL, draft.allowed)
    draft.extend(numbers, values, "model")
    raised = draft.force.lifted(draft.shopper) if draft.force is not None else None
    if raised is not None:
        _lift(draft, judged, raised)


def _lift(draft: Draft, judged: Judged, raised: BoolArray) -> None:
    """The best of what a boost moves up, however far behind the model puts it."""
    n = min(len(raised), len(draft.allowed))
    within = raised[:n] & draft.allowed[:n]
    within[draft.numbers] = False
    numbers = np.flatnonzero(within).astype(np.int32)
    values = judged.of(numbers)
    order = np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")[:LIFTED]
    known = order[np.isfinite(values[order])]
    draft.extend(numbers[known], values[known], "model")


def _newcomers(engine: Engine, draft: Draft, judged: Judged | None) -> None:
    """Items that the model has never seen, in among its own by the scores of what reads most alike."""
    if judged is None or draft.view.standing is None:
        return
    numbers, values = engine.newcomers.scores(draft.view.standing, judged, draft.allowed)
    if not len(numbers):
        return
    before = len(draft)
    draft.extend(numbers, values, "new")
    first = int(np.argmax(draft.sources == CODE["model"]))  # what the scenario put first stays there
    if first < before:
        moved = np.argsort(-draft.scores[first:], kind="stable") + first
        draft.reorder(np.concatenate([np.arange(first), moved]))


# -- what scenarios put first --------------------------------------------------------------------

First = Callable[[Engine, Draft, Judged | None], None]


def _model(_engine: Engine, _draft: Draft, _judged: Judged | None) -> None:
    """Nothing of its own: the model's list follows."""


def _similar(_engine: Engine, draft: Draft, _judged: Judged | None) -> None:
    """What the model names after the visit's items alone."""
    view = draft.view
    if view.standing is None or not len(view.visit):
        return
    n = len(view.visit)
    only = Deeds(view.visit, view.deeds.time_s[-n:], view.deeds.events[-n:])
    after = view.standing.model.scores(one_history(only, view.standing, view.asked_s))[0]
    numbers, values = Judged(view.standing, lambda: after).best(POOL, draft.allowed)
    draft.extend(numbers, values, "similar")


def _together(engine: Engine, draft: Draft, _judged: Judged | None) -> None:
    """What was bought in one basket with the visit's items and the cart."""
    wanted = np.union1d(draft.view.visit, draft.view.cart).astype(np.int32)
    numbers, values = engine.memory.baskets().together(wanted, POOL)
    draft.extend(numbers, values, "together")


def _own(engine: Engine, draft: Draft, judged: Judged | None) -> None:
    """What the user bought before, in the model's order; by how often where it has none."""
    bought = engine.memory.bought(draft.view.deeds)
    values = scored(bought, judged)
    done = draft.view.deeds
    times = np.array([(done.items == item).sum() for item in bought.tolist()], np.float64)
    order = np.lexsort((-times, -np.where(np.isfinite(values), values, -np.inf)))
    draft.extend(bought[order], values[order], "own")


def _trending(engine: Engine, draft: Draft, judged: Judged | None) -> None:
    """What the shop's customers meet lately."""
    numbers = engine.memory.popular[: 4 * POOL]
    numbers = numbers[draft.allowed[numbers]][:POOL]
    draft.extend(numbers, scored(numbers, judged), "trending")


def _new(engine: Engine, draft: Draft, judged: Judged | None) -> None:
    """What came into the catalogue last."""
    numbers = engine.catalogue.newest(draft.allowed, POOL)
    draft.extend(numbers, scored(numbers, judged), "new")


def _welcome(engine: Engine, draft: Draft, judged: Judged | None) -> None:
    """For newcomers: something of everything that most like; after some answers, what fits those."""
    numbers = engine.onboarding.page(draft.view.who, draft.view.deeds, draft.allowed)
    draft.extend(numbers, scored(numbers, judged), "welcome")


FIRST: Final[dict[str, First]] = {
    "model": _model,
    "similar": _similar,
    "together": _together,
    "own": _own,
    "trending": _trending,
    "new": _new,
    "welcome": _welcome,
}


def _by_words(engine: Engine, draft: Draft, judged: Judged | None) -> None:
    """Items that the visit's search or page is about, in the model's order where it has one."""
    context = draft.request.context
    for source, text in (("query", context.query), ("page", context.page)):
        if text:
            numbers = engine.catalogue.about(text, source == "page")
            numbers = numbers[draft.allowed[numbers]]
            values = scored(numbers, judged)
            order = np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")[:POOL]
            draft.extend(numbers[order], values[order], source)


def scored(numbers: IntArray, judged: Judged | None) -> DoubleArray:
    """The model's scores of these, nan where it has none."""
    return np.full(len(numbers), np.nan) if judged is None else judged.of(numbers)
