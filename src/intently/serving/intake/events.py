"""Events from a request to the ledger: each is judged alone, good ones are kept whatever the others are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

import orjson
from pydantic import ValidationError

from intently.errors import InputError, IntentlyError
from intently.schema import EVENT_CODES
from intently.serving.compat import Translated
from intently.serving.intake.plain import plain_rows
from intently.serving.shapes.caller import LOCAL, Caller
from intently.serving.shapes.events import MAX_EVENTS, MAX_LISTED, Acknowledged, EventIn, Rejected
from intently.serving.shapes.faults import field_errors
from intently.serving.state.engine import Engine
from intently.serving.state.guests import GUEST, guest_id
from intently.serving.state.ledger import Ledger, Outcome
from intently.store import EventRow
from intently.store.base import SEARCH

Marks = Callable[[int], str] | None
"""The id of an event that has none, from its place in the request; None: it stays without."""


async def take(engine: Engine, body: Any, who: Caller = LOCAL, marks: Marks = None) -> Acknowledged:
    """Store one event (an object) or many ({"events": [...]}); returns when they are on disk.

    marks: makes the id of an event that has none from its place. Raises NotAllowedError, and stores none,
    when a browser names another's user or session in any of them.
    """
    return await _take(engine, list(enumerate(_listed(body))), who, marks)


async def take_plain(engine: Engine, body: bytes, who: Caller) -> Acknowledged | None:
    """As take, for a body in which every event is as usual; None when it is not, and has to be looked at."""
    rows = None if who.bound else plain_rows(body, engine.clock.now(), engine.clock.latest())
    if rows is None:
        return None
    fresh = await stored(engine.ledger, rows)
    accepted = sum(fresh)
    return Acknowledged(len(rows), accepted, len(rows) - accepted, 0)


async def take_translated(
    engine: Engine, made: Translated, who: Caller = LOCAL, marks: Marks = None
) -> Acknowledged:
    """As take, for another system's messages. What a browser sends counts for its own session."""
    events = made.events
    if who.bound:
        own = ("user_id", "session_id")
        events = [(at, {k: v for k, v in one.items() if k not in own}) for at, one in events]
    told = await _take(engine, events, who, marks)
    return replace(told, ignored=made.ignored)


async def take_lines(engine: Engine, groups: AsyncIterator[list[bytes]], who: Caller = LOCAL) -> Acknowledged:
    """Store JSON lines, one event each, group by group; each group is on disk before the next is read."""
    told = Acknowledged(0, 0, 0, 0)
    place = 0
    async for lines in groups:
        given = [(place + at, _parsed(line)) for at, line in enumerate(lines) if line.strip()]
        place += len(lines)
        more = await _take(engine, given, who, None)
        told = Acknowledged(
            told.received + more.received,
            told.accepted + more.accepted,
            told.duplicates + more.duplicates,
            told.rejected + more.rejected,
            [*told.errors, *more.errors][:MAX_LISTED],
        )
    if not told.received:
        raise InputError("the body holds no line", hint="send one event a line")
    return told


async def _take(engine: Engine, given: Sequence[tuple[int, Any]], who: Caller, marks: Marks) -> Acknowledged:
    now_s, latest_s = engine.clock.now(), engine.clock.latest()
    rows: list[EventRow] = []
    errors: list[Rejected] = []
    for place, (index, one) in enumerate(given):
        if isinstance(one, Rejected):
            errors.append(Rejected(index, one.field, one.reason, one.code))
            continue
        judged = judge(one, index, now_s, latest_s, who)
        if isinstance(judged, Rejected):
            errors.append(judged)
        elif marks is not None and judged[8] is None:
            rows.append((*judged[:8], marks(place), judged[9]))
        else:
            rows.append(judged)
    fresh = await stored(engine.ledger, rows) if rows else []
    accepted = sum(fresh)
    listed = errors[:MAX_LISTED]
    return Acknowledged(len(given), accepted, len(rows) - accepted, len(errors), listed)


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return Rejected(0, "", f"no JSON: {error}", "not_json")


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
        return Rejected(index, first.field, first.reason, first.code)
    who.check(event.user_id, event.session_id)
    user_id = event.user_id
    if user_id is None:
        if event.session_id is None:
            return Rejected(index, "user_id", "is missing; a guest needs a session_id instead", "missing")
        user_id = guest_id(event.session_id)
    elif user_id.startswith(GUEST):
        reason = f"may not begin with {GUEST!r}: leave it out and give session_id"
        return Rejected(index, "user_id", reason, "reserved")
    if event.item_id.startswith(SEARCH) and event.event != "search":
        return Rejected(index, "item_id", f"may begin with {SEARCH!r} only in a search", "reserved")
    time_s = now_s if event.timestamp is None else event.timestamp
    if time_s > latest_s:
        return Rejected(index, "timestamp", "lies more than a day in the future", "in_the_future")
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
