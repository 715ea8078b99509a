"""What every request passes first: the right host, a key where one is needed, headers, counting.

A service on loopback needs no key, but answers only to loopback names: a page of a stranger that
points its own name here (DNS rebinding) is refused.
"""

from __future__ import annotations

import hmac
import time
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from intently.serving.http.metrics import Metrics
from intently.serving.http.problems import problem

OPEN: Final = ("/", "/healthz", "/readyz", "/favicon.ico")
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

SECURITY_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_RAW_HEADERS: Final = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]


class Gate:
    """Wraps the application.

    key: what a bearer must show, '' for none. any_host: whether names other than loopback may be asked.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, key: str = "", any_host: bool = False) -> None:
        self._app = app
        self._metrics = metrics
        self._key = key.encode()
        self._any_host = any_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(message, scope["path"])
            await send(message)

        refused = self._refusal(scope)
        try:
            await (refused or self._app)(scope, receive, guarded)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.answered(route, status, time.perf_counter() - began)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._any_host and host and _name(host) not in LOOPBACK:
            return problem(421, "this service answers only to loopback names", "ask http://127.0.0.1 instead")
        if self._key and not _is_open(scope["path"]) and not self._may(headers):
            hint = "send the header: Authorization: Bearer <key>"
            return problem(401, "this needs the service's key", hint, headers={"www-authenticate": "Bearer"})
        return None

    def _may(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        shown = given.strip().encode("latin-1", "replace")
        return hmac.compare_digest(shown, self._key) and scheme.lower() == "bearer"


def _is_open(path: str) -> bool:
    return path in OPEN or path.startswith("/static/")


def _name(host: str) -> str:
    """The host without its port.

    >>> _name("[::1]:8000"), _name("localhost:80"), _name("127.0.0.1")
    ('::1', 'localhost', '127.0.0.1')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _add_headers(message: Message, path: str) -> None:
    message["headers"] = [*message["headers"], *_RAW_HEADERS]
    headers = MutableHeaders(raw=message["headers"])
    headers.setdefault("cache-control", "no-cache" if path.startswith("/static/") else "no-store")
