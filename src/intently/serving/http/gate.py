"""What every request passes first: the right host, a key where one is needed, headers, counting.

A service on loopback needs no key, but answers only to loopback names and no page of another origin: a
stranger's page that points its own name here (DNS rebinding), or asks from afar, is refused.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from intently.config import Limits
from intently.serving.http.access import Access, Entry
from intently.serving.http.keyring import KeyRing
from intently.serving.http.limits import Buckets, Guesses, whose
from intently.serving.http.metrics import Metrics
from intently.serving.http.problems import problem, wait
from intently.serving.shapes.caller import ANYONE, LOCAL, Caller

LOOPBACK: Final = frozenset({b"127.0.0.1", b"localhost", b"::1"})
PREFLIGHT_S: Final = 600
BUSY_S: Final = 1.0
TURN_S: Final = 0.5
PASSED: Final = Response()
"""Stands in a scope for: judged already, and let in."""

SECURITY_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
Pairs = list[tuple[bytes, bytes]]
_SAFE: Final[Pairs] = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
_OWN: Final[Pairs] = [*_SAFE, (b"cross-origin-resource-policy", b"same-origin")]
ANSWER: Final[Pairs] = [*_OWN, (b"cache-control", b"no-store")]
_FILE: Final[Pairs] = [*_OWN, (b"cache-control", b"no-cache")]


@dataclass(frozen=True, slots=True)
class Doors:
    """Who may come in.

    keys: what is recognised. needed: whether nothing but open routes is answered without a key. any_host:
    whether names other than loopback may be asked. origins: of pages that may ask browser routes. limits:
    how much.
    """

    keys: KeyRing
    needed: bool = False
    any_host: bool = False
    origins: frozenset[bytes] = frozenset()
    limits: Limits = field(default_factory=Limits)


@dataclass(slots=True)
class Head:
    """The headers that the gate looks at; b'' where there is none."""

    hosts: int = 0
    host: bytes = b""
    origin: bytes = b""
    shown: bytes = b""
    asks_method: bytes = b""
    forwarded: bytes = b""


class Gate:
    """Wraps the application; what `access` does not know is answered here."""

    def __init__(self, app: ASGIApp, metrics: Metrics, access: Access, doors: Doors) -> None:
        self._app = app
        self.metrics = metrics
        self._access = access
        self._doors = doors
        self._busy = 0
        self._turn_s: float | None = None
        self._guesses = Guesses()
        self._sessions = Buckets(doors.limits.session_per_s)
        self._addresses = Buckets(doors.limits.address_per_s)
        self._keys = Buckets(doors.limits.key_per_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500
        entry, head = self._access.find(scope["method"], scope["path"]), _head(scope)
        added = self._added(entry, head)

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _joined(message["headers"], added)
            await send(message)

        judged = scope.pop("judged", None) or self._refusal(scope, entry, head, began)
        refused = None if judged is PASSED else judged
        self._busy += 1
        try:
            await (refused or self._app)(scope, receive, guarded)
        finally:
            self._busy -= 1
            self.metrics.answered(entry.path if entry else "other", status, time.perf_counter() - began)

    def passes(self, scope: Scope, method: str, path: str) -> bool:
        """Whether a request that need not reach the application is let in, for whomever it may speak.

        What is found is kept in the scope, so that a request that goes on as usual is judged only once.
        """
        asked = {**scope, "method": method, "path": path}
        refused = self._refusal(asked, self._access.find(method, path), _head(asked), time.perf_counter())
        scope["judged"], scope["caller"] = refused or PASSED, asked.get("caller", ANYONE)
        return refused is None and not scope["caller"].bound

    def _refusal(self, scope: Scope, entry: Entry | None, head: Head, now_s: float) -> Response | None:
        """What ends the request here; otherwise the caller is in the scope, and it goes on."""
        if head.hosts > 1 or (not head.hosts and scope["http_version"] != "1.0"):
            return problem(400, "a request names its host once", "send one header: Host")
        if not self._doors.any_host and head.hosts and _name(head.host) not in LOOPBACK:
            return problem(421, "this service answers only to loopback names", "ask http://127.0.0.1 instead")
        if scope["method"] == "OPTIONS" and head.origin and head.asks_method:
            return self._preflight(scope["path"], head)
        if entry is not None and entry.scope == "open":
            scope["caller"] = ANYONE
            return None
        address = self._address(scope, head)
        caller = self._caller(head, address, now_s)
        if isinstance(caller, Response):
            return caller
        if wait_s := self._wait_s(caller, address, now_s):
            return wait(429, "more was asked than this caller may", wait_s)
        if entry is None:
            return self._unknown(scope["path"])
        if not caller.may(entry.scope):
            hint = f"this key has the scope {caller.scope}; the route asks for {entry.scope}"
            return problem(403, "the key shown may not ask this", hint)
        late = self._late(now_s)
        if (late or self._busy >= self._doors.limits.at_once) and not entry.vital:
            return wait(503, "too many requests are in work", BUSY_S)
        scope["caller"] = caller
        return None

    def has_room(self) -> bool:
        """Whether one more request may be worked on now."""
        return not self._late(time.perf_counter()) and self._busy < self._doors.limits.at_once

    def _late(self, now_s: float) -> bool:
        """Whether requests that came together have been worked on for TURN_S: the rest must come again.

        Without this, what is answered at once is never too many at once, and with hundreds of connections
        health and everything else that needs the loop's next turn would wait for seconds.
        """
        if self._turn_s is None:
            self._turn_s = now_s
            asyncio.get_running_loop().call_soon(self._next_turn)
        return now_s - self._turn_s > TURN_S

    def _next_turn(self) -> None:
        self._turn_s = None

    def _caller(self, head: Head, address: str, now_s: float) -> Caller | Response:
        """Who asks, or why nobody may."""
        keys = self._doors.keys
        if head.shown and not keys.empty:
            if blocked_s := self._guesses.blocked_s(address, now_s):
                return wait(429, "too many wrong keys came from this address", blocked_s)
            scheme, _, shown = head.shown.partition(b" ")
            found = keys.find(shown.strip()) if scheme.lower() == b"bearer" else "wrong"
            if isinstance(found, Caller):
                return found
            if found == "wrong":
                self._guesses.wrong(address, now_s)
            return self._stranger("the key shown is not, or no longer, a key of this service", address, now_s)
        if self._doors.needed:
            return self._stranger("this needs the service's key", address, now_s)
        if head.origin and not _same(head.origin, head.host) and head.origin not in self._doors.origins:
            hint = "name the origin in the setting `origins`"
            return problem(403, "pages of another origin are not answered without a key", hint)
        return LOCAL

    def _stranger(self, detail: str, address: str, now_s: float) -> Response:
        """A 401, or a 429 to who asks for it too often."""
        if wait_s := self._addresses.take(address, now_s):
            return wait(429, "too much was asked without a key", wait_s)
        hint = "send the header: Authorization: Bearer <key>"
        return problem(401, detail, hint, headers={"www-authenticate": "Bearer"})

    def _wait_s(self, caller: Caller, address: str, now_s: float) -> float:
        """0.0 when this caller may ask now."""
        if caller is LOCAL:
            return 0.0
        if not caller.bound:
            return self._keys.take(caller.key_id, now_s)
        own = f"{caller.key_id} {caller.session_id}"
        return self._addresses.take(address, now_s) or self._sessions.take(own, now_s)

    def _address(self, scope: Scope, head: Head) -> str:
        """Whose requests these are: the peer's, or what our own proxy says it saw."""
        client = scope.get("client")
        peer = str(client[0]) if client else ""
        if head.forwarded and peer == self._doors.limits.proxy:
            peer = head.forwarded.rpartition(b",")[2].strip()[:64].decode("latin-1")
        return whose(peer)

    def _preflight(self, path: str, head: Head) -> Response:
        """A browser asks whether a page of another origin may ask; only browser routes may be."""
        method = head.asks_method.decode("latin-1")
        entry = self._access.find(method, path)
        if entry is None or entry.scope != "browser" or head.origin not in self._doors.origins:
            return problem(403, "pages of this origin may not ask this", "see the setting `origins`")
        headers = {
            "access-control-allow-methods": method,
            "access-control-allow-headers": "authorization, content-type, idempotency-key",
            "access-control-max-age": str(PREFLIGHT_S),
        }
        return Response(status_code=204, headers=headers)

    def _added(self, entry: Entry | None, head: Head) -> Pairs:
        """Headers of the answer beside its own."""
        if head.origin and head.origin in self._doors.origins:
            asked = self._is_browser(entry, head)
            if asked:
                return [
                    *_SAFE,
                    (b"cross-origin-resource-policy", b"cross-origin"),
                    (b"cache-control", b"no-store"),
                    (b"access-control-allow-origin", head.origin),
                    (b"access-control-expose-headers", b"retry-after"),
                    (b"vary", b"Origin"),
                ]
        return _FILE if entry is not None and entry.path == "/static" else ANSWER

    @staticmethod
    def _is_browser(entry: Entry | None, head: Head) -> bool:
        return bool(head.asks_method) if entry is None else entry.scope == "browser"

    def _unknown(self, path: str) -> Response:
        hint = "the routes are listed at /openapi.json"
        methods = self._access.methods(path)
        if not methods:
            return problem(404, "no such route", hint)
        return problem(405, "this method is not served here", hint, headers={"allow": ", ".join(methods)})


def _head(scope: Scope) -> Head:
    head = Head()
    for name, value in scope["headers"]:
        if name == b"host":
            head.hosts += 1
            head.host = value
        elif name == b"authorization":
            head.shown = value
        elif name == b"origin":
            head.origin = value
        elif name == b"access-control-request-method":
            head.asks_method = value
        elif name == b"x-forwarded-for":
            head.forwarded = value
    return head


def _same(origin: bytes, host: bytes) -> bool:
    return origin.partition(b"://")[2] == host


def _name(host: bytes) -> bytes:
    """The host without its port.

    >>> _name(b"[::1]:8000"), _name(b"localhost:80"), _name(b"127.0.0.1")
    (b'::1', b'localhost', b'127.0.0.1')
    """
    if host.startswith(b"["):
        return host[1:].partition(b"]")[0]
    return host.partition(b":")[0].lower()


def _joined(headers: Pairs, added: Pairs) -> Pairs:
    """The answer's own headers count more than those added."""
    for name, _ in headers:
        if name == b"cache-control":
            return [*headers, *(pair for pair in added if pair[0] != name)]
    return [*headers, *added]
