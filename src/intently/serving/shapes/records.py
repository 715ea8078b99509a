"""What the shop says of its items and users."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic import model_validator as check_model

from intently.serving.shapes.common import Id, Request

MAX_RECORDS = 1000
MAX_ATTRIBUTES = 100
MAX_TEXT = 10_000
MAX_LIST = 100
RESERVED = ("removed_at",)

Attributes = dict[str, Any]


def _attributes(given: Attributes) -> Attributes:
    """Names of 1 to 64 letters, digits and _; values that JSON has, flat or lists of texts."""
    if len(given) > MAX_ATTRIBUTES:
        raise ValueError(f"at most {MAX_ATTRIBUTES} attributes")
    for name, value in given.items():
        if not (name.isidentifier() and len(name) <= 64) or name in RESERVED:
            raise ValueError("an attribute's name has 1 to 64 letters, digits and _, and is not reserved")
        texts = value if isinstance(value, list) else [value]
        if len(texts) > MAX_LIST or any(isinstance(one, list | dict) for one in texts):
            raise ValueError(f"a value is a text, a number, true, false, null, or a list of up to {MAX_LIST}")
        if any(isinstance(one, str) and (len(one) > MAX_TEXT or "\0" in one) for one in texts):
            raise ValueError(f"a text has at most {MAX_TEXT:,} characters and no NUL")
        if any(isinstance(one, float) and abs(one) > 1e15 for one in texts):
            raise ValueError("a number is at most 1e15")
    return given


class Record(BaseModel):
    """An id and any attributes; null takes one away."""

    model_config = ConfigDict(strict=True, extra="allow")
    KEY: ClassVar[str]

    @check_model(mode="after")
    def _sound(self) -> Record:
        _attributes(self.attributes())
        return self

    def attributes(self) -> Attributes:
        """All but the id."""
        return dict(self.model_extra or {})


class ItemIn(Record):
    """An item: title, description, category, brand, price, stock, image, created_at, and whatever else."""

    KEY: ClassVar[str] = "item_id"
    item_id: Id


class UserIn(Record):
    """A user and what the shop knows of them."""

    KEY: ClassVar[str] = "user_id"
    user_id: Id


class ItemId(Request):
    """An item in a path."""

    item_id: Id


class UserId(Request):
    """A user in a path."""

    user_id: Id


class ItemBatch(BaseModel):
    """Up to 1000 items; each is judged alone."""

    items: list[ItemIn] = Field(min_length=1, max_length=MAX_RECORDS)


class UserBatch(BaseModel):
    """Up to 1000 users; each is judged alone."""

    users: list[UserIn] = Field(min_length=1, max_length=MAX_RECORDS)


@dataclass(frozen=True, slots=True)
class RecordOut:
    """What is known; `events`: how often the item was met, or the user met anything."""

    id: str
    attributes: Attributes
    events: int
    removed: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of many. received = kept + rejected."""

    received: int
    kept: int
    rejected: int
    errors: list[dict[str, str | int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Erased:
    """What went with a user; `everywhere`: false where another service could not be reached and may hold
    something until it can."""

    user_id: str
    events: int
    everywhere: bool = True
