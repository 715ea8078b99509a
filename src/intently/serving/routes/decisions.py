"""Routes about answers that were given: why these items, and why not another one."""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from intently.serving.answer import why
from intently.serving.http.body import from_query
from intently.serving.http.openapi import takes_query
from intently.serving.service import Service, reply
from intently.serving.shapes import decisions as s

BODIES: Final[tuple[type[BaseModel], ...]] = ()


def routes(service: Service) -> APIRouter:
    """One answer, looked at afterwards."""
    router = APIRouter(prefix="/v1", tags=["decisions"])
    described = takes_query(s.DecisionQuery, s.DecisionTold, scope="server")

    @router.get("/decisions/{recommendation_id}", **described)
    async def explain_decision(request: Request) -> Response:
        """What was shown and why; with item_id also what became of that item."""
        asked = from_query(request, s.DecisionQuery)
        # not in the pool that answers shoppers: the checks of reasons ask the model many times
        return reply(await asyncio.to_thread(why.why, service.engine, asked))

    return router
