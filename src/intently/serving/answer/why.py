"""Why these items, and why not another one: answered from the decision log.

Reasons are made again by the version that answered, for the history as it was then, and the first one is
checked: without the evidence that it names the score must fall (models/evidence.py). A reason that does not
pass is not told.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from intently import artifact
from intently.data import Histories
from intently.errors import ArtifactError, UnknownIdError
from intently.models.evidence import score_of, score_without, strongest
from intently.serving.answer.fate import outcome, stages
from intently.serving.answer.reasons import PINNED, POPULAR_HERE, finite, reasons_of
from intently.serving.decisions.ids import moment_of
from intently.serving.decisions.record import Logged, checksum
from intently.serving.shapes.answers import Arm
from intently.serving.shapes.common import Why
from intently.serving.shapes.decisions import DecisionQuery, DecisionTold, Evidence, Shown
from intently.serving.state.clock import rfc3339
from intently.serving.state.deeds import Deeds, after, deeds
from intently.serving.state.engine import CLICK, Engine
from intently.serving.state.model import Standing
from intently.serving.state.view import View

MOST_EXPLAINED: Final = 100
CHANGED: Final = "what this user did before has changed since: the reasons cannot be made again"
FIXED: Final = {"popular": POPULAR_HERE, "pin": PINNED}


def why(engine: Engine, asked: DecisionQuery) -> DecisionTold:
    """What was answered and why; raises UnknownIdError for an answer that is not kept."""
    pages = found(engine, asked.recommendation_id)
    first, notes = pages[0], list[str]()
    ids = engine.decisions.reader.names(first.era)
    standing = standing_of(engine, first, notes)
    view = view_of(engine, first, standing) if standing is not None else None
    if standing is not None and view is None:
        notes.append(CHANGED)
    facts = first.facts
    return DecisionTold(
        recommendation_id=first.id,
        answered_at=rfc3339(moment_of(first.key)),
        as_of=rfc3339(first.at_s),
        who=first.who,
        scenario=facts.get("scenario", ""),
        n=facts.get("n", first.shown),
        filled_by=facts.get("filled_by", ""),
        experiment=Arm(**facts["experiment"]) if "experiment" in facts else None,
        model=facts.get("model", ""),
        model_version=facts.get("model_version", ""),
        rules_version=facts.get("rules_version", 0),
        catalogue_version=facts.get("catalogue_version", 0),
        request=first.request,
        n_history=first.n_history,
        n_candidates=len(first.numbers),
        taken_out=stages(first),
        items=_shown(engine, pages, ids, view),
        verdict=outcome(engine, pages, ids, asked.item_id, view) if asked.item_id is not None else None,
        notes=notes,
    )


def found(engine: Engine, name: str) -> list[Logged]:
    """The pages of an answer, the first one first; raises UnknownIdError."""
    pages = engine.decisions.find(name)
    if not pages or pages[0].start:
        days = engine.decisions.days
        raise UnknownIdError(
            "no decision of this id is kept",
            hint=f"recommendation_id of an answer; they are kept for {days:g} days (decisions_days)",
            field="recommendation_id",
        )
    return pages


def standing_of(engine: Engine, one: Logged, notes: list[str]) -> Standing | None:
    """The version that answered, loaded again where another one is live; None without it."""
    version, live = one.facts.get("model_version", ""), engine.live.current
    if not version:
        return None
    if live is not None and live.artifact.version == version:
        return live
    try:
        made = artifact.load(engine.settings.artifacts / version)
    except ArtifactError as error:
        notes.append(f"the model that answered cannot be asked again: {error.message}")
        return None
    return Standing(made, engine.memory.items)


def view_of(engine: Engine, one: Logged, standing: Standing) -> View | None:
    """What was known of the person then; None when their history is not what it was."""
    request = one.request
    now = engine.ask(request.get("user_id"), request.get("session_id"))
    met = [engine.memory.items.get(name) for name in request.get("context", {}).get("item_ids", ())]
    clicks = deeds([(item, one.at_s, CLICK) for item in met if item >= 0])
    done = now.deeds
    earlier = done.time_s <= one.at_s
    for kept in (earlier, np.ones(len(earlier), bool)):
        then = after(Deeds(done.items[kept], done.time_s[kept], done.events[kept]), clicks)
        if len(then.time_s) == one.n_history and checksum(then.time_s) == one.history:
            return View(standing, now.who, now.user, then, clicks.items, now.cart, one.at_s, 0)
    return None


def _shown(engine: Engine, pages: list[Logged], ids: list[str], view: View | None) -> list[Shown]:
    """Every item that was answered, with checked reasons where they can be made again."""
    out: list[Shown] = []
    for page in pages:
        for place in range(page.shown):
            name = ids[page.numbers[place]]
            number = engine.memory.items.get(name)
            source, score = page.sources[place], finite(page.scores[place])
            reasons, evidence = _told(view, number, source, score, len(out))
            out.append(
                Shown(
                    item_id=name,
                    title=engine.catalogue.title(number) if number >= 0 else "",
                    rank=page.start + place + 1,
                    score=score,
                    source=source,
                    propensity=round(float(page.propensity[place]), 6),
                    reasons=reasons,
                    evidence=evidence,
                )
            )
    return out


def _told(
    view: View | None, number: int, source: str, score: float | None, before: int
) -> tuple[list[Why], Evidence | None]:
    """Reasons of one item, the first one checked."""
    if source in FIXED:
        return [FIXED[source]], None
    if view is None or view.standing is None or number < 0 or score is None or before >= MOST_EXPLAINED:
        return [], None
    dense = int(view.standing.dense(np.array([number], np.int32))[0])
    return checked_reasons(view.standing, view, dense) if dense >= 0 else ([], None)


def checked_reasons(standing: Standing, view: View, item: int) -> tuple[list[Why], Evidence | None]:
    """The reasons of an item from the first one on that holds, and its check; ([], None) when none does."""
    history = view.history(standing)
    score = float(score_of(standing.model, history, item)[0])
    reasons = reasons_of(standing, view, [item])[0]
    for place, reason in enumerate(reasons):
        after_s = score_without(standing.model, history, item, reason.code)
        if after_s is not None and after_s < score:
            return reasons[place:], Evidence(reason.code, _finite(score), _finite(after_s))
    if standing.calibrated is not None:
        return [], None
    return _by_leaving_out(standing, history, item, score)


def _by_leaving_out(
    standing: Standing, history: Histories, item: int, score: float
) -> tuple[list[Why], Evidence | None]:
    """For a model that gives only an order: what of the history it goes by most."""
    most = strongest(standing.model, history, item)
    if most is None:
        return [], None
    other, left = most
    if other == item:
        return [Why("was met before", None, "met")], Evidence("met", _finite(score), _finite(left))
    made = standing.artifact
    titles = made.item_table["title"] if "title" in made.item_table.columns else None
    named = str(titles[other]) if titles is not None and titles[other] else made.items[other]
    return [Why(f"goes with {named}", None, "goes_with")], Evidence(
        "goes_with", _finite(score), _finite(left)
    )


def _finite(score: float) -> float:
    """A number JSON can carry: -inf, never to be recommended, becomes the lowest score."""
    return round(score, 6) if np.isfinite(score) else -1e9
