"""What becomes of a foreign payload."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from intently.errors import InputError
from intently.store.base import SEARCH

MAX_DERIVED: Final = 10_000
"""Native events from one payload."""

MAX_QUERY: Final = 200
Given = dict[str, Any]


@dataclass(slots=True)
class Translated:
    """Native events, each with the place of the message that it came from.

    ignored: messages that say nothing of items, such as page views.
    """

    events: list[tuple[int, Given]] = field(default_factory=list)
    ignored: int = 0

    def add(self, place: int, event: Given) -> None:
        """One more event; raises InputError when there are too many."""
        if len(self.events) >= MAX_DERIVED:
            hint = "split larger ones into several requests"
            raise InputError(f"a request may hold {MAX_DERIVED:,} items at most", hint=hint, field="items")
        self.events.append((place, {name: value for name, value in event.items() if value is not None}))


def listed(body: Any, field: str, most: int) -> list[Any]:
    """The messages of a payload; raises InputError for anything but a list of 1 to `most`."""
    found = body.get(field) if isinstance(body, dict) else None
    if not isinstance(found, list) or not 1 <= len(found) <= most:
        raise InputError(f"{field} must be a list of 1 to {most} messages", field=field)
    return found


def products(given: Any) -> list[Given]:
    """The objects of a list of items; what is no object becomes an item without an id, to be refused."""
    return [one if isinstance(one, dict) else {} for one in given] if isinstance(given, list) else []


def first(given: Given, *names: str) -> Any:
    """The first of the fields that holds something; numbers that name something become their digits."""
    for name in names:
        value = given.get(name)
        if isinstance(value, bool) or value in (None, ""):
            continue
        return str(value) if isinstance(value, int) else value
    return None


def number(given: Given, name: str) -> Any:
    """A number, also one that was sent as text; None where there is none, anything else as it came."""
    value = given.get(name)
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value.strip() or None


def searched(query: Any) -> str | None:
    """What stands for an item where something was looked for by words; None when nothing was."""
    words = " ".join(query.split()) if isinstance(query, str) else ""
    kept = "".join(one for one in words if one.isprintable())[:MAX_QUERY].strip()
    return SEARCH + kept if kept else None


def derived_id(source: str, *parts: Any) -> str:
    """An event id that is the same whenever the same parts are sent.

    >>> derived_id("ga4", "c1", 0) == derived_id("ga4", "c1", 0) != derived_id("ga4", "c1", 1)
    True
    """
    told = orjson.dumps(parts, default=str)
    return f"{source}-{hashlib.blake2b(told, digest_size=16).hexdigest()}"
