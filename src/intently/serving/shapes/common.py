"""What all requests and answers share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

MAX_ITEMS = 100
MAX_TEXT = 256
MAX_NUMBER = 1e12


def _text_of(value: Any) -> Any:
    """Shops number their users: an integer is taken as its digits."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _printable(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise ValueError("may hold no control characters and no space around it")
    return value


def is_id(text: str) -> bool:
    """Whether a text is an `Id` as it stands."""
    return 0 < len(text) <= MAX_TEXT and text.isprintable() and text == text.strip()


Id = Annotated[
    str,
    BeforeValidator(_text_of),
    StringConstraints(min_length=1, max_length=MAX_TEXT),
    AfterValidator(_printable),
]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-MAX_NUMBER, le=MAX_NUMBER)]
Short = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT), AfterValidator(_printable)]


class Request(BaseModel):
    """Base of what may be asked."""

    model_config = ConfigDict(strict=True, extra="forbid")


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


@dataclass(slots=True)  # not frozen: twenty are made for an answer, and freezing doubles what that costs
class Suggestion:
    """One recommended item.

    `probability` is null when the live model gives only an order; `propensity` is how likely it was to stand
    here, 1 where nothing was drawn at random.
    """

    item_id: str
    title: str
    category: str
    price: float | None
    score: float | None
    probability: float | None
    rank: int
    source: str
    propensity: float
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
