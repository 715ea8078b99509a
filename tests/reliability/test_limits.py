"""Too much, too slow, too large, too often: each has its answer, and everyone else is served meanwhile."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from served import Running, running

from intently.config import load_settings
from intently.errors import ConfigError
from intently.serving.http import connection as limits_of
from intently.serving.http import limits
from intently.serving.http.access import Access
from intently.serving.http.gate import Doors, Gate
from intently.serving.http.keyring import KeyRing
from intently.serving.http.keys import KeyBook
from intently.serving.http.limits import Buckets, Guesses
from intently.serving.http.metrics import Metrics
from intently.serving.http.openapi import scoped
from intently.serving.http.tokens import mint

SHOP = "https://shop.example"
SETTINGS = f"""
require_key = true
origins = ["{SHOP}"]

[limits]
session_per_s = 2
at_once = 3
connections = 24
proxy = "127.0.0.1"
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("limits")
    (place / "intently.toml").write_text(SETTINGS)
    return place


@pytest.fixture(scope="module")
def key(home: Path) -> str:
    return KeyBook(home).make("admin", 1, time.time())[0]


@pytest.fixture(scope="module")
def service(home: Path, key: str) -> Iterator[Running]:
    with running(home, "--config", str(home / "intently.toml"), env={"INTENTLY_KEY": ""}) as found:
        yield found


def who(key: str, address: str = "10.0.0.1") -> dict[str, str]:
    return {"authorization": f"Bearer {key}", "x-forwarded-for": address}


def raw(service: Running, head: str, body: bytes = b"") -> socket.socket:
    link = socket.create_connection(("127.0.0.1", service.port), timeout=30)
    link.sendall(head.replace("\n", "\r\n").encode() + body)
    return link


def status(link: socket.socket) -> int:
    """Of the next answer, which is read to its end."""
    answer = HTTPResponse(link)
    answer.begin()
    answer.read()
    return answer.status


def memory_mb(service: Running, name: str) -> float:
    text = Path(f"/proc/{service.process.pid}/status").read_text()
    return float(text.partition(f"{name}:")[2].split()[0]) / 1024


def test_an_address_that_guesses_keys_is_blocked_even_when_it_guesses_right(
    service: Running, key: str
) -> None:
    get = service.client.get
    told = [get("/v1/shop", headers=who(f"wrong-{n}", "10.6.6.6")).status_code for n in range(12)]
    assert told == [401] * limits.MAX_WRONG + [429] * 2
    right = get("/v1/shop", headers=who(key, "10.6.6.6"))
    assert right.status_code == 429
    assert 1 <= int(right.headers["retry-after"]) <= limits.BLOCK_S
    assert key not in right.text
    assert get("/healthz", headers=who("wrong", "10.6.6.6")).status_code == 200
    assert get("/v1/shop", headers=who(key, "10.6.6.7")).status_code == 200


def test_each_block_is_longer_and_ends() -> None:
    guesses, now_s, waits = Guesses(), 1000.0, []
    for _ in range(10):
        for _ in range(limits.MAX_WRONG):
            assert guesses.blocked_s("a", now_s) == 0.0
            guesses.wrong("a", now_s)
        waits.append(guesses.blocked_s("a", now_s))
        now_s += waits[-1]
    assert waits == [15, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert guesses.blocked_s("b", now_s) == 0.0
    for _ in range(limits.MAX_WRONG * 3):  # now and then a mistake is no guessing
        now_s += limits.WINDOW_S
        guesses.wrong("c", now_s)
        assert guesses.blocked_s("c", now_s) == 0.0


def test_what_limits_hold_in_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_NAMES", 100)
    buckets, guesses = Buckets(1.0), Guesses()
    for number in range(1000):
        buckets.take(str(number), 0.0)
        guesses.wrong(str(number), 0.0)
    assert len(buckets._held) == len(guesses._held) == 100


def test_one_session_cannot_ask_without_end_and_others_are_served(
    service: Running, home: Path, key: str
) -> None:
    browser = KeyBook(home).make("browser", 1, time.time())[0]
    busy, calm = (mint(browser, session, expires_s=time.time() + 600) for session in ("s1", "s2"))
    threading.Event().wait(0.6)
    post = service.client.post
    answers = [post("/v1/recommendations", json={}, headers=who(busy)) for _ in range(20)]
    told = {answer.status_code for answer in answers}
    assert told == {200, 429}
    late = next(answer for answer in answers if answer.status_code == 429)
    assert late.headers["retry-after"] == "1"
    assert late.json()["hint"] == "ask again in 1 s"
    assert post("/v1/recommendations", json={}, headers=who(calm)).status_code == 200
    assert post("/v1/recommendations", json={}, headers=who(key)).status_code == 200


def test_more_work_than_can_be_done_gets_503_and_health_still_answers(service: Running, key: str) -> None:
    head = (
        f"POST /v1/recommendations HTTP/1.1\nHost: localhost\nAuthorization: Bearer {key}\n"
        "Content-Type: application/json\nContent-Length: 2\n\n"
    )
    with ExitStack() as stack:
        slow = [stack.enter_context(raw(service, head)) for _ in range(3)]
        for _ in range(200):
            answer = service.client.get("/v1/shop", headers=who(key))
            if answer.status_code == 503:
                break
            threading.Event().wait(0.02)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        for path in ("/healthz", "/metrics"):
            assert service.client.get(path, headers=who(key)).status_code == 200
        for link in slow:
            link.sendall(b"{}")
        assert [status(link) for link in slow] == [200] * 3
    assert service.client.get("/v1/shop", headers=who(key)).status_code == 200


def test_what_comes_together_is_worked_on_for_so_long_and_the_rest_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("intently.serving.http.gate.TURN_S", -1.0)
    router = APIRouter()
    router.add_api_route("/v1/a", lambda: None, **scoped("server"))
    router.add_api_route("/metrics", lambda: None, **scoped("server"))
    gate = Gate(hello, Metrics(), Access(router.routes, {}, ("/metrics",)), Doors(KeyRing(tmp_path)))

    async def told(path: str) -> int:
        said: list[int] = []

        async def send(message: Any) -> None:
            said.append(message.get("status", 0))

        scope = {"type": "http", "method": "GET", "path": path, "http_version": "1.1"}
        await gate(scope | {"headers": [(b"host", b"localhost")]}, hello, send)
        return said[0]

    async def together() -> list[int]:
        gate._turn_s = time.perf_counter()
        first = [await told("/v1/a"), await told("/metrics")]
        gate._next_turn()
        monkeypatch.undo()
        return [*first, await told("/v1/a")]

    assert asyncio.run(together()) == [503, 200, 200]


async def hello(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})


def test_half_open_connections_make_room_for_those_that_ask(service: Running, key: str) -> None:
    with ExitStack() as stack:
        half = [stack.enter_context(raw(service, "GET / HTT")) for _ in range(40)]
        with httpx.Client(base_url=service.address, timeout=30, trust_env=False) as client:
            assert client.get("/healthz").status_code == 200
            assert client.get("/v1/shop", headers=who(key)).status_code == 200
        for link in half[:10]:
            assert link.recv(10) == b""


def test_a_body_of_60_mb_is_refused_without_being_held(service: Running, key: str) -> None:
    before_mb, part = memory_mb(service, "VmRSS"), b" " * 1_000_000
    length = f"POST /v1/events HTTP/1.1\nHost: localhost\nAuthorization: Bearer {key}\n"
    for how, size in (("Content-Length: 60000000", b""), ("Transfer-Encoding: chunked", b"f4240\r\n")):
        with raw(service, f"{length}Content-Type: application/json\n{how}\n\n") as link:
            for _ in range(60):
                link.sendall(size + part + (b"\r\n" if size else b""))
            link.sendall(b"0\r\n\r\n" if size else b"")
            assert status(link) == 413
            link.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert status(link) == 200  # the connection goes on, in step
    assert memory_mb(service, "VmHWM") - before_mb <= 20


def test_an_answer_given_before_the_body_does_not_put_a_connection_out_of_step(service: Running) -> None:
    head = "POST /v1/events HTTP/1.1\nHost: localhost\nContent-Length: 80\n"
    inner = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".ljust(80)
    with raw(service, head + "X-Forwarded-For: 10.1.1.1\n\n") as link:
        assert status(link) == 401
        link.sendall(inner + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert status(link) == 200
    with raw(service, head + "X-Forwarded-For: 10.1.1.2\nExpect: 100-continue\n\n") as link:
        assert status(link) == 401
        link.settimeout(limits_of.DRAIN_S / 2)  # at once, not when the rest is given up
        assert link.recv(4096) == b""  # the body may never come


def test_only_pages_of_the_shop_may_ask_from_a_browser(service: Running) -> None:
    def preflight(path: str, origin: str, method: str = "POST") -> httpx.Response:
        headers = {"origin": origin, "access-control-request-method": method}
        return service.client.options(path, headers=headers)

    for path in ("/v1/recommendations", "/v1/events"):
        told = preflight(path, SHOP)
        assert told.status_code == 204
        assert told.headers["access-control-allow-origin"] == SHOP
        assert "authorization" in told.headers["access-control-allow-headers"]
        assert told.headers["vary"] == "Origin"
    for path, origin, method in (
        ("/v1/recommendations", "https://evil.example", "POST"),
        ("/v1/recommendations", "null", "POST"),
        ("/v1/recommendations", SHOP + ".evil.example", "POST"),
        ("/v1/recommendations", SHOP, "DELETE"),
        ("/v1/predict", SHOP, "POST"),
        ("/v1/nothing", SHOP, "GET"),
    ):
        told = preflight(path, origin, method)
        assert told.status_code == 403, (path, origin)
    answer = service.client.get("/v1/shop", headers={"origin": SHOP, "x-forwarded-for": "10.2.2.2"})
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    "origin", ["*", "https://shop.example/", "shop.example", "https://*.example", "null"]
)
def test_an_origin_that_no_browser_sends_is_refused_in_the_settings(tmp_path: Path, origin: str) -> None:
    path = tmp_path / "intently.toml"
    path.write_text(f'origins = ["{origin}"]')
    with pytest.raises(ConfigError, match="origins as a browser sends them"):
        load_settings(path)
