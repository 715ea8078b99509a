"""What the gate costs a request: CPU microseconds from the request's head to the application and back.

    python benchmarks/gate_cost.py

An application that answers at once is asked through the gate and without it, in one process and without
sockets; the difference is the gate. Cases: a loopback service without keys, a server key among 1, 10 and
100 keys, a browser's session token, and a wrong key. The same script times one hit of the package
`limits` beside our token buckets, which is why we have our own.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from intently.config import Limits
from intently.serving.http.access import Access
from intently.serving.http.gate import Doors, Gate
from intently.serving.http.keyring import KeyRing
from intently.serving.http.keys import KeyBook
from intently.serving.http.limits import Buckets
from intently.serving.http.metrics import Metrics
from intently.serving.http.openapi import scoped
from intently.serving.http.tokens import mint
from record import record

N = 20_000
FREE = Limits(session_per_s=1e9, address_per_s=1e9, key_per_s=1e9)


async def answers(scope: Any, _receive: Any, send: Any) -> None:
    """As little as an application can do."""
    headers = [(b"content-length", b"2"), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


def routed() -> APIRouter:
    """Thirty routes, the asked one last."""
    router = APIRouter(prefix="/v1")
    for number in range(28):
        router.add_api_route(f"/r{number}/{{name:path}}", lambda: Response(), **scoped("server"))
    router.add_api_route("/recommendations", lambda: Response(), methods=["POST"], **scoped("browser"))
    router.add_api_route("/users/{name:path}/history", lambda: Response(), **scoped("server"))
    return router


def scope_of(shown: str, method: str = "POST", path: str = "/v1/recommendations") -> dict[str, Any]:
    """A request as uvicorn hands it on."""
    headers = [
        (b"host", b"127.0.0.1:8000"),
        (b"user-agent", b"shop/1.0"),
        (b"accept", b"*/*"),
        (b"content-type", b"application/json"),
        (b"content-length", b"40"),
    ]
    if shown:
        headers.append((b"authorization", f"Bearer {shown}".encode()))
    return {
        "type": "http",
        "method": method,
        "path": path,
        "headers": headers,
        "http_version": "1.1",
        "client": ("127.0.0.1", 40000),
        "state": {},
    }


async def asked(app: Any, scope: dict[str, Any]) -> None:
    """N requests, one after the other."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: Any) -> None:
        return None

    for _ in range(N):
        await app(dict(scope), receive, send)


def cpu_us(app: Any, scope: dict[str, Any]) -> float:
    """The least of three runs: what other work on the machine adds is not the gate's."""
    runs = []
    for _ in range(3):
        began = time.process_time()
        asyncio.run(asked(app, scope))
        runs.append((time.process_time() - began) / N * 1e6)
    return min(runs)


def hit_us(hit: Callable[[], Any]) -> float:
    """One call."""
    began = time.process_time()
    for _ in range(N):
        hit()
    return (time.process_time() - began) / N * 1e6


def main() -> None:
    """Every case once."""
    bare = cpu_us(answers, scope_of(""))
    row: dict[str, Any] = {"application_alone_us": round(bare, 1)}
    with tempfile.TemporaryDirectory() as folder:
        home, now_s = Path(folder), time.time()
        access = Access(routed().routes, {})

        def gate(needed: bool) -> Gate:
            return Gate(answers, Metrics(), access, Doors(KeyRing(home), needed, limits=FREE))

        row["loopback_us"] = round(cpu_us(gate(False), scope_of("")) - bare, 1)
        book = KeyBook(home)
        key = book.make("server", 1, now_s)[0]
        browser = book.make("browser", 1, now_s)[0]
        for n in (2, 10, 100):
            while len(book.read().keys) < n:
                book.make("server", 1, now_s)
            row[f"key_of_{n}_us"] = round(cpu_us(gate(True), scope_of(key)) - bare, 1)
        token = mint(browser, "s1", "u1", expires_s=now_s + 3600)
        row["session_token_us"] = round(cpu_us(gate(True), scope_of(token)) - bare, 1)
        path = "/v1/users/u1/history"
        row["last_pattern_us"] = round(cpu_us(gate(True), scope_of(key, "GET", path)) - bare, 1)
    buckets = Buckets(1e9)
    row["bucket_us"] = round(hit_us(lambda: buckets.take("a", time.perf_counter())), 2)
    row |= others()
    print(row)
    record("gate_cost", row)


def others() -> dict[str, float]:
    """One hit of the package `limits`, where it is installed."""
    try:
        from limits import parse, storage, strategies
    except ModuleNotFoundError:
        return {}
    rate, kept = parse("1000000000/second"), storage.MemoryStorage()
    fixed = strategies.FixedWindowRateLimiter(kept)
    sliding = strategies.SlidingWindowCounterRateLimiter(kept)
    return {
        "limits_fixed_window_us": round(hit_us(lambda: fixed.hit(rate, "a")), 2),
        "limits_sliding_window_us": round(hit_us(lambda: sliding.hit(rate, "a")), 2),
    }


if __name__ == "__main__":
    main()
