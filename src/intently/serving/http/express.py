"""The short way of an event: from the connection to the ledger and back, without an ASGI task.

A request for POST /v1/events that is whole in one piece, passes the gate and holds nothing but usual events
is handed to the ledger as it is parsed, and answered when its commit is synced. Anything else (a wrong key, a
form, a broken or unusual event, a body in parts, requests sent ahead) goes the long way through the
application, as if this file did not exist; both answer the same, which tests check.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, ClassVar, Final

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from intently.errors import IntentlyError, NotReadyError
from intently.serving.http.body import MAX_BYTES
from intently.serving.http.connection import Connection
from intently.serving.http.gate import ANSWER, Gate
from intently.serving.http.problems import of_error
from intently.serving.intake.plain import plain_rows
from intently.serving.shapes.events import Acknowledged
from intently.serving.state.engine import Engine
from intently.serving.state.ledger import Outcome

PATH: Final = b"/v1/events"
ROUTE: Final = PATH.decode()
_JSON: Final = frozenset({b"application/json", b"application/json; charset=utf-8"})
_LONG: Final = frozenset({b"content-encoding", b"origin", b"expect", b"upgrade", b"idempotency-key"})
"""Headers of requests that want more than the short way knows."""

RawHeaders = list[tuple[bytes, bytes]]


class Door:
    """Where events come in: may they, are they plain, what became of them."""

    def __init__(self, engine: Engine, gate: Gate) -> None:
        self._engine = engine
        self._gate = gate
        self._dated: RawHeaders = []
        self._known: dict[tuple[int, int], bytes] = {}
        self._figures = Figures()

    def enter(self, short: Short, scope: dict[str, Any], body: bytes) -> bool:
        """Hand the events of a request to the ledger; False when it has to go the long way."""
        kind = b""
        for name, value in scope["headers"]:
            if name in _LONG:
                return False
            if name == b"content-type":
                kind = value
        if kind not in _JSON or len(body) > MAX_BYTES:
            return False
        clock = self._engine.clock
        rows = plain_rows(body, clock.now(), clock.latest())
        if rows is None or not self._gate.passes(scope, "POST", ROUTE):
            return False
        try:
            self._engine.ledger.hand_over(rows, short.told, short.connection.loop)
        except NotReadyError as error:
            short.told(error)
        return True

    def answer(self, outcome: Outcome, dated: RawHeaders) -> tuple[int, bytes]:
        """Status and bytes from the headers on; counts the events."""
        if isinstance(outcome, IntentlyError):
            response = of_error(outcome)
            return response.status_code, _raw([*dated, *response.raw_headers], bytes(response.body))
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
            found = self._known[n, accepted] = _raw([*dated, *headers], said)
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


class Short:
    """A request on the short way; stands where uvicorn keeps the request that it is answering."""

    __slots__ = ("_began", "_door", "connection", "disconnected", "keep_alive", "response_complete")

    def __init__(self, connection: Express, door: Door) -> None:
        self.connection = connection
        self._door = door
        self._began = time.perf_counter()
        self.response_complete = self.disconnected = False
        self.keep_alive = True

    @property
    def message_event(self) -> Short:
        """Nobody waits for more of this request."""
        return self

    def set(self) -> None:
        """See message_event."""

    def told(self, outcome: Outcome) -> None:
        """Answer."""
        connection = self.connection
        status, rest = self._door.answer(outcome, connection.server_state.default_headers)
        self.response_complete = True
        self._door.count(status, time.perf_counter() - self._began, connection.loop)
        if connection.transport.is_closing():
            return
        closing = b"" if self.keep_alive else b"connection: close\r\n"
        connection.transport.write(STATUS_LINE[status] + closing + rest)
        if not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()


class Express(Connection):
    """A connection with the short way; `express` makes the class of a service."""

    door: ClassVar[Door]

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._parts: list[bytes] | None = None  # of a body that may go the short way

    def data_received(self, data: bytes) -> None:
        """What is not whole by now goes the long way, which knows how long to wait."""
        super().data_received(data)
        if self._parts is not None:
            self._go_long()

    def on_headers_complete(self) -> None:
        """The head is whole: may the request go the short way?"""
        if self.url == PATH and self.parser.get_method() == b"POST" and self._is_free():
            self._parts, self._in_head = [], False  # the timer of the head goes on
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self._parts is None:
            super().on_body(body)
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._parts is None:
            super().on_message_complete()
            return
        short = Short(self, self.door)
        before, self.cycle = self.cycle, short  # type: ignore[assignment]
        if self.door.enter(short, self.scope, b"".join(self._parts)):  # type: ignore[arg-type]
            self._parts = None
            self.head_is_whole()
            self.message_is_whole()
            return
        self.cycle = before
        self._go_long()
        super().on_message_complete()

    def _is_free(self) -> bool:
        """Whether nothing else is being answered here, and the client takes its answers."""
        parser = self.parser
        return (
            (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and (self.limit_concurrency is None or len(self.connections) < self.limit_concurrency)
        )

    def _go_long(self) -> None:
        parts, self._parts = self._parts or [], None
        if self.transport.is_closing():
            return
        super().on_headers_complete()
        for part in parts:
            super().on_body(part)


def express(door: Door, max_open: int = Connection.max_open) -> type[Express]:
    """The class of connections that lead to this door, and how many of them there may be."""
    return type("ExpressToDoor", (Express,), {"door": door, "max_open": max_open})


def _raw(headers: RawHeaders, body: bytes) -> bytes:
    """Headers and body as they are sent, with what the gate adds to every answer."""
    lines = [name + b": " + value + b"\r\n" for name, value in (*headers, *ANSWER)]
    return b"".join([*lines, b"\r\n", body])
