"""Usual events from their bytes to rows for the ledger, at a fifth of the cost of the full check.

Takes only what `EventIn` takes, and makes the same row of it. Of anything else it says nothing but None:
then the full check decides, and finds the words. So there is one set of rules with one set of messages, and
tests hold the two against each other.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from intently.schema import EVENT_ALIASES, EVENT_CODES
from intently.serving.shapes.common import MAX_NUMBER, MAX_TEXT
from intently.serving.shapes.events import MAX_EVENTS, moment
from intently.serving.state.guests import GUEST, guest_id
from intently.store import EventRow
from intently.store.base import SEARCH

Ident = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)]

_CODES: Final = EVENT_CODES | {alias: EVENT_CODES[name] for alias, name in EVENT_ALIASES.items()}


class PlainEvent(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The fields of EventIn as they come from most senders."""

    item_id: Ident
    event: str
    user_id: Ident | None = None
    timestamp: float | str | None = None
    value: float | None = None
    quantity: float | None = None
    price: float | None = None
    session_id: Ident | None = None
    event_id: Ident | None = None
    recommendation_id: Ident | None = None


class PlainBatch(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The fields of EventBatch."""

    events: list[PlainEvent]


_ONE: Final = msgspec.json.Decoder(PlainEvent)
_MANY: Final = msgspec.json.Decoder(PlainBatch)


def plain_rows(body: bytes, now_s: float, latest_s: float) -> list[EventRow] | None:
    """The rows of one event, or of {"events": [...]} when every one of them is as usual; else None.

    now_s: the time of an event that has none; latest_s: the last moment an event may carry.
    """
    try:
        if body.startswith(b'{"events"'):
            given = _MANY.decode(body).events
            if not 1 <= len(given) <= MAX_EVENTS:
                return None
        else:
            given = [_ONE.decode(body)]
        tidy = _is_tidy(body)
        rows = [_row(one, now_s, latest_s, tidy) for one in given]
    except ValueError:  # also msgspec's errors, and what `moment` says
        return None
    return None if None in rows else rows  # type: ignore[return-value]


def _row(one: PlainEvent, now_s: float, latest_s: float, tidy: bool) -> EventRow | None:
    """tidy: every text of it is known to be printable, without a space around it."""
    user_id, item_id, session_id = one.user_id, one.item_id, one.session_id
    event_id, answer_id = one.event_id, one.recommendation_id
    code = _CODES.get(one.event)
    if code is None or item_id.startswith(SEARCH):
        return None
    if not tidy and not all(
        text is None or _is_tidy_text(text) for text in (item_id, user_id, session_id, event_id, answer_id)
    ):
        return None
    if user_id is None:
        if session_id is None:
            return None
        user_id = guest_id(session_id)
    elif user_id.startswith(GUEST):
        return None
    time_s = now_s if one.timestamp is None else moment(one.timestamp)
    value, quantity, price = one.value, one.quantity, one.price
    if (
        time_s > latest_s
        or not (value is None or -MAX_NUMBER <= value <= MAX_NUMBER)
        or not (quantity is None or 0.0 <= quantity <= MAX_NUMBER)
        or not (price is None or 0.0 <= price <= MAX_NUMBER)
    ):
        return None
    return (user_id, item_id, code, time_s, value, quantity, price, session_id, event_id, answer_id)


def _is_tidy(body: bytes) -> bool:
    """Whether all texts in this JSON are printable and without a space around them, seen at a glance.

    Characters below a space are no JSON inside a text, and above it all of ASCII but the last is printable.
    """
    return body.isascii() and b" " not in body and b"\\" not in body and b"\x7f" not in body


def _is_tidy_text(text: str) -> bool:
    """Whether the text is an id as shapes.common.Id has it, its length aside."""
    return text.isprintable() and text[0] != " " and text[-1] != " "
