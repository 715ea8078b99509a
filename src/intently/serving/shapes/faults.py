"""What is wrong with a request, field by field, in our words and without what was sent."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

MAX_ERRORS = 20
TEXT = 240
FIELD = 80
NEAR = 0.75
"""How alike a mistyped name must be to one of ours to be repeated with it."""


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
    if detail["type"] == "extra_forbidden":
        names = names_of(shape)
        near = difflib.get_close_matches(str(where[-1])[:40], names, n=1, cutoff=NEAR)
        asked = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(shape.model_fields)}"
        given = {str(where[-1])} if near else set()
        return FieldError(_place(where, names | given), f"unknown field; {asked}", "unknown_field")
    field = _place(where, names_of(shape))
    if detail["type"] == "missing":
        return FieldError(field, "is missing", "missing")
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return FieldError(field, clip(message))


def _place(where: list[int | str], names: frozenset[str] | set[str]) -> str:
    """Where the mistake is; a name that is none of ours was made up by the sender, and is not repeated."""
    parts = [str(part) if isinstance(part, int) or part in names else "*" for part in where]
    return clip(".".join(parts) or "body", FIELD)


@cache
def names_of(shape: type[BaseModel]) -> frozenset[str]:
    """Every field's name in the shape and in those inside it."""
    schema = shape.model_json_schema()
    inside = [schema, *schema.get("$defs", {}).values()]
    return frozenset(name for one in inside for name in one.get("properties", {}))


def clip(text: str, length: int = TEXT) -> str:
    """At most `length` characters that can be encoded and printed."""
    short = text if len(text) <= length else text[: length - 3] + "..."
    return "".join(c if c.isprintable() else "�" for c in short)
