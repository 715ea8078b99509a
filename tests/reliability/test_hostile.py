"""Whatever is sent to whatever route: a short refusal in words, nothing repeated, nothing changed."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

import corpus
import httpx
import pytest
from generated import put
from served import Running, grocery, keep, publish, repeat, running

from intently.serving.http.keys import KeyBook
from intently.serving.http.tokens import mint
from intently.store import SqliteStore

OWN = "canary-key-of-a-test-7Q3fXkP1"
HOST = b"Host: localhost\r\n"
SECRET = "canary-secret-8Zt5"

REFUSED: dict[str, bytes] = {
    "no request": b"hello\r\n\r\n",
    "noise": bytes(range(256)) + b"\r\n\r\n",
    "a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "an unknown version": b"GET /healthz HTTP/9.9\r\n" + HOST + b"\r\n",
    "an unknown method": b"BREW /healthz HTTP/1.1\r\n" + HOST + b"\r\n",
    "a method in small letters": b"get /healthz HTTP/1.1\r\n" + HOST + b"\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /healthz HTTP/1.1\r\n" + HOST + b"Host: evil.example\r\n\r\n",
    "a strange host": b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "a header without a colon": b"GET /healthz HTTP/1.1\r\n" + HOST + b"Broken\r\n\r\n",
    "a space before the colon": b"GET /healthz HTTP/1.1\r\n" + HOST + b"A : b\r\n\r\n",
    "a folded header": b"GET /healthz HTTP/1.1\r\n" + HOST + b"A: b\r\n c\r\n\r\n",
    "a NUL in a header": b"GET /healthz HTTP/1.1\r\n" + HOST + b"A: \x00\r\n\r\n",
    "a NUL in a header's name": b"GET /healthz HTTP/1.1\r\n" + HOST + b"A\x00: b\r\n\r\n",
    "a lone CR": b"GET /healthz HTTP/1.1\r\n" + HOST + b"A: b\rC: d\r\n\r\n",
    "a space in the path": b"GET /health z HTTP/1.1\r\n" + HOST + b"\r\n",
    "a path that is no ASCII": b"GET /\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n",
    "a connection to elsewhere": b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    "a star": b"GET * HTTP/1.1\r\n" + HOST + b"\r\n",
    "a long path": b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a long header": b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"b" * 200_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n" * 20_000 + b"\r\n",
    "a length below zero": b"POST /v1/events HTTP/1.1\r\n" + HOST + b"Content-Length: -5\r\n\r\n{}",
    "a length that is no number": b"POST /v1/events HTTP/1.1\r\n" + HOST + b"Content-Length: 2x\r\n\r\n{}",
    "a length in hex": b"POST /v1/events HTTP/1.1\r\n" + HOST + b"Content-Length: 0x2\r\n\r\n{}",
    "a length with a plus": b"POST /v1/events HTTP/1.1\r\n" + HOST + b"Content-Length: +2\r\n\r\n{}",
    "a length beyond 2 to the 64": (
        b"POST /v1/events HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999999999999\r\n\r\n{}"
    ),
}
BOTH = b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
SMUGGLING: dict[str, bytes] = {
    "length and chunks": HOST + BOTH % 4 + b"\r\n0\r\n\r\n" + SMUGGLED,
    "chunks and length": HOST
    + b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "two lengths": HOST + b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n" + SMUGGLED,
    "a list of lengths": HOST + b"Content-Length: 0, 44\r\n\r\n" + SMUGGLED,
    "chunks by another name": HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunks with a tab": HOST
    + b"Transfer-Encoding:\tchunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "chunks, spaced": HOST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunks, then identity": HOST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunks twice": (
        HOST
        + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
        + SMUGGLED
    ),
    "chunks on a folded line": HOST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a chunk's size that is no hex": HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n" + SMUGGLED,
    "a chunk's size below zero": HOST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + SMUGGLED,
    "a chunk's size beyond all": (
        HOST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n0\r\n\r\n" + SMUGGLED
    ),
    "a chunk longer than it says": HOST
    + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n"
    + SMUGGLED,
    "a chunk without its end": HOST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}0\r\n\r\n" + SMUGGLED,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place, shop = tmp_path_factory.mktemp("hostile"), grocery()
    keep(place, shop)
    publish(place, shop, repeat(shop))
    return place


@pytest.fixture(scope="module")
def service(home: Path) -> Iterator[Running]:
    with running(home, env={"INTENTLY_KEY": OWN}) as found:
        yield found


@pytest.fixture(scope="module")
def asked(service: Running) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {OWN}"}
    with httpx.Client(base_url=service.address, timeout=60, headers=headers, trust_env=False) as client:
        yield client


def state(asked: httpx.Client, home: Path) -> dict[str, Any]:
    """Everything that a bad request must leave alone."""
    shop = asked.get("/v1/shop").json()
    with SqliteStore(home / "store.db") as store:
        counts = store.counts()
    rules = asked.get("/v1/rules").text
    models = asked.get("/v1/models").text
    kept = {name: shop[name] for name in ("n_users", "n_items", "n_events", "model_version")}
    passing = (".lock", "-journal", "-wal", "-shm")  # what comes and goes beside a database
    files = sorted(path.name for path in home.iterdir() if not path.name.endswith(passing))
    return kept | {"store": counts, "rules": rules, "models": models, "files": files}


def test_bad_requests_to_every_route_are_refused_in_words_and_change_nothing(
    asked: httpx.Client, home: Path
) -> None:
    every = corpus.cases(asked.get("/openapi.json").json())
    few = [case for number, case in enumerate(every) if not case.deep or number % 9 == 0]
    assert len(few) >= 400  # benchmarks/hostile.py sends all of them
    before, wrong = state(asked, home), []
    for case in few:
        answer = asked.request(case.method, case.path, content=case.body, headers=case.headers)
        if said := complaint(case, answer):
            wrong.append((case.name, answer.status_code, said, answer.text[:200]))
    assert not wrong, (len(wrong), wrong[:20])
    assert state(asked, home) == before


def test_generated_requests_never_make_the_service_fail(service: Running, asked: httpx.Client) -> None:
    told = put(service.address, {"authorization": f"Bearer {OWN}"}, each=2)  # 1,500: benchmarks/hostile.py
    assert told.sent >= 40
    assert told.wrong == []
    assert len(told.by_status) >= 3
    assert asked.get("/healthz").status_code == 200


def complaint(case: corpus.Case, answer: httpx.Response) -> str:
    """What is not as it should be."""
    if answer.status_code >= 500:
        return "failed"
    if answer.status_code < 400:
        return "accepted" if case.refused else ""
    if len(answer.content) > 4096:
        return "too long"
    if corpus.CANARY in answer.text.replace("\\", "") and "filter" not in case.name:
        return "repeats what was sent"
    if case.method == "HEAD":
        return ""
    if answer.headers["content-type"] != "application/problem+json":
        return "no problem"
    told = answer.json()
    return "" if told["detail"] and told["status"] == answer.status_code else "says nothing"


def answers(service: Running, sent: bytes) -> list[tuple[int, bytes]]:
    """Every answer to what is sent on one connection, until it is closed or nothing more comes."""
    found: list[tuple[int, bytes]] = []
    with socket.create_connection(("127.0.0.1", service.port), timeout=1) as link:
        try:
            link.sendall(sent)
            while len(found) < 9:
                answer = HTTPResponse(link)
                answer.fp = link.makefile("rb", 0)
                answer.begin()
                found.append((answer.status, answer.read()))
        except (OSError, HTTPException):
            return found
    return found


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_request_gets_a_short_4xx_at_most(service: Running, name: str) -> None:
    for status, body in answers(service, REFUSED[name])[:1]:
        assert 400 <= status < 500
        assert len(body) <= 4096
        assert b'"detail"' in body


@pytest.mark.parametrize("name", SMUGGLING)
def test_no_request_hides_in_the_body_of_another(service: Running, name: str) -> None:
    key = f"POST /v1/events HTTP/1.1\r\nAuthorization: Bearer {OWN}\r\nContent-Type: application/json\r\n"
    told = answers(service, key.encode() + SMUGGLING[name])
    assert len(told) <= 1, told
    assert all(400 <= status < 500 for status, _ in told)


def test_requests_sent_ahead_are_answered_one_by_one(service: Running) -> None:
    one = b"GET /healthz HTTP/1.1\r\n" + HOST
    told = answers(service, (one + b"\r\n") * 7 + one + b"Connection: close\r\n\r\n")
    assert [status for status, _ in told] == [200] * 8


def test_no_secret_is_written_to_logs_errors_or_figures(
    service: Running, asked: httpx.Client, home: Path
) -> None:
    """Whoever shows, mistypes or misplaces a secret finds it nowhere again."""
    server, _ = KeyBook(home).make("server", 1, time.time())
    browser, _ = KeyBook(home).make("browser", 1, time.time())
    token = mint(browser, "s1", SECRET, expires_s=time.time() + 60)
    secrets = [OWN, server, browser, token, SECRET, *(key.rpartition("_")[2] for key in (server, browser))]
    said: list[str] = []
    for secret in [OWN, server, browser, token, SECRET, SECRET + "\xff"]:
        raw = secret.encode("latin-1")
        headers: list[dict[str, bytes]] = [
            {"authorization": b"Bearer " + raw},
            {"authorization": b"Basic " + raw},
            {"authorization": raw},
            {"x-api-key": raw},
            {"cookie": b"key=" + raw},
            {"content-type": raw},
            {"origin": b"https://" + raw},
        ]
        for given in headers:
            for path in ("/v1/shop", "/v1/nothing"):
                said.append(service.client.get(path, headers=given).text)
        for path in (f"/v1/{secret}", f"/v1/shop?key={secret}", f"/v1/similar/{secret}", f"/{secret}"):
            said.append(asked.get(path).text)
        for body in ({secret: 1}, {"user_id": {"a": secret}}, {"n": secret}, {"scenario": secret}):
            said.append(asked.post("/v1/recommendations", json=body).text)
    said.append(asked.get("/metrics").text)
    said.append((home / "serve.log").read_text())
    said.append((home / "keys.json").read_text())
    assert [secret for secret in secrets if any(secret in text for text in said)] == []
    listed = asked.get("/metrics").text
    assert 'status="500"' not in listed
