"""Events from a request to the ledger: each is judged alone, good ones are kept whatever the others are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from intently.errors import InputError, IntentlyError
from intently.schema import EVENT_CODES
from intently.serving.shapes.caller import LOCAL, Caller
from intently.serving.shapes.events import MAX_EVENTS, Acknowledged, EventIn, Rejected
from intently.serving.shapes.faults import field_errors
from intently.serving.state.engine import Engine
from intently.serving.state.guests import GUEST, guest_id
from intently.serving.state.ledger import Ledger, Outcome
from intently.store import EventRow


async def take(engine: Engine, body: Any, who: Caller = LOCAL) -> Acknowledged:
    """Store one event (an object) or many ({"events": [...]}); returns when they are on disk.

    Raises NotAllowedError, and stores none, when a browser names another's user or session in any of them.
    """
    given = _listed(body)
    now_s, latest_s = engine.clock.now(), engine.clock.latest()
    rows: list[EventRow] = []
    errors: list[Rejected] = []
    for index, one in enumerate(given):
        judged = judge(one, index, now_s, latest_s, who)
        if isinstance(judged, Rejected):
            errors.append(judged)
        else:
            rows.append(judged)
    fresh = await stored(engine.ledger, rows) if rows else []
    accepted = sum(fresh)
    return Acknowledged(len(given), accepted, len(rows) - accepted, len(errors), errors)


async def stored(ledger: Ledger, rows: Sequence[EventRow]) -> list[bool]:
    """For each row whether it was new, once all are on disk."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[list[bool]] = loop.create_future()

    def told(what: Outcome) -> None:
        if outcome.cancelled():
            return
        if isinstance(what, IntentlyError):
            outcome.set_exception(what)
        else:
            outcome.set_result(what)

    ledger.hand_over(rows, told, loop)
    return await outcome


def _listed(body: Any) -> list[Any]:
    if not isinstance(body, dict):
        raise InputError("expected an event or {'events': [...]}", hint="see /openapi.json")
    if "events" not in body:
        return [body]
    events = body["events"]
    if not isinstance(events, list) or not 1 <= len(events) <= MAX_EVENTS or len(body) > 1:
        raise InputError(
            f"events must be the only field: a list of 1 to {MAX_EVENTS} events",
            hint="split larger ones into several requests",
            field="events",
        )
    return events


def judge(one: Any, index: int, now_s: float, latest_s: float, who: Caller = LOCAL) -> EventRow | Rejected:
    """A row for the store, or what is wrong with the event."""
    if not isinstance(one, dict):
        return Rejected(index, "", "expected an object")
    if who.bound:
        one = who.filled(one, ("user_id", "session_id"))
    try:
        event = EventIn.model_validate(one)
    except ValidationError as error:
        first = field_errors(error, EventIn)[0]
        return Rejected(index, first.field, first.reason)
    who.check(event.user_id, event.session_id)
    user_id = event.user_id
    if user_id is None:
        if event.session_id is None:
            return Rejected(index, "user_id", "is missing; a guest needs a session_id instead")
        user_id = guest_id(event.session_id)
    elif user_id.startswith(GUEST):
        return Rejected(index, "user_id", f"may not begin with {GUEST!r}: leave it out and give session_id")
    time_s = now_s if event.timestamp is None else event.timestamp
    if time_s > latest_s:
        return Rejected(index, "timestamp", "lies more than a day in the future")
    return (
        user_id,
        event.item_id,
        EVENT_CODES[event.event],
        time_s,
        event.value,
        event.quantity,
        event.price,
        event.session_id,
        event.event_id,
        event.recommendation_id,
    )
