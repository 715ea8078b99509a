"""Usual events from their bytes to rows for the ledger, at a fifth of the cost of the full check.

Takes only what `EventIn` takes, and makes the same row of it. Of anything else it says nothing but None:
then the full check decides, and finds the words. So there is one set of rules with one set of messages, and
tests hold the two against each other.
"""

from __future__ import annotations

from typing import Final

import msgspec

from intently.schema import EVENT_ALIASES, EVENT_CODES
from intently.serving.shapes.common import MAX_NUMBER, MAX_TEXT
from intently.serving.shapes.events import MAX_EVENTS, moment
from intently.serving.state.guests import GUEST, guest_id
from intently.store import EventRow
from intently.store.base import SEARCH

_CODES: Final = EVENT_CODES | {alias: EVENT_CODES[name] for alias, name in EVENT_ALIASES.items()}


class PlainEvent(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The fields of EventIn as they come from most senders."""

    item_id: str
    event: str
    user_id: str | None = None
    timestamp: float | str | None = None
    value: float | None = None
    quantity: float | None = None
    price: float | None = None
    session_id: str | None = None
    event_id: str | None = None
    recommendation_id: str | None = None


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
            rows = [_row(one, now_s, latest_s) for one in given]
        else:
            rows = [_row(_ONE.decode(body), now_s, latest_s)]
    except ValueError:  # also msgspec's errors, and what `moment` says
        return None
    return None if None in rows else rows  # type: ignore[return-value]


def _row(one: PlainEvent, now_s: float, latest_s: float) -> EventRow | None:
    user_id, item_id, session_id = one.user_id, one.item_id, one.session_id
    code = _CODES.get(one.event)
    if code is None or not _is_fine(item_id) or item_id.startswith(SEARCH):
        return None
    if user_id is None:
        if session_id is None:
            return None
        user_id = guest_id(session_id)
    elif not _is_fine(user_id) or user_id.startswith(GUEST):
        return None
    event_id, answer_id = one.event_id, one.recommendation_id
    if not (session_id is None or _is_fine(session_id)):
        return None
    if not (event_id is None or _is_fine(event_id)) or not (answer_id is None or _is_fine(answer_id)):
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


def _is_fine(text: str) -> bool:
    """Whether the text is an id as shapes.common.Id has it."""
    return 0 < len(text) <= MAX_TEXT and text.isprintable() and text[0] != " " and text[-1] != " "
