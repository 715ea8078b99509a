"""What users did, and what became of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from intently.data.frames import canonical
from intently.schema import EVENT_ALIASES, EVENTS
from intently.serving.shapes.common import Id, Number, Request, Short

MAX_EVENTS = 1000
MAX_LISTED = 1000


def _event_name(value: str) -> str:
    name = canonical(value)
    known = EVENT_ALIASES.get(name, name)
    if known not in EVENTS:
        raise ValueError(f"allowed: {', '.join(EVENTS)}")
    return known


def moment(value: Any) -> float:
    """Seconds since 1970 from RFC 3339 text or a number (s, or ms when that large)."""
    if isinstance(value, str) and 8 <= len(value) <= 40:
        try:
            parsed = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("no time; write it like 2026-11-30T12:00:00Z") from None
        seconds = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        seconds = float(value) / (1000.0 if abs(value) > 1e11 else 1.0)
    else:
        raise ValueError("no time; write it like 2026-11-30T12:00:00Z")
    if not 0.0 <= seconds < 1e11:
        raise ValueError("a time before 1970 or too far away")
    return seconds


class EventIn(Request):
    """What a user did."""

    user_id: Id | None = Field(None, description="who; left out: the guest of session_id")
    item_id: Id
    event: Annotated[Short, AfterValidator(_event_name)] = Field(description=", ".join(EVENTS))
    timestamp: Annotated[float, BeforeValidator(moment)] | None = Field(
        None,
        description="RFC 3339 or seconds since 1970; left out: now, by the shop's clock",
        json_schema_extra={"type": ["string", "number", "null"], "format": "date-time"},
    )
    value: Number | None = Field(None, description="a rating, or what the event was worth")
    quantity: Annotated[Number, Field(ge=0)] | None = None
    price: Annotated[Number, Field(ge=0)] | None = None
    session_id: Id | None = None
    event_id: Id | None = Field(None, description="makes re-sending safe: the same id counts once")
    recommendation_id: Short | None = Field(None, description="the answer this came from")


class EventBatch(BaseModel):
    """Up to 1000 events; each is judged alone."""

    events: list[EventIn] = Field(min_length=1, max_length=MAX_EVENTS)


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that cannot be used: its place in the request, the field and why.

    code: missing, unknown_field, not_json, in_the_future, reserved or invalid.
    """

    index: int
    field: str
    reason: str
    code: str = "invalid"


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Accepted ones are on disk. received = accepted + duplicates + rejected.

    ignored: messages of another system that say nothing of items. The first MAX_LISTED errors are listed.
    """

    received: int
    accepted: int
    duplicates: int
    rejected: int
    errors: list[Rejected] = field(default_factory=list)
    ignored: int = 0
