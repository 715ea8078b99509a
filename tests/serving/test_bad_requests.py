"""Whatever is sent, the answer is a short, clear 4xx, and the service goes on."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
from served import Running

R, P, E = "/v1/recommendations", "/v1/predict", "/v1/events"
LONG = "x" * 900_000
EVENT = '{"user_id":"u1","item_id":"i1","event":"click"%s}'

BODIES: list[tuple[str, str | bytes, int]] = [
    # not JSON, or no JSON that can be meant
    (R, "", 400),
    (R, "   ", 400),
    (R, "{", 400),
    (R, "{'user_id': 'u1'}", 400),
    (R, '{"user_id": "u1",}', 400),
    (R, '{"user_id": NaN}', 400),
    (R, '{"n": Infinity}', 400),
    (R, '{"n": -Infinity}', 400),
    (R, '{"n": 1e400}', 400),
    (R, '{"n": ' + "9" * 400 + "}", 400),
    (R, '{"n": 0x10}', 400),
    (R, '{"n": 007}', 400),
    (R, '{"user_id": "\\ud800"}', 400),
    (R, '{"user_id": "\\udfff\\ud800"}', 400),
    (R, b'{"user_id": "\xed\xa0\x80"}', 400),
    (R, b'{"user_id": "\xff\xfe"}', 400),
    (R, b"\xef\xbb\xbf{}", 400),
    (R, '{"user_id": "u1"}'.encode("utf-16"), 400),
    (R, "[" * 100_000, 400),
    (R, '{"a":' * 50_000, 400),
    (R, '{"user_id": "u1"} {"user_id": "u2"}', 400),
    (R, b"\x00" * 64, 400),
    (R, b"\x1f\x8b\x08\x00" + bytes(60), 400),
    (R, "user_id=u1&n=3", 400),
    (R, "<user>u1</user>", 400),
    # JSON, but not the shape
    (R, "null", 422),
    (R, "true", 422),
    (R, "3", 422),
    (R, '"u1"', 422),
    (R, "[]", 422),
    (R, '[{"user_id": "u1"}]', 422),
    (R, '{"user_id": null, "n": 0}', 422),
    (R, '{"user_id": 1.5}', 422),
    (R, '{"user_id": true}', 422),
    (R, '{"user_id": ["u1"]}', 422),
    (R, '{"user_id": {"id": "u1"}}', 422),
    (R, '{"user_id": ""}', 422),
    (R, '{"user_id": " u1"}', 422),
    (R, '{"user_id": "u\\u0000"}', 422),
    (R, '{"user_id": "u\\n1"}', 422),
    (R, '{"user_id": "u\\u202e1"}', 422),
    (R, json.dumps({"user_id": "x" * 257}), 422),
    (R, json.dumps({"user_id": LONG}), 422),
    (R, json.dumps({LONG: 1}), 422),
    (R, json.dumps({f"key{i}": 1 for i in range(20_000)}), 422),
    (R, '{"user": "u1"}', 422),
    (R, '{"user_id": "u1", "n": "5"}', 422),
    (R, '{"user_id": "u1", "n": 0}', 422),
    (R, '{"user_id": "u1", "n": -1}', 422),
    (R, '{"user_id": "u1", "n": 101}', 422),
    (R, '{"user_id": "u1", "n": 5.5}', 422),
    (R, '{"user_id": "u1", "n": true}', 422),
    (R, '{"user_id": "u1", "n": 99999999999999999999}', 422),
    (R, '{"user_id": "u1", "n": [[[[[5]]]]]}', 422),
    (R, '{"user_id": "u1", "explain": "yes"}', 422),
    (R, '{"user_id": "u1", "explain": 1}', 422),
    (R, '{"user_id": "u1", "exclude_ids": "i1"}', 422),
    (R, '{"user_id": "u1", "exclude_ids": [null]}', 422),
    (R, '{"user_id": "u1", "exclude_ids": {"i1": 1}}', 422),
    (R, json.dumps({"exclude_ids": ["i"] * 1001}), 422),
    (R, json.dumps({"context": {"item_ids": ["i"] * 201}}), 422),
    (R, json.dumps({"context": {"item_ids": [0.5] * 200}}), 422),
    (P, "{}", 422),
    (P, '{"user_id": "u1"}', 422),
    (P, '{"pairs": []}', 422),
    (P, '{"pairs": [{}]}', 422),
    (P, '{"pairs": [{"user_id": "u1"}]}', 422),
    (P, '{"pairs": [1, 2, 3]}', 422),
    (P, '{"pairs": "u1"}', 422),
    (P, json.dumps({"pairs": [{"user_id": "u", "item_id": "i"}] * 1001}), 422),
    (P, json.dumps({"pairs": [{"user_id": "u", "item_id": "i"}] * 51, "explain": True}), 422),
    (P, '{"user_id": "u1", "item_id": "i1", "pairs": [{"user_id": "u1", "item_id": "i1"}]}', 422),
    (P, '{"user_id": "u1", "item_id": "i1", "threshold": 0.1}', 422),
    (P, '{"user_id": "u1", "item_id": "nothing"}', 404),
    (E, "{}", 422),
    (E, "[]", 422),
    (E, '{"events": []}', 422),
    (E, '{"events": {}}', 422),
    (E, '{"events": null}', 422),
    (E, '{"events": [null, 1, "x", [], {}]}', 422),
    (E, json.dumps({"events": [{}] * 1001}), 422),
    (E, json.dumps({"events": [{}] * 1000}), 422),
    (E, '{"events": [{}], "more": 1}', 422),
    (E, '{"user_id":"u1","item_id":"i1"}', 422),
    (E, '{"user_id":"u1","item_id":"i1","event":"explode"}', 422),
    (E, '{"user_id":"u1","item_id":"i1","event":3}', 422),
    (E, EVENT % ',"timestamp":"yesterday"', 422),
    (E, EVENT % ',"timestamp":"2999-01-01T00:00:00Z"', 422),
    (E, EVENT % ',"timestamp":"0001-01-01T00:00:00Z"', 422),
    (E, EVENT % ',"timestamp":"9999-12-31T23:59:59-14:00"', 422),
    (E, EVENT % ',"timestamp":-5', 422),
    (E, EVENT % ',"timestamp":1e300', 422),
    (E, EVENT % ',"timestamp":true', 422),
    (E, EVENT % ',"timestamp":["2024-01-01"]', 422),
    (E, EVENT % ',"price":NaN', 400),
    (E, EVENT % ',"price":-1', 422),
    (E, EVENT % ',"price":"3"', 422),
    (E, EVENT % ',"quantity":1e13', 422),
    (E, EVENT % ',"value":1e308', 422),
    (E, EVENT % ',"usr":1', 422),
    (E, EVENT % ',"event_id":""', 422),
    (E, json.dumps({"user_id": "u" * 300, "item_id": "i1", "event": "click"}), 422),
]

HEADERS = [
    ("POST", R, {"content-type": "text/plain"}, "{}", 415),
    ("POST", R, {}, "{}", 415),
    ("POST", E, {"content-type": "application/x-www-form-urlencoded"}, "user_id=u1", 415),
    ("POST", E, {"content-type": "multipart/form-data; boundary=x"}, "--x", 415),
    ("POST", R, {"content-type": "application/json", "content-encoding": "gzip"}, "{}", 415),
    ("DELETE", R, {}, "", 405),
    ("PUT", "/v1/events", {}, "", 405),
    ("GET", "/v1/events", {}, "", 405),
    ("GET", "/v1/nothing", {}, "", 404),
    ("GET", "/admin", {}, "", 404),
    ("GET", "/static/../app.py", {}, "", 404),
    ("GET", "/static/%2e%2e/app.py", {}, "", 404),
    ("GET", "/static/..%2fapp.py", {}, "", 404),
    ("GET", "/v1/similar/", {}, "", 422),
    ("GET", "/v1/similar/%00", {}, "", 422),
    ("GET", "/v1/similar/%ff%fe", {}, "", 404),
    ("GET", "/v1/similar/%ED%A0%80", {}, "", 404),
    ("GET", "/v1/similar/" + "x" * 300, {}, "", 422),
    ("GET", "/v1/similar/i003?n=many", {}, "", 422),
    ("GET", "/v1/similar/i003?n=NaN", {}, "", 422),
    ("GET", "/v1/recommendations/u1?n=0", {}, "", 422),
    ("GET", "/v1/recommendations/u1?n=1e2", {}, "", 422),
    ("GET", "/v1/recommendations/u1?explain=perhaps", {}, "", 422),
    ("GET", "/v1/recommendations/u1?number=3", {}, "", 422),
    ("GET", "/v1/recommendations/u1?user_id=u2&user_id=u3&n=-3", {}, "", 422),
    ("GET", "/v1/recommendations/u1?n=" + "9" * 5000, {}, "", 422),
    ("GET", "/v1/users?start=-1", {}, "", 422),
    ("GET", "/v1/users?n=1000000", {}, "", 422),
    ("GET", "/v1/users?query=" + "x" * 300, {}, "", 422),
    ("GET", "/v1/users/u1/history?n=1001", {}, "", 422),
    ("GET", "/v1/shop", {"host": "evil.example"}, "", 421),
]

RAW: list[tuple[str, bytes]] = [
    ("no request", b"hello\r\n\r\n"),
    ("a line of noise", bytes(range(256)) + b"\r\n\r\n"),
    ("a bad header", b"GET /healthz HTTP/1.1\r\nHost 127.0.0.1\r\n\r\n"),
    ("a wrong length", b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n{}"),
    ("two lengths", b"POST /v1/events HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x"),
    ("a long path", b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("a long header", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 300_000),
    ("many headers", b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 60_000),
    (
        "too large a body",
        b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 99999999999\r\n\r\n{",
    ),
    (
        "too large a chunked body",
        b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + (b"20000\r\n" + b" " * 0x20000 + b"\r\n") * 9,
    ),
]


@pytest.fixture(scope="module", autouse=True)
def still_well(served: Running) -> Iterator[None]:
    """After all of them the service answers as before, and says so."""
    yield
    assert served.process.poll() is None
    assert served.client.get("/healthz").json()["status"] == "ok"
    assert served.recommend("u003", 3)["filled_by"] == "model"
    assert 'status="500"' not in served.client.get("/metrics").text


def test_the_corpus_is_large_enough() -> None:
    assert len(BODIES) + len(HEADERS) + len(RAW) >= 80


def test_every_bad_body_is_refused_in_words(served: Running) -> None:
    wrong = []
    for path, body, status in BODIES:
        answer = served.client.post(path, content=body, headers={"content-type": "application/json"})
        told = answer.json()
        fine = (
            answer.status_code == status == told["status"] and told["detail"] and len(answer.content) <= 4096
        )
        if not fine or answer.headers["content-type"] != "application/problem+json":
            wrong.append((path, body[:80], status, answer.status_code, answer.text[:200]))
    assert not wrong


def test_every_bad_method_path_and_header_is_refused_in_words(served: Running) -> None:
    wrong = []
    for method, path, headers, body, status in HEADERS:
        answer = served.client.request(method, path, headers=headers, content=body)
        if answer.status_code != status or len(answer.content) > 4096 or not answer.json()["detail"]:
            wrong.append((method, path[:80], status, answer.status_code, answer.text[:200]))
    assert not wrong


@pytest.mark.parametrize("raw", [raw for _, raw in RAW], ids=[name for name, _ in RAW])
def test_every_bad_connection_gets_a_4xx(served: Running, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as link:
        try:
            link.sendall(raw)
            answer = link.recv(8192)
        except (BrokenPipeError, ConnectionResetError):  # refused before all was sent
            return
    assert answer.startswith(b"HTTP/1.1 4"), answer[:200]


def test_an_answer_never_repeats_what_was_sent_at_length(served: Running) -> None:
    marker = "secret-in-the-body-" * 40
    for body in ({"user_id": marker * 3}, {marker: 1}, {"user_id": "u1", "n": marker}):
        answer = served.client.post(R, json=body)
        assert answer.status_code == 422
        assert marker[:200] not in answer.text


def test_a_mistyped_field_is_named_with_the_nearest_one(served: Running) -> None:
    answer = served.client.post(R, json={"usr_id": "u1"})
    assert answer.json()["errors"] == [
        {"field": "usr_id", "reason": "unknown field; did you mean 'user_id'?"}
    ]
