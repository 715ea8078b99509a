"""Routes that take in what users did."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from intently.serving.http.body import caller, read_json
from intently.serving.http.openapi import takes_body
from intently.serving.http.problems import listed, problem
from intently.serving.intake import events
from intently.serving.service import Service, reply
from intently.serving.shapes import events as s

BODIES: Final[tuple[type[BaseModel], ...]] = (s.EventIn, s.EventBatch)


def routes(service: Service) -> APIRouter:
    """Events, one or many."""
    router = APIRouter(prefix="/v1", tags=["events"])

    @router.post("/events", **takes_body(s.EventIn, s.Acknowledged, many=s.EventBatch, scope="browser"))
    async def add_events(request: Request) -> Response:
        """Store events; what is accepted is on disk and counts in the very next answer."""
        told = await events.take(service.engine, await read_json(request), caller(request))
        service.metrics.received(told.accepted, told.duplicates, told.rejected)
        if told.rejected == told.received:
            errors: list[dict[str, str | int]] = [
                {"index": e.index, "field": e.field, "reason": e.reason} for e in told.errors
            ]
            return problem(422, f"none of {told.received} events can be used", errors=listed(errors))
        return reply(told)

    return router
