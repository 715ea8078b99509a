"""The short way of events: to the ledger as they are parsed, answered when their commit is synced."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson

from intently.errors import IntentlyError, NotReadyError
from intently.serving.http.body import MAX_BYTES
from intently.serving.http.express import JSON, LONG, Again, RawHeaders, Short, raw
from intently.serving.http.gate import Gate
from intently.serving.http.problems import of_error
from intently.serving.intake.plain import plain_rows
from intently.serving.shapes.caller import LOCAL
from intently.serving.shapes.events import Acknowledged
from intently.serving.state.engine import Engine
from intently.serving.state.ledger import Outcome
from intently.store import EventRow

PATH: Final = b"/v1/events"
ROUTE: Final = PATH.decode()


class EventDoor:
    """Where events come in: may they, are they plain, what became of them."""

    def __init__(self, engine: Engine, gate: Gate) -> None:
        self._engine = engine
        self._gate = gate
        self._dated: RawHeaders = []
        self._known: dict[tuple[int, int], bytes] = {}
        self._figures = Figures()

    def takes(self, method: bytes, url: bytes) -> bool:
        """POST /v1/events."""
        return url == PATH and method == b"POST"

    def enter(self, short: Short, scope: dict[str, Any], body: bytes) -> bool:
        """Hand the events of a request to the ledger; False when it has to go the long way."""
        kind = b""
        for name, value in scope["headers"]:
            if name in LONG:
                return False
            if name == b"content-type":
                kind = value
        if kind not in JSON or len(body) > MAX_BYTES:
            return False
        rows = self._rows(body)
        return rows is not None and self._gate.passes(scope, "POST", ROUTE) and self._hand_over(short, rows)

    def again(self, scope: dict[str, Any]) -> Again | None:
        """Who needs no key is always let in, while there is room; keys end, and have limits."""
        keyless = all(name != b"authorization" for name, _ in scope["headers"])
        return self._enter_again if keyless and scope["caller"] is LOCAL else None

    def _enter_again(self, short: Short, body: bytes) -> bool:
        rows = self._rows(body)
        return rows is not None and self._gate.has_room() and self._hand_over(short, rows)

    def _rows(self, body: bytes) -> list[EventRow] | None:
        clock = self._engine.clock
        return plain_rows(body, clock.now(), clock.latest())

    def _hand_over(self, short: Short, rows: list[EventRow]) -> bool:
        try:
            self._engine.ledger.hand_over(rows, short.told, short.connection.loop)
        except NotReadyError as error:
            short.told(error)
        return True

    def answer(self, outcome: Outcome, dated: RawHeaders) -> tuple[int, bytes]:
        """Status and bytes from the headers on; counts the events."""
        if isinstance(outcome, IntentlyError):
            response = of_error(outcome)
            return response.status_code, raw([*dated, *response.raw_headers], bytes(response.body))
        n, accepted = len(outcome), sum(outcome)
        self._figures.accepted += accepted
        self._figures.duplicates += n - accepted
        if dated is not self._dated:  # uvicorn makes the list anew with every second's date
            self._dated = dated
            self._known.clear()
        found = self._known.get((n, accepted))
        if found is None:
            said = orjson.dumps(Acknowledged(n, accepted, n - accepted, 0))
            headers = [(b"content-length", b"%d" % len(said)), (b"content-type", b"application/json")]
            found = self._known[n, accepted] = raw([*dated, *headers], said)
        return 200, found

    def count(self, status: int, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        """Count one answer; those of a group are counted together when all are sent."""
        times = self._figures.seconds
        if not times:
            loop.call_soon(self._counted)
        times.setdefault(status, []).append(seconds)

    def _counted(self) -> None:
        figures, self._figures = self._figures, Figures()
        self._gate.metrics.received(figures.accepted, figures.duplicates, 0)
        for status, seconds in figures.seconds.items():
            self._gate.metrics.answered(ROUTE, status, *seconds)


class Figures:
    """What is counted once a group rather than once an event."""

    __slots__ = ("accepted", "duplicates", "seconds")

    def __init__(self) -> None:
        self.accepted = self.duplicates = 0
        self.seconds: dict[int, list[float]] = {}
