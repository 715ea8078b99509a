"""The connection: uvicorn's fast protocol, with an end to what it waits for.

Stock uvicorn keeps half-sent requests, and clients that do not read their answers, open for ever, takes
headers of any size and any number of connections.
"""

from __future__ import annotations

from asyncio import TimerHandle, Transport
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from intently.serving.http.problems import written

HEAD_S: Final = 10.0
HEAD_BYTES: Final = 32_768
DRAIN_S: Final = 10.0
DRAIN_BYTES: Final = 128_000_000
READ_S: Final = 30.0


class Connection(HttpToolsProtocol):
    """Closes a connection whose request line and headers take longer than HEAD_S, or whose client reads
    nothing for READ_S, and refuses heads larger than HEAD_BYTES.

    An answer may be made before the whole body is there (413, 401). The rest is then read and thrown away,
    for DRAIN_S and DRAIN_BYTES at most, so that the client gets to see the answer.

    max_open: connections at a time. Beyond it the longest idle or half-open one makes room; where all work,
    the new one gets a 503.
    """

    max_open: ClassVar[int] = 2000

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._head_bytes = 0
        self._in_head = True
        self._whole = True
        self._drained = 0
        self._idle_since_s = 0.0
        self._head_timer: TimerHandle | None = None
        self._drain_timer: TimerHandle | None = None
        self._read_timer: TimerHandle | None = None

    @property
    def _working(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """A client came: its first request must begin soon."""
        super().connection_made(transport)
        self._idle_since_s = self.loop.time()
        if len(self.connections) > self.max_open and not self._made_room():
            self._refuse(503, "too many connections are open", "come back soon", b"retry-after: 2\r\n")
            return
        self._head_timer = self.loop.call_later(HEAD_S, self._end)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client went."""
        for timer in (self._head_timer, self._drain_timer, self._read_timer):
            _cancel(timer)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes came; how many belong to the head is known once it ends."""
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self.send_400_response("too large")
            elif self._head_timer is None:  # most heads come whole, and need none
                self._head_timer = self.loop.call_later(HEAD_S, self._end)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is refused like everything else."""
        if self._head_bytes > HEAD_BYTES:
            self._refuse(431, f"more than {HEAD_BYTES:,} bytes of headers", "send fewer or shorter ones")
            return
        self._refuse(400, "this is no HTTP request that can be read", "see RFC 9112 for what one looks like")

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._head_bytes, self._in_head, self._whole, self._drained = 0, True, False, 0

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self.weigh_head()
        self.head_is_whole()
        super().on_headers_complete()

    def weigh_head(self) -> None:
        """Refuse a head that is too large though it came in one piece."""
        self._head_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if self._head_bytes > HEAD_BYTES:
            raise ValueError("too large")  # ends the parsing; `send_400_response` finds the words

    def head_is_whole(self) -> None:
        """Stop waiting for the rest of the head."""
        self._in_head = False
        _cancel(self._head_timer)
        self._head_timer = None

    def on_body(self, body: bytes) -> None:
        """A part of the body, which is thrown away when the answer is out."""
        super().on_body(body)
        if self.cycle is not None and self.cycle.response_complete:
            self._drained += len(body)
            if self._drained > DRAIN_BYTES:
                self._end()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self.message_is_whole()
        super().on_message_complete()

    def message_is_whole(self) -> None:
        """Nothing more of it has to be read."""
        self._whole = True
        _cancel(self._drain_timer)
        self._drain_timer = None

    def on_response_complete(self) -> None:
        """The answer is out."""
        self._idle_since_s = self.loop.time()
        if not self._whole and not self.transport.is_closing():
            if self.expect_100_continue:
                self._end()  # the body may never come: what came next could be taken for it
            elif self._drain_timer is None:
                self._drain_timer = self.loop.call_later(DRAIN_S, self._end)
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        if self._read_timer is None:
            self._read_timer = self.loop.call_later(READ_S, self._cut)

    def resume_writing(self) -> None:
        """The client reads again."""
        _cancel(self._read_timer)
        self._read_timer = None
        super().resume_writing()

    def _end(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def _cut(self) -> None:
        self.transport.abort()

    def _made_room(self) -> bool:
        """Close the connection that has waited longest for a request."""
        idle = [one for one in self.connections if isinstance(one, Connection) and one is not self]
        idle = [one for one in idle if not one._working and not one.transport.is_closing()]
        if not idle:
            return False
        min(idle, key=lambda one: one._idle_since_s)._end()
        return True

    def _refuse(self, status: int, detail: str, hint: str, more: bytes = b"") -> None:
        if self.transport.is_closing():
            return
        body = written(status, detail, hint)
        head = b"content-type: application/problem+json\r\ncontent-length: %d\r\n" % len(body)
        close = b"x-content-type-options: nosniff\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + head + more + close + body)
        self.transport.close()


def _cancel(timer: TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
