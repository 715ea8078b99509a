"""Who is there and what they did."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from intently.serving.shapes.common import Id, Request


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
