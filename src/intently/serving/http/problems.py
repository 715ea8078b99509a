"""Every refusal, in one shape: RFC 9457 problem JSON with a hint.

What was sent is never echoed at length, whatever it was: texts are clipped, at most twenty errors are
listed, and what cannot be encoded is replaced.
"""

from __future__ import annotations

from math import ceil
from typing import Any, Final

import orjson
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from intently.errors import IntentlyError
from intently.serving.shapes.faults import FIELD, MAX_ERRORS, clip, field_errors

MAX_BYTES: Final = 4096


class RefusedError(Exception):
    """A request that cannot be served; `response` answers it."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"refused with status {response.status_code}")
        self.response = response


class Problem(BaseModel):
    """An RFC 9457 problem."""

    type: str
    title: str
    status: int
    detail: str
    hint: str
    errors: list[dict[str, str | int]] = []


TITLES = {
    400: "the request cannot be read",
    401: "a key is needed",
    403: "not allowed",
    404: "not found",
    405: "this method is not served here",
    408: "the request came too slowly",
    409: "not possible as things stand",
    410: "no longer kept",
    413: "the request is too large",
    415: "this type of body is not read",
    421: "not the host asked for",
    422: "the request cannot be used",
    429: "too many requests",
    431: "the headers are too large",
    500: "the service failed",
    503: "not ready",
    507: "the disk is full",
}


def problem(
    status: int,
    detail: str,
    hint: str = "",
    errors: list[dict[str, str | int]] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """The response; `detail` and `hint` are clipped."""
    return Response(written(status, detail, hint, errors), status, headers, "application/problem+json")


def written(
    status: int, detail: str, hint: str = "", errors: list[dict[str, str | int]] | None = None
) -> bytes:
    """The body of a problem."""
    body: dict[str, Any] = {
        "type": f"urn:intently:problem:{status}",
        "title": TITLES.get(status, "the request failed"),
        "status": status,
        "detail": clip(detail),
        "hint": clip(hint),
    }
    if errors:
        body["errors"] = errors[:MAX_ERRORS]
    text = orjson.dumps(body)
    while len(text) > MAX_BYTES and body.get("errors"):
        body["errors"] = body["errors"][: len(body["errors"]) // 2]
        text = orjson.dumps(body)
    return text


def wait(status: int, detail: str, wait_s: float, hint: str = "") -> Response:
    """A refusal that says when to come back."""
    seconds = max(1, ceil(wait_s))
    told = hint or f"ask again in {seconds} s"
    return problem(status, detail, told, headers={"retry-after": str(seconds)})


def refuse(status: int, detail: str, hint: str = "", headers: dict[str, str] | None = None) -> RefusedError:
    """The exception to raise."""
    return RefusedError(problem(status, detail, hint, headers=headers))


def of_error(error: IntentlyError) -> Response:
    """An error of ours as a problem; a 503 says when to come back."""
    errors: list[dict[str, str | int]] = []
    if error.field:
        errors = [{"field": clip(error.field, FIELD), "reason": clip(error.message)}]
    headers = {"retry-after": "2"} if error.status == 503 else None
    return problem(error.status, error.message, error.hint, errors, headers)


def of_validation(error: ValidationError, shape: type[BaseModel]) -> Response:
    """Wrong fields as a problem."""
    found = field_errors(error, shape)
    listed: list[dict[str, str | int]] = [{"field": e.field, "reason": e.reason} for e in found]
    first = f"{found[0].field}: {found[0].reason}" if found else "the request does not fit"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return problem(422, first + more, "the fields are described at /openapi.json", listed)


def listed(errors: list[dict[str, str | int]]) -> list[dict[str, str | int]]:
    """The first MAX_ERRORS, and how many more there are."""
    if len(errors) <= MAX_ERRORS:
        return errors
    rest = len(errors) - MAX_ERRORS + 1
    return [*errors[: MAX_ERRORS - 1], {"field": "", "reason": f"{rest} more"}]
