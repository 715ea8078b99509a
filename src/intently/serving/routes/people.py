"""Routes about users: who is there, and what they did."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from intently.serving.answer import people
from intently.serving.http.body import from_query
from intently.serving.http.openapi import takes_query
from intently.serving.service import Service, reply
from intently.serving.shapes import people as s

BODIES: Final[tuple[type[BaseModel], ...]] = ()


def routes(service: Service) -> APIRouter:
    """The page's chooser and its history."""
    router = APIRouter(prefix="/v1", tags=["people"])

    @router.get("/users", **takes_query(s.UserQuery, s.Users, scope="server"))
    async def find_users(request: Request) -> Response:
        """Users with events whose id holds the query."""
        return reply(await service.work(people.users, from_query(request, s.UserQuery)))

    @router.get("/users/{user_id:path}/history", **takes_query(s.HistoryQuery, s.History, scope="server"))
    async def user_history(request: Request) -> Response:
        """A user's latest events, newest first."""
        return reply(await service.work(people.history, from_query(request, s.HistoryQuery)))

    return router
