"""A newcomer's answers, taken in at once, and what to ask next."""

from __future__ import annotations

from typing import Final

from intently.errors import UnknownIdError
from intently.schema import EVENT_CODES
from intently.serving.shapes.onboarding import OnboardingAnswers, OnboardingQuery, Question, Questions
from intently.serving.state.engine import Engine
from intently.serving.state.guests import guest_id

WAIT_S: Final = 30.0
LIKED: Final = {"like": True, "dislike": False, "skip": None}


def answer(engine: Engine, asked: OnboardingAnswers) -> Questions:
    """Keep the answers, likes on disk, then ask on. Raises UnknownIdError for an item nobody knows."""
    number = engine.memory.items.get
    for said in asked.answers:
        if number(said.item_id) < 0:
            raise UnknownIdError(
                f"no item {said.item_id[:60]!r}", hint="answer what was asked", field="answers.item_id"
            )
    who = _who(asked)
    likes = [said.item_id for said in asked.answers if said.answer == "like"]
    if likes:
        now_s, click = engine.clock.now(), EVENT_CODES["click"]
        rows = [
            (who, item, click, now_s, None, None, None, asked.session_id, f"onboarding {who} {item}", None)
            for item in likes
        ]
        engine.ledger.submit(rows).result(WAIT_S)
    answers = {number(said.item_id): LIKED[said.answer] for said in asked.answers}
    engine.onboarding.note(who, answers)
    engine.company.answered(who, answers)
    return questions(engine, asked)


def questions(engine: Engine, asked: OnboardingQuery) -> Questions:
    """The items that tell the most about this user, by what is known of them."""
    view, catalogue = engine.ask(asked.user_id, asked.session_id), engine.catalogue
    who = _who(asked)
    chosen = engine.onboarding.questions(who, view.deeds, asked.n, catalogue.allowed()).tolist()
    items = [
        Question(engine.memory.items.ids[i], catalogue.title(i), catalogue.category(i), catalogue.price(i))
        for i in chosen
    ]
    return Questions(asked.user_id, asked.session_id, len(engine.onboarding.said(who)), items)


def _who(asked: OnboardingQuery) -> str:
    return asked.user_id if asked.user_id is not None else guest_id(asked.session_id or "")
