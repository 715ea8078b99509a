"""Routes that take in what users did: one event, many, JSON lines, and what other systems send."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from intently.serving.compat import ga4, segment
from intently.serving.compat.translated import derived_id
from intently.serving.http.body import caller, parsed, read_bytes
from intently.serving.http.lines import is_lines, lines_of
from intently.serving.http.openapi import takes_body
from intently.serving.http.problems import listed, problem, refuse
from intently.serving.intake import events
from intently.serving.service import Service, reply
from intently.serving.shapes import compat as c
from intently.serving.shapes import events as s
from intently.serving.shapes.caller import Caller
from intently.serving.state.engine import Engine
from intently.serving.state.receipts import Receipt

BODIES: Final[tuple[type[BaseModel], ...]] = (s.EventIn, s.EventBatch, c.Ga4Payload, c.SegmentPayload)
KEY: Final = "idempotency-key"

Taken = Callable[[Engine, Any, Caller, events.Marks], Awaitable[s.Acknowledged]]


def routes(service: Service) -> APIRouter:
    """Events, one or many."""
    router = APIRouter(prefix="/v1", tags=["events"])

    @router.post("/events", **takes_body(s.EventIn, s.Acknowledged, many=s.EventBatch, scope="browser"))
    async def add_events(request: Request) -> Response:
        """Store events; what is accepted is on disk and counts in the very next answer.

        Also JSON lines (application/x-ndjson), and payloads of GA4 and Segment. With an Idempotency-Key the
        same request gets the same answer for a day.
        """
        if is_lines(request):
            if KEY in request.headers:
                raise refuse(422, "JSON lines take no Idempotency-Key", "give every event an event_id")
            return _told(service, await events.take_lines(service.engine, lines_of(request), caller(request)))
        return await _once(service, request, _any)

    @router.post("/compat/ga4", **takes_body(c.Ga4Payload, s.Acknowledged, scope="browser"))
    async def add_ga4(request: Request) -> Response:
        """Store what Google Analytics 4 sends: the JSON of its Measurement Protocol."""
        return await _once(service, request, _ga4)

    @router.post("/compat/segment", **takes_body(c.SegmentPayload, s.Acknowledged, scope="browser"))
    async def add_segment(request: Request) -> Response:
        """Store what Segment sends: a message, or a batch of them."""
        return await _once(service, request, _segment)

    return router


async def _any(engine: Engine, body: Any, who: Caller, marks: events.Marks) -> s.Acknowledged:
    if ga4.recognised(body):
        return await _ga4(engine, body, who, marks)
    if segment.recognised(body):
        return await _segment(engine, body, who, marks)
    return await events.take(engine, body, who, marks)


async def _ga4(engine: Engine, body: Any, who: Caller, marks: events.Marks) -> s.Acknowledged:
    return await events.take_translated(engine, ga4.translated(body), who, marks)


async def _segment(engine: Engine, body: Any, who: Caller, marks: events.Marks) -> s.Acknowledged:
    return await events.take_translated(engine, segment.translated(body), who, marks)


async def _once(service: Service, request: Request, take: Taken) -> Response:
    """Carry a request out; with an Idempotency-Key only once, and answer a repetition as the first time."""
    body, who = await read_bytes(request), caller(request)
    key = request.headers.get(KEY)
    engine = service.engine
    if key is None:
        if take is _any and (told := await events.take_plain(engine, body, who)) is not None:
            return _told(service, told)
        return _told(service, await take(engine, parsed(body), who, None))
    # the path is part of it: the same key at another route is another request
    receipts, whose = engine.receipts, f"{who.key_id} {who.session_id or ''} {request.url.path}"
    found = await asyncio.to_thread(receipts.begin, whose, key, body)
    if found is not None:
        kind = "application/json" if found.status == 200 else "application/problem+json"
        return Response(found.answer, found.status, {"idempotent-replayed": "true"}, kind)
    try:
        answer = _told(
            service,
            await take(engine, parsed(body), who, lambda place: derived_id("key", whose, key, place)),
        )
        receipt = Receipt(answer.status_code, bytes(answer.body))
        await asyncio.to_thread(receipts.keep, whose, key, body, receipt)
    finally:
        receipts.drop(whose, key)
    return answer


def _told(service: Service, told: s.Acknowledged) -> Response:
    service.metrics.received(told.accepted, told.duplicates, told.rejected)
    if told.rejected and told.rejected == told.received:
        errors: list[dict[str, str | int]] = [
            {"index": e.index, "field": e.field, "reason": e.reason, "code": e.code} for e in told.errors
        ]
        return problem(422, f"none of {told.received} events can be used", errors=listed(errors))
    return reply(told)
