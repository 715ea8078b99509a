"""Who may speak to the service, and how it ends."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from served import Running, running
from starlette.requests import Request

from intently.config import Settings
from intently.errors import ConfigError
from intently.serving.http.body import read_json
from intently.serving.http.connection import Connection
from intently.serving.http.problems import RefusedError
from intently.serving.server import is_loopback, own_key, serve

KEY = "a-key-of-a-test-0123456789"


def test_answers_carry_the_headers_that_keep_a_browser_safe(served: Running) -> None:
    for path in ("/", "/static/page.js", "/v1/shop", "/v1/nothing"):
        headers = served.client.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers
    assert served.client.get("/v1/shop").headers["cache-control"] == "no-store"


def test_a_stranger_name_is_not_answered_on_loopback(served: Running) -> None:
    for host, status in (("evil.example", 421), (f"localhost:{served.port}", 200), ("[::1]:80", 200)):
        assert served.client.get("/v1/shop", headers={"host": host}).status_code == status


def test_no_page_of_another_origin_is_answered_on_loopback(served: Running) -> None:
    for origin, status in ((served.address, 200), ("https://evil.example", 403), ("null", 403)):
        told = served.client.get("/v1/shop", headers={"origin": origin})
        assert told.status_code == status, origin
        assert "access-control-allow-origin" not in told.headers


def test_with_a_key_only_its_bearer_is_answered(simple_home: Path) -> None:
    with running(simple_home, env={"INTENTLY_KEY": KEY}) as service:
        asked = service.client.get
        for given in ({}, {"authorization": "Bearer wrong"}, {"authorization": KEY}, {"authorization": "é"}):
            raw = {name: value.encode("latin-1") for name, value in given.items()}
            for path in ("/v1/shop", "/openapi.json", "/v1/nothing"):
                answer = asked(path, headers=raw)
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"] == "Bearer"
                assert KEY not in answer.text
        assert asked("/v1/shop", headers={"authorization": f"Bearer {KEY}"}).status_code == 200
        assert asked("/healthz").status_code == asked("/").status_code == 200
    assert KEY not in (simple_home / "serve.log").read_text()


def test_an_open_address_gets_a_key_that_is_printed_once(simple_home: Path) -> None:
    for _ in range(2):
        with running(simple_home, "--host", "0.0.0.0", env={"INTENTLY_KEY": ""}) as service:
            log = (simple_home / "serve.log").read_text()
            (key,) = [line.strip() for line in log.splitlines() if line.startswith("    ")]
            local = f"http://127.0.0.1:{service.port}/v1/shop"
            assert httpx.get(local, trust_env=False).status_code == 401
            told = httpx.get(local, headers={"authorization": f"Bearer {key}"}, trust_env=False)
            assert told.status_code == 200
    assert key not in (simple_home / "keys.json").read_text()


def test_a_short_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTENTLY_KEY", "short")
    with pytest.raises(ConfigError, match="at least 16 printable"):
        own_key()
    monkeypatch.delenv("INTENTLY_KEY")
    assert own_key() == ""
    assert is_loopback("::1")
    assert not is_loopback("192.168.0.1")


def test_a_taken_port_is_said_in_words(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        settings = Settings(home=tmp_path, port=other.getsockname()[1])
        with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1 port"):
            serve(settings)


async def hello(scope: dict[str, Any], _receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


@pytest.mark.parametrize(("given", "taken"), [({}, "1"), ({"OPENBLAS_NUM_THREADS": "2"}, "2")])
def test_an_answer_is_calculated_on_its_own_thread_unless_told_otherwise(
    tmp_path: Path, given: dict[str, str], taken: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        program = (
            "import os, sys\nfrom pathlib import Path\nfrom intently.cli.service import serve\n"
            "from intently.errors import ConfigError\nearly = 'numpy' in sys.modules\n"
            f"try: serve('127.0.0.1', {other.getsockname()[1]}, Path({str(tmp_path)!r}), None, None)\n"
            "except ConfigError: print(early, 'numpy' in sys.modules, os.environ['OPENBLAS_NUM_THREADS'])\n"
        )
        env = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"} | given
        done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True", taken], done.stderr


def test_a_half_sent_head_is_closed_and_a_whole_one_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intently.serving.http.connection.HEAD_S", 0.2)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(hello, http=Connection, ws="none", lifespan="off", log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        with socket.create_connection(listener.getsockname(), timeout=20) as link:
            link.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert link.recv(100).startswith(b"HTTP/1.1 200")
            link.sendall(b"GET / HTTP/1.1\r\nHost: loc")
            assert link.recv(100) == b""
        with socket.create_connection(listener.getsockname(), timeout=20) as link:
            assert link.recv(100) == b""
    finally:
        server.should_exit = True
        thread.join()


def test_a_body_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intently.serving.http.body.BODY_S", 0.05)
    headers = [(b"content-type", b"application/json")]

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {}

    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    with pytest.raises(RefusedError, match="status 408"):
        asyncio.run(read_json(request))


def test_a_home_without_a_shop_points_to_the_demonstration(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "store.db").touch()
    with running(tmp_path):
        said = (tmp_path / "serve.log").read_text()
    assert f"intently serve --home {tmp_path / 'demo'}" in said
    with running(tmp_path):  # the store is there now: nothing to say
        assert (tmp_path / "serve.log").read_text() == said
