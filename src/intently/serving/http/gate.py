"""What every request passes first: the right host, a key where one is needed, headers, counting.

A service on loopback needs no key, but answers only to loopback names and no page of another origin: a
stranger's page that points its own name here (DNS rebinding), or asks from afar, is refused.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from intently.serving.http.access import Access, Entry
from intently.serving.http.keyring import KeyRing
from intently.serving.http.metrics import Metrics
from intently.serving.http.problems import problem
from intently.serving.shapes.caller import ANYONE, LOCAL, Caller

LOOPBACK: Final = frozenset({b"127.0.0.1", b"localhost", b"::1"})
PREFLIGHT_S: Final = 600

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
    whether names other than loopback may be asked. origins: of pages that may ask browser routes.
    """

    keys: KeyRing
    needed: bool = False
    any_host: bool = False
    origins: frozenset[bytes] = frozenset()


@dataclass(slots=True)
class Head:
    """The headers that the gate looks at; b'' where there is none."""

    hosts: int = 0
    host: bytes = b""
    origin: bytes = b""
    shown: bytes = b""
    asks_method: bytes = b""


class Gate:
    """Wraps the application; what `access` does not know is answered here."""

    def __init__(self, app: ASGIApp, metrics: Metrics, access: Access, doors: Doors) -> None:
        self._app = app
        self.metrics = metrics
        self._access = access
        self._doors = doors

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

        try:
            await (self._refusal(scope, entry, head) or self._app)(scope, receive, guarded)
        finally:
            self.metrics.answered(entry.path if entry else "other", status, time.perf_counter() - began)

    def passes(self, scope: Scope) -> bool:
        """Whether a request that never reaches the application is let in, for whomever it may speak."""
        entry = self._access.find(scope["method"], scope["path"])
        return self._refusal(scope, entry, _head(scope)) is None and not scope["caller"].bound

    def _refusal(self, scope: Scope, entry: Entry | None, head: Head) -> Response | None:
        """What ends the request here; otherwise the caller is in the scope, and it goes on."""
        if head.hosts > 1 or (not head.hosts and scope["http_version"] == "1.1"):
            return problem(400, "a request names its host once", "send one header: Host")
        if not self._doors.any_host and head.hosts and _name(head.host) not in LOOPBACK:
            return problem(421, "this service answers only to loopback names", "ask http://127.0.0.1 instead")
        if scope["method"] == "OPTIONS" and head.origin and head.asks_method:
            return self._preflight(scope["path"], head)
        if entry is not None and entry.scope == "open":
            scope["caller"] = ANYONE
            return None
        caller = self._caller(head)
        if isinstance(caller, Response):
            return caller
        if entry is None:
            return self._unknown(scope["path"])
        if not caller.may(entry.scope):
            hint = f"this key has the scope {caller.scope}; the route asks for {entry.scope}"
            return problem(403, "the key shown may not ask this", hint)
        scope["caller"] = caller
        return None

    def _caller(self, head: Head) -> Caller | Response:
        """Who asks, or why nobody may."""
        keys = self._doors.keys
        if head.shown and not keys.empty:
            scheme, _, shown = head.shown.partition(b" ")
            found = keys.find(shown.strip()) if scheme.lower() == b"bearer" else None
            return found or _unauthorised("the key shown is not, or no longer, a key of this service")
        if self._doors.needed:
            return _unauthorised("this needs the service's key")
        if head.origin and not _same(head.origin, head.host) and head.origin not in self._doors.origins:
            hint = "name the origin in the setting `origins`"
            return problem(403, "pages of another origin are not answered without a key", hint)
        return LOCAL

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
    return head


def _unauthorised(detail: str) -> Response:
    hint = "send the header: Authorization: Bearer <key>"
    return problem(401, detail, hint, headers={"www-authenticate": "Bearer"})


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
