"""A list of items, stage by stage.

    bars -> filters -> candidates -> learned -> boosts
    -> fatigue -> fill -> diversity -> caps and pins -> explored -> page -> suggestions

What must not be answered is decided first, so that the list can be filled behind it; the model ranks; where
it has too little to say, `filled_by` and each item's `source` say who did.
"""

from __future__ import annotations

import difflib
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from intently.errors import InputError
from intently.serving.answer import bars, candidates, diversity, explored, learned, ruled
from intently.serving.answer.draft import CODE, Draft
from intently.serving.answer.fill import fill, filled_by
from intently.serving.answer.kept import keep
from intently.serving.answer.reasons import PINNED, POPULAR_HERE, reasons_of
from intently.serving.answer.suggestions import suggestions
from intently.serving.decisions.ids import new_id
from intently.serving.shapes.answers import RecommendationRequest, Recommendations
from intently.serving.shapes.common import Why
from intently.serving.state.engine import Engine, stage
from intently.serving.state.scenarios import Scenario
from intently.serving.state.served import Page
from intently.serving.state.view import View

FAILED = "the model failed on this request: popular items are answered; the log says why"
DAY_S = 86_400.0


@dataclass(slots=True)
class Listed:
    """A page of a list before it is worded.

    draft: cut to the page. name: the answer's id. start: places before the page. by: who filled it.
    """

    draft: Draft
    name: str
    start: int = 0
    cursor: str | None = None
    by: str = "caller"


def recommend(engine: Engine, asked: RecommendationRequest) -> Recommendations:
    """The next items of a user or a visit. Raises InputError for an unknown scenario or a strange cursor."""
    began = time.perf_counter()
    made = listed(engine, asked)
    answer = told(engine, made, began)
    took(engine, made, time.perf_counter() - began)
    return answer


def listed(engine: Engine, asked: RecommendationRequest) -> Listed:
    """Every stage, and what has to be remembered of the answer: shown, kept for its next page, logged."""
    usual = scenario_of(engine, asked.scenario)
    context = asked.context
    view = engine.ask(asked.user_id, asked.session_id, context.item_ids, context.cart)
    name, start = new_id(), 0
    if asked.cursor is None:
        draft = drafted(engine, view, asked, usual)
        make(engine, draft)
        explored.explore(engine, draft, name)
    else:
        name, page, start = engine.pages.at(asked.cursor, view.who, view.at_s)
        scenario = engine.experiments.under(usual, page.arm)
        draft = Draft(view, asked, scenario, asked.n or scenario.n, page.arm, view.who)
        take_up(draft, page, start)
    if draft.arm is not None:
        engine.experiments.count(draft.arm)
    total = len(draft)
    order = Page(view.who, view.at_s, draft.numbers, draft.scores, draft.sources, draft.propensity, draft.arm)
    if asked.cursor is None and total > draft.n:
        engine.pages.keep(name, order)
        engine.company.kept(name, order)
    draft.cut(draft.n)
    if view.who:
        engine.served.note(view.who, draft.numbers, view.at_s)
        engine.company.served(view.who, draft.numbers, view.at_s)
    draft.notes += _about(engine, asked, view) + ([FAILED] if draft.failed else [])
    cursor = engine.pages.cursor(name, start + draft.n) if total > draft.n else None
    by = filled_by(draft)
    keep(engine, draft, order, name, start, by)
    return Listed(draft, name, start, cursor, by)


def drafted(engine: Engine, view: View, asked: RecommendationRequest, usual: Scenario) -> Draft:
    """An empty draft of a new list, with the settings of the arm that who asks is in."""
    experiments = engine.experiments
    if not experiments.all:
        return Draft(view, asked, usual, asked.n or usual.n)
    unit = engine.unit(view)
    arm = experiments.of(usual.name, unit, view.at_s)
    scenario = experiments.under(usual, arm)
    return Draft(view, asked, scenario, asked.n or scenario.n, arm, unit)


def told(engine: Engine, made: Listed, began: float) -> Recommendations:
    """The page as an answer; `began` is when it was asked for, by time.perf_counter()."""
    said = facts(engine, made)
    said["items"] = suggestions(engine, made.draft, explained(made.draft), made.start)
    said["took_ms"] = round((time.perf_counter() - began) * 1e3, 3)
    return Recommendations(**said)


def took(engine: Engine, made: Listed, seconds: float) -> None:
    """How long a list took, and whether the model had to be asked for it."""
    judged = made.draft.judged
    engine.pace.took(made.draft.view.standing, seconds, judged is not None and judged.anew)


def facts(engine: Engine, made: Listed) -> dict[str, Any]:
    """The fields of an answer in their order; `items` and `took_ms` are not known yet."""
    draft = made.draft
    standing, asked, problems = draft.view.standing, draft.request, engine.problems()
    return {
        "model_version": standing.artifact.version if standing else "",
        "stage": stage(standing),
        "event": engine.event(standing),
        "horizon_days": engine.horizon_days(standing),
        "degraded": bool(problems) or draft.failed,
        "notes": problems + draft.notes,
        "took_ms": 0.0,
        "recommendation_id": made.name,
        "scenario": draft.scenario.name,
        "user_id": asked.user_id,
        "session_id": asked.session_id,
        "filled_by": made.by,
        "experiment": draft.arm,
        "next_cursor": made.cursor,
        "items": [],
    }


def make(engine: Engine, draft: Draft) -> None:
    """Every stage, in order."""
    bars.collect(engine, draft)
    ruled.sift(engine, draft)
    candidates.gather(engine, draft)
    learned.adjust(engine, draft)
    ruled.boost(draft)
    tire(engine, draft)
    fill(engine, draft)
    diversity.spread(engine, draft)
    ruled.settle(engine, draft)


def tire(engine: Engine, draft: Draft) -> None:
    """Fatigue: each showing within a day takes its share off an item's place in the order.

    The told score stays what the model says: only the order moves.
    """
    share, view = draft.scenario.fatigue, draft.view
    if not share or not view.who or not len(draft):
        return
    shown, times = np.unique(engine.served.since(view.who, view.at_s - DAY_S), return_counts=True)
    if not len(shown):
        return
    at = np.minimum(np.searchsorted(shown, draft.numbers), len(shown) - 1)
    seen = np.where(shown[at] == draft.numbers, times[at], 0)
    place = np.arange(len(draft), dtype=np.float64)  # scores may be of any sign: the place is what is moved
    draft.reorder(np.argsort((place + 1.0) / (1.0 - min(share, 0.99)) ** seen, kind="stable"))


def take_up(draft: Draft, page: Page, start: int) -> None:
    """Go on in an order that was made before: events that came since do not move it."""
    rest = slice(start, None)
    draft.numbers, draft.scores = page.numbers[rest], page.scores[rest]
    draft.sources, draft.propensity = page.sources[rest], page.propensity[rest]
    standing = draft.view.standing
    draft.calibrated = standing is not None and standing.calibrated is not None


def scenario_of(engine: Engine, name: str) -> Scenario:
    """The scenario of this name; raises InputError."""
    found = engine.scenarios.get(name)
    if found is None:
        near = difflib.get_close_matches(name[:40], engine.scenarios, n=1)
        allowed = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(engine.scenarios)}"
        raise InputError("no scenario of this name", hint=allowed, field="scenario")
    return found


def _about(engine: Engine, asked: RecommendationRequest, view: View) -> list[str]:
    """What the caller should know of the question."""
    notes = []
    if asked.user_id is not None and view.user < 0:
        notes.append("unknown user: answered as a stranger")
    if view.unknown:
        notes.append(f"{view.unknown} items of the context are unknown and were left out")
    if view.standing is not None:
        unseen = view.standing.unseen(view.deeds.items)
        if unseen:
            notes.append(f"{unseen} of this history's events are on items the live model has not seen")
    return notes


def explained(draft: Draft) -> list[list[Why]]:
    """Reasons of each item of the page, [] where they were not asked for."""
    out: list[list[Why]] = [[] for _ in range(len(draft))]
    standing = draft.view.standing
    if not draft.request.explain:
        return out
    dense = standing.dense(draft.numbers) if standing is not None else np.full(len(draft), -1, np.int32)
    judged = np.flatnonzero((dense >= 0) & np.isfinite(draft.scores)).tolist()
    if standing is not None and judged:
        found = reasons_of(standing, draft.view, [int(dense[place]) for place in judged])
        for place, row in zip(judged, found, strict=True):
            out[place] = row
    for place in np.flatnonzero(draft.sources == CODE["popular"]).tolist():
        out[place] = [POPULAR_HERE]
    for place in np.flatnonzero(draft.sources == CODE["pin"]).tolist():
        out[place] = [PINNED, *out[place]]
    return out
