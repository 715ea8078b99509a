"""Routes about published models: which there are, and which of them answers.

A swap loads and checks the version in a thread of its own, so that answers go on meanwhile; it takes an
empty JSON object, which a form of a stranger's page cannot send.
"""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from intently.serving.answer import models
from intently.serving.http.body import from_body, from_query
from intently.serving.http.openapi import takes_body, takes_query
from intently.serving.service import Service, reply
from intently.serving.shapes import models as s

BODIES: Final[tuple[type[BaseModel], ...]] = (s.Confirmed,)


def routes(service: Service) -> APIRouter:
    """The list, promote, roll back."""
    router = APIRouter(prefix="/v1", tags=["models"])
    promoted, gone_back = takes_body(s.Confirmed, s.Swapped), takes_body(s.Confirmed, s.Swapped)
    promoted["openapi_extra"] |= takes_query(s.VersionQuery, s.Swapped)["openapi_extra"]

    @router.get("/models", response_model=s.Models)
    async def list_models() -> Response:
        """Every published version with its figures, newest first, and which one is live."""
        return reply(await asyncio.to_thread(models.models, service.engine))

    @router.post("/models/{version}:promote", **promoted)
    async def promote_model(request: Request) -> Response:
        """Check a version and answer from it from now on; a damaged one is refused, the old one goes on."""
        await from_body(request, s.Confirmed)
        asked = from_query(request, s.VersionQuery)
        return reply(await asyncio.to_thread(models.promote, service.engine, asked))

    @router.post("/models:roll-back", **gone_back)
    async def roll_back_model(request: Request) -> Response:
        """Answer from the version that was live before."""
        await from_body(request, s.Confirmed)
        return reply(await asyncio.to_thread(models.roll_back, service.engine))

    return router
