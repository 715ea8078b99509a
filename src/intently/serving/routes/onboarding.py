"""Routes for newcomers: what to ask them, and what they said."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from intently.serving.http.body import from_body, from_query
from intently.serving.http.openapi import takes_body, takes_query
from intently.serving.intake import onboarding
from intently.serving.service import Service, reply
from intently.serving.shapes import onboarding as s

BODIES: Final[tuple[type[BaseModel], ...]] = (s.OnboardingAnswers,)


def routes(service: Service) -> APIRouter:
    """A few questions that tell the most."""
    router = APIRouter(prefix="/v1", tags=["onboarding"])

    @router.get("/onboarding", **takes_query(s.OnboardingQuery, s.Questions, scope="server"))
    async def next_questions(request: Request) -> Response:
        """The items to ask a newcomer for."""
        return reply(await service.work(onboarding.questions, from_query(request, s.OnboardingQuery)))

    @router.post("/onboarding", **takes_body(s.OnboardingAnswers, s.Questions, scope="browser"))
    async def take_answers(request: Request) -> Response:
        """Take like, dislike or skip of some items, at once, and ask on."""
        asked = await from_body(request, s.OnboardingAnswers)
        return reply(await service.work(onboarding.answer, asked))

    return router
