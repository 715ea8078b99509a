"""What is wrong with a request, field by field, in our words and without what was sent."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

MAX_ERRORS = 20
TEXT = 240
FIELD = 80


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field."""

    field: str
    reason: str
    code: str = "invalid"


def field_errors(error: ValidationError, shape: type[BaseModel]) -> list[FieldError]:
    """Pydantic's errors in our words, without what was sent."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return [_field_error(detail, shape) for detail in details[:MAX_ERRORS]]


def _field_error(detail: ErrorDetails, shape: type[BaseModel]) -> FieldError:
    where = [part for part in detail["loc"] if part not in ("function-before", "function-after")]
    field = clip(".".join(str(part) for part in where) or "body", FIELD)
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(field[:40], shape.model_fields, n=1)
        asked = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(shape.model_fields)}"
        return FieldError(field, f"unknown field; {asked}", "unknown_field")
    if detail["type"] == "missing":
        return FieldError(field, "is missing", "missing")
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return FieldError(field, clip(message))


def clip(text: str, length: int = TEXT) -> str:
    """At most `length` characters that can be encoded and printed."""
    short = text if len(text) <= length else text[: length - 3] + "..."
    return "".join(c if c.isprintable() else "�" for c in short)
