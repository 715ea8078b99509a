"""Requests and answers of the HTTP interface, as OpenAPI shows them.

Requests are pydantic models in strict mode: a text is not a number, NaN is nothing, an unknown field is
a mistake. Answers are plain dataclasses, encoded by orjson without another check.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic import model_validator as check_model

from intently.data.frames import canonical
from intently.schema import EVENT_ALIASES, EVENTS

MAX_ITEMS = 100
MAX_PAIRS = 1000
MAX_EXPLAINED = 50
MAX_EVENTS = 1000
MAX_CONTEXT = 200
MAX_EXCLUDED = 1000


def _text_of(value: Any) -> Any:
    """Shops number their users: an integer is taken as its digits."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _printable(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise ValueError("may hold no control characters and no space around it")
    return value


def _event_name(value: str) -> str:
    name = canonical(value)
    known = EVENT_ALIASES.get(name, name)
    if known not in EVENTS:
        raise ValueError(f"allowed: {', '.join(EVENTS)}")
    return known


def _moment(value: Any) -> float:
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


Id = Annotated[
    str,
    BeforeValidator(_text_of),
    StringConstraints(min_length=1, max_length=256),
    AfterValidator(_printable),
]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e12, le=1e12)]
Short = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(_printable)]


class Request(BaseModel):
    """Base of what may be asked."""

    model_config = ConfigDict(strict=True, extra="forbid")


class RecommendationRequest(Request):
    """Who asks, or what was just looked at; both may be left out for a stranger."""

    user_id: Id | None = Field(None, description="a user; unknown ones are answered as strangers")
    context_item_ids: list[Id] = Field(
        default_factory=list,
        max_length=MAX_CONTEXT,
        description="items met in this visit, oldest first; not stored",
    )
    n: int = Field(10, ge=1, le=MAX_ITEMS, description="how many items")
    exclude_ids: list[Id] = Field(
        default_factory=list, max_length=MAX_EXCLUDED, description="items never to answer"
    )
    explain: bool = Field(False, description="say why")


class RecommendationQuery(Request):
    """The same for one user in a URL."""

    user_id: Id
    n: int = Field(10, ge=1, le=MAX_ITEMS, description="how many items")
    explain: bool = Field(False, description="say why")


class SimilarQuery(Request):
    """One item and how many that follow from it."""

    item_id: Id
    n: int = Field(10, ge=1, le=MAX_ITEMS, description="how many items")


class Pair(Request):
    """A user and an item."""

    user_id: Id
    item_id: Id


class PredictRequest(Request):
    """One pair (user_id, item_id) or `pairs` of them."""

    user_id: Id | None = None
    item_id: Id | None = None
    pairs: list[Pair] | None = Field(None, min_length=1, max_length=MAX_PAIRS)
    explain: bool = Field(False, description=f"say why; for at most {MAX_EXPLAINED} pairs")

    @check_model(mode="after")
    def _one_or_many(self) -> PredictRequest:
        single = self.user_id is not None and self.item_id is not None
        if self.pairs is None and not single:
            raise ValueError("give user_id and item_id, or pairs")
        if self.pairs is not None and (self.user_id is not None or self.item_id is not None):
            raise ValueError("give user_id and item_id, or pairs, not both")
        if self.explain and len(self.pairs or ()) > MAX_EXPLAINED:
            raise ValueError(f"explain is for at most {MAX_EXPLAINED} pairs")
        return self


class EventIn(Request):
    """What a user did."""

    user_id: Id
    item_id: Id
    event: Annotated[Short, AfterValidator(_event_name)] = Field(description=", ".join(EVENTS))
    timestamp: Annotated[float, BeforeValidator(_moment)] | None = Field(
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


class UserQuery(Request):
    """A page of users."""

    query: str = Field("", max_length=256, description="part of an id")
    start: int = Field(0, ge=0, le=10_000_000, description="how many to skip")
    n: int = Field(20, ge=1, le=200)


class HistoryQuery(Request):
    """A user's latest events."""

    user_id: Id
    n: int = Field(50, ge=1, le=1000)


@dataclass(frozen=True, slots=True)
class Why:
    """A reason in plain words.

    `effect` is what it adds to the log-odds, null when not known; `code` and `values` say the same for
    a page in another language.
    """

    text: str
    effect: float | None
    code: str = ""
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One recommended item; `probability` is null when the live model gives only an order."""

    item_id: str
    title: str
    category: str
    price: float | None
    score: float | None
    probability: float | None
    rank: int
    source: str
    reasons: list[Why]


@dataclass(frozen=True, slots=True)
class Answer:
    """What every answer says of itself."""

    model_version: str
    stage: str
    event: str
    horizon_days: float
    degraded: bool
    notes: list[str]
    took_ms: float


@dataclass(frozen=True, slots=True)
class Recommendations(Answer):
    """A list of items, best first, and who filled it."""

    recommendation_id: str
    user_id: str | None
    filled_by: str
    items: list[Suggestion]


@dataclass(frozen=True, slots=True)
class Similar(Answer):
    """Items that follow from one item."""

    item_id: str
    items: list[Suggestion]


@dataclass(frozen=True, slots=True)
class Prediction:
    """P(the event within the horizon) of one pair and the decision at the threshold."""

    user_id: str
    item_id: str
    probability: float | None
    decision: bool | None
    reasons: list[Why]
    note: str


@dataclass(frozen=True, slots=True)
class Predictions(Answer):
    """One prediction a pair, in the order asked."""

    threshold: float
    predictions: list[Prediction]


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that cannot be used: its place in the request, the field and why."""

    index: int
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Accepted ones are on disk. received = accepted + duplicates + rejected."""

    received: int
    accepted: int
    duplicates: int
    rejected: int
    errors: list[Rejected] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class UserLine:
    """A user in the chooser."""

    user_id: str
    n_events: int


@dataclass(frozen=True, slots=True)
class Users:
    """A page of users; `total` counts all that match."""

    users: list[UserLine]
    total: int
    start: int


@dataclass(frozen=True, slots=True)
class Deed:
    """An event of a history."""

    item_id: str
    title: str
    category: str
    event: str
    timestamp: str


@dataclass(frozen=True, slots=True)
class History:
    """Latest events first; `attributes` is what the shop's table says of the user."""

    user_id: str
    known: bool
    total: int
    attributes: dict[str, str]
    events: list[Deed]
