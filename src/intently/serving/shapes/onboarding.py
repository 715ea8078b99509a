"""A newcomer's questions and answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field
from pydantic import model_validator as check_model

from intently.serving.shapes.common import Id, Request

MAX_QUESTIONS = 20


class Said(Request):
    """What was said of one item."""

    item_id: Id
    answer: Literal["like", "dislike", "skip"]


class OnboardingQuery(Request):
    """Who is to be asked."""

    user_id: Id | None = None
    session_id: Id | None = None
    n: int = Field(3, ge=1, le=MAX_QUESTIONS, description="how many questions")

    @check_model(mode="after")
    def _somebody(self) -> OnboardingQuery:
        if self.user_id is None and self.session_id is None:
            raise ValueError("give user_id or session_id")
        return self


class OnboardingAnswers(OnboardingQuery):
    """Answers so far, in any number; likes are stored as clicks."""

    answers: list[Said] = Field(default_factory=list, max_length=MAX_QUESTIONS)


@dataclass(frozen=True, slots=True)
class Question:
    """An item to be asked for."""

    item_id: str
    title: str
    category: str
    price: float | None


@dataclass(frozen=True, slots=True)
class Questions:
    """What to ask next; `answered` counts what this user has answered, skips too. No items: ask no more."""

    user_id: str | None
    session_id: str | None
    answered: int
    items: list[Question]
