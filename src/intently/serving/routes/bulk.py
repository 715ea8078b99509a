"""Routes for many at a time: JSON lines in, JSON lines out, in memory that does not grow with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive

from intently.errors import IntentlyError
from intently.serving.answer.recommend import recommend
from intently.serving.answer.suggestions import trimmed
from intently.serving.http.body import checked
from intently.serving.http.lines import NDJSON, is_lines, lines_of
from intently.serving.http.openapi import scoped
from intently.serving.http.problems import RefusedError, of_error, refuse
from intently.serving.intake import records
from intently.serving.service import Service, reply
from intently.serving.shapes import records as s
from intently.serving.shapes.answers import RecommendationRequest
from intently.serving.state.engine import Engine

BODIES: Final[tuple[type[BaseModel], ...]] = ()
AT_ONCE: Final = 20
"""Lists that are made in one turn of a thread: others get theirs in between."""


class Answering(StreamingResponse):
    """Lines out while lines still come in: waiting for the client to go would take the body's parts away."""

    async def listen_for_disconnect(self, receive: Receive) -> None:
        """Until the answer is out, which ends this wait too; a client that goes ends the body."""
        await asyncio.Event().wait()


def routes(service: Service) -> APIRouter:
    """Lists for many users; items and users in and out."""
    router = APIRouter(prefix="/v1/bulk", tags=["bulk"])

    @router.post("/recommendations", **scoped("server"))
    async def many_lists(request: Request) -> Response:
        """A question of /v1/recommendations a line in; a line out for each: its answer, or its problem."""
        _must_be_lines(request)
        return Answering(_lists(service, request), media_type=NDJSON[0])

    for shape in (s.ItemIn, s.UserIn):
        _add(router, service, shape)
    return router


def _add(router: APIRouter, service: Service, shape: records.Shape) -> None:
    name = shape.KEY.removesuffix("_id") + "s"

    @router.post(f"/{name}", name=f"import {name}", **scoped("server"))
    async def taken(request: Request) -> Response:
        """Merge a record a line into what is known; each is judged alone, and told by its line, from 0."""
        _must_be_lines(request)
        received, kept = 0, 0
        errors: list[dict[str, str | int]] = []
        async for group in lines_of(request):
            told = await service.work(_keep, group, shape)
            errors += [{**error, "index": int(error["index"]) + received} for error in told.errors]
            received, kept = received + told.received, kept + told.kept
        return reply(s.Kept(received, kept, received - kept, errors[: s.MAX_RECORDS]))

    @router.get(f"/{name}", name=f"export {name}", **scoped("server"))
    async def given(_request: Request) -> Response:
        """Every record a line, in order of arrival."""
        given = await service.work(_records, shape)
        return StreamingResponse(_rows(shape.KEY, given), media_type=NDJSON[0])


def _must_be_lines(request: Request) -> None:
    if not is_lines(request):
        raise refuse(415, "this takes JSON lines", f"send the header: content-type: {NDJSON[0]}")


async def _lists(service: Service, request: Request) -> AsyncIterator[bytes]:
    try:
        async for group in lines_of(request):
            for start in range(0, len(group), AT_ONCE):
                yield await service.work(_answered, group[start : start + AT_ONCE])
    except RefusedError as error:  # the answer has begun: the last line says why it ends
        yield bytes(error.response.body) + b"\n"


def _answered(engine: Engine, lines: list[bytes]) -> bytes:
    return b"".join(_one(engine, line) + b"\n" for line in lines if line.strip())


def _one(engine: Engine, line: bytes) -> bytes:
    try:
        asked = checked(orjson.loads(line), RecommendationRequest)
        return orjson.dumps(trimmed(recommend(engine, asked), asked.fields))
    except orjson.JSONDecodeError:
        return bytes(refuse(400, "this line is no JSON", "send one object a line").response.body)
    except RefusedError as error:
        return bytes(error.response.body)
    except IntentlyError as error:
        return bytes(of_error(error).body)


def _keep(engine: Engine, lines: list[bytes], shape: records.Shape) -> s.Kept:
    given: list[Any] = []
    for line in lines:
        try:
            given.append(orjson.loads(line) if line.strip() else None)
        except orjson.JSONDecodeError:
            given.append(None)  # is judged like everything that is no object
    return records.put_all(engine, given, shape)


def _records(engine: Engine, shape: records.Shape) -> list[tuple[str, dict[str, object]]]:
    return engine.store.item_records() if shape is s.ItemIn else engine.store.user_records()


async def _rows(key: str, given: list[tuple[str, dict[str, object]]]) -> AsyncIterator[bytes]:
    for start in range(0, len(given), 1000):
        part = given[start : start + 1000]
        yield b"".join(orjson.dumps({key: ident, **told}) + b"\n" for ident, told in part)
