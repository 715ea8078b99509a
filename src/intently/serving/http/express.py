"""The short way of a request: from the connection to its answer, without an ASGI task.

A request that a door takes, that is whole in one piece and holds nothing unusual, is handed over as it is
parsed and answered when the door has the answer. Anything else (a wrong key, a form, a broken body, one in
parts, requests sent ahead) goes the long way through the application, as if this file did not exist; both
answer the same, which tests check.

Clients that keep a connection send the same head again and again. A head that a door took and that says all
there is to judge is known by heart: the next request with the same bytes, behind one that was whole, is not
parsed again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from intently.serving.http.connection import Connection
from intently.serving.http.gate import ANSWER

RawHeaders = list[tuple[bytes, bytes]]
JSON: Final = frozenset({b"application/json", b"application/json; charset=utf-8"})
LONG: Final = frozenset({b"content-encoding", b"origin", b"expect", b"upgrade", b"idempotency-key"})
"""Headers of requests that want more than a short way knows."""


Again = Callable[["Short", bytes], bool]
"""As Door.enter, for a request with a head that was judged before."""

BODY_S: Final = 0.01
"""How long a body may come behind its head and still go the short way: most clients send them one by one."""

MOST_HEADS: Final = 1000
"""Heads that are known by heart; lengths of bodies are part of them."""


class Door(Protocol):
    """Requests of one kind: may they in, are they plain, and what is answered."""

    def takes(self, method: bytes, url: bytes) -> bool:
        """Whether this request line may lead through here."""
        ...

    def enter(self, short: Short, scope: dict[str, Any], body: bytes) -> bool:
        """Take the request, and see that `short.told` hears of it; False when it has to go the long way."""
        ...

    def again(self, scope: dict[str, Any]) -> Again | None:
        """What takes later requests with the same head as one that was taken; None: each is judged anew."""
        ...

    def answer(self, outcome: Any, dated: RawHeaders) -> tuple[int, bytes]:
        """Status, and the bytes that follow the status line."""
        ...

    def count(self, status: int, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        """Count one answer."""
        ...


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

    def told(self, outcome: Any) -> None:
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

    doors: ClassVar[Sequence[Door]]
    heads: ClassVar[dict[bytes, tuple[Door, Again, int]]]  # with the length of the body

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._parts: list[bytes] | None = None  # of a body that may go the short way
        self._door: Door | None = None
        self._piece = b""  # bytes that came together, from the beginning of a request
        self._steady = False  # the last request was whole, and nothing stood behind it
        self._body_timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """What is not whole by now goes the long way, which knows how long to wait."""
        if self._steady and self._enter_again(data):
            return
        self._piece = data if self._whole else b""
        super().data_received(data)
        if self._parts == [] and self._body_timer is None:
            self._body_timer = self.loop.call_later(BODY_S, self._go_long)
        elif self._parts is not None:
            self._go_long()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client went."""
        self._stop_waiting()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The service ends: what was begun is answered."""
        if self._parts is not None:
            self._go_long()
        super().shutdown()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._steady = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole: may the request go the short way?"""
        method = self.parser.get_method()
        self._door = next((door for door in self.doors if door.takes(method, self.url)), None)
        if self._door is not None and self._is_free():
            self.weigh_head()
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
        door = self._door
        if self._parts is None or door is None:
            super().on_message_complete()
            return
        self._stop_waiting()
        short = Short(self, door)
        before, self.cycle = self.cycle, short  # type: ignore[assignment]
        parts, self._parts = self._parts, None
        self.head_is_whole()
        self.message_is_whole()
        body = b"".join(parts)
        if door.enter(short, self.scope, body):  # type: ignore[arg-type]
            self._learn(door, body)  # a door may have answered by now
            return
        self.cycle, self._parts = before, parts
        self._go_long()
        super().on_message_complete()

    def _learn(self, door: Door, body: bytes) -> None:
        """Know the head by heart, where the request came alone and in one piece."""
        head = self._piece[: -len(body)]
        alone = self._piece.endswith(body) and head.find(b"\r\n\r\n") + 4 == len(head)
        if body and alone and (again := door.again(self.scope)) is not None:  # type: ignore[arg-type]
            if len(self.heads) >= MOST_HEADS:
                self.heads.clear()
            self.heads[head] = door, again, len(body)
            self._steady = True

    def _enter_again(self, data: bytes) -> bool:
        """Take a request that begins with a known head; False when it has to be parsed."""
        end = data.find(b"\r\n\r\n") + 4
        found = self.heads.get(data[:end])
        if found is None or len(data) - end != found[2] or self._working:
            return False
        if self.flow.write_paused or self.transport.is_closing():
            return False
        short = Short(self, found[0])
        before, self.cycle = self.cycle, short  # type: ignore[assignment]
        self._unset_keepalive_if_required()
        if found[1](short, data[end:]):
            return True
        self.cycle = before
        return False

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

    def _stop_waiting(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    def _go_long(self) -> None:
        self._stop_waiting()
        parts, self._parts = self._parts or [], None
        if self.transport.is_closing():
            return
        super().on_headers_complete()
        for part in parts:
            super().on_body(part)


def express(doors: Sequence[Door], max_open: int = Connection.max_open) -> type[Express]:
    """The class of connections that lead to these doors, and how many of them there may be."""
    return type("ExpressToDoors", (Express,), {"doors": doors, "heads": {}, "max_open": max_open})


def raw(headers: RawHeaders, body: bytes) -> bytes:
    """Headers and body as they are sent, with what the gate adds to every answer."""
    lines = [name + b": " + value + b"\r\n" for name, value in (*headers, *ANSWER)]
    return b"".join([*lines, b"\r\n", body])
