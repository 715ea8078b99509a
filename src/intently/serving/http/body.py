"""Request bodies and queries to checked shapes; everything else is a problem."""

from __future__ import annotations

import asyncio
from typing import Any, Final, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from intently.errors import NotAllowedError
from intently.serving.http.problems import RefusedError, of_validation, refuse
from intently.serving.shapes.caller import ANYONE, Caller

MAX_BYTES: Final = 1_000_000
BODY_S: Final = 10.0
Shape = TypeVar("Shape", bound=BaseModel)


async def read_json(request: Request) -> Any:
    """The body as JSON; see read_bytes and parsed for what is refused."""
    return parsed(await read_bytes(request))


async def read_bytes(request: Request) -> bytes:
    """A body that says it is JSON.

    Refuses another content type (415; it also keeps out forms that a stranger's page could send), more
    than MAX_BYTES (413) and a body that takes longer than BODY_S (408).
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        hint = "send the header: content-type: application/json"
        raise refuse(415, "the body is not said to be JSON", hint)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise refuse(415, "compressed bodies are not read", "send it as it is")
    return await _bytes(request)


def parsed(body: bytes) -> Any:
    """Bytes as JSON.

    Refuses what is none (400): nothing, NaN, Infinity, 1e400, lone surrogates and deep nesting.
    """
    if not body.strip():
        raise refuse(400, "the body is empty", "send a JSON object")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise refuse(
            400, f"the body is no JSON: {error}", "JSON is UTF-8, without NaN and Infinity"
        ) from None


def caller(request: Request) -> Caller:
    """Who asks, as the gate found out."""
    found = request.scope.get("caller", ANYONE)
    assert isinstance(found, Caller)
    return found


async def from_body(request: Request, shape: type[Shape]) -> Shape:
    """The body as `shape`; raises RefusedError with every field that is wrong.

    For a browser the shape's user and session are its own: filled in where left out, refused (403) where
    they are another's.
    """
    value, who = await read_json(request), caller(request)
    if who.bound and isinstance(value, dict):
        value = who.filled(value, _owners(shape))
    return _own(checked(value, shape), who)


def _owners(shape: type[BaseModel]) -> tuple[str, ...]:
    return tuple(name for name in ("user_id", "session_id") if name in shape.model_fields)


def _own(asked: Shape, who: Caller) -> Shape:
    if who.bound:
        if not _owners(type(asked)):
            raise NotAllowedError("this key asks for one session only, and this request is for none")
        who.check(getattr(asked, "user_id", None), getattr(asked, "session_id", None))
    return asked


def checked(value: Any, shape: type[Shape]) -> Shape:
    """A JSON value as `shape`."""
    if not isinstance(value, dict):
        raise refuse(422, "expected a JSON object", "the fields are described at /openapi.json")
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        raise RefusedError(of_validation(error, shape)) from None


def from_query(request: Request, shape: type[Shape]) -> Shape:
    """Path and query parameters as `shape`; a parameter given twice counts by its last value."""
    given, who = dict(request.query_params) | request.path_params, caller(request)
    if who.bound:
        given = who.filled(given, _owners(shape))
    try:
        return _own(shape.model_validate_strings(given), who)
    except ValidationError as error:
        raise RefusedError(of_validation(error, shape)) from None


async def _bytes(request: Request) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and len(announced) < 20 and int(announced) > MAX_BYTES:
        raise _too_large()
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                size += len(part)
                if size > MAX_BYTES:
                    raise _too_large()
                parts.append(part)
    except TimeoutError:
        raise refuse(408, f"the body took longer than {BODY_S:g} s", "", {"connection": "close"}) from None
    except ClientDisconnect:
        raise refuse(400, "the body ended early") from None
    return b"".join(parts)


def _too_large() -> RefusedError:
    hint = "send fewer at a time: at most 1000 events or pairs"
    return refuse(413, f"a body may have {MAX_BYTES:,} bytes at most", hint)
