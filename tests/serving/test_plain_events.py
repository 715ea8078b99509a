"""The short way of an event and the long one: the same rules, the same rows, the same answers."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import uvicorn
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_bad_requests import BODIES, E

from intently.config import Settings
from intently.serving.app import make_app
from intently.serving.http.event_door import EventDoor
from intently.serving.http.express import express
from intently.serving.http.gate import Doors
from intently.serving.http.keyring import KeyRing
from intently.serving.intake.events import judge
from intently.serving.intake.plain import PlainEvent, plain_rows
from intently.serving.shapes.events import EventIn, Rejected
from intently.serving.state.engine import Engine

NOW_S, LATEST_S = 1.75e9, 1.75e9 + 86_400.0
USUAL = {"user_id": "u1", "item_id": "i1", "event": "click"}
EDGES: list[Any] = [
    None, True, 0, 7, -1, 2**53, 2**64, 10**30, 0.5, -0.0, 1e12, 1.1e12, 1.7e9, 1.7e12, 1e11, [], {}, ["x"],
    "", " ", "x", " x", "x ", "\u00a0x", "\u3000", "a\tb", "\u202e", "é", "日本", "x" * 256, "x" * 257,
    "click", "pv", "ADD TO CART", "购买", "purchase", "search", "impression", "session:1", "1.7e9",
    "2026-01-01", "2026-01-01T00:00:00Z", "20260101T000000", "2025-06-01T12:00:00.25+08:00", "2025-W01-1",
]  # fmt: skip
VALUES = st.sampled_from(EDGES) | st.text(max_size=6) | st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.sampled_from([*EventIn.model_fields, "usr"])
EVENTS = st.dictionaries(NAMES, VALUES, max_size=5).map(lambda more: USUAL | more)


def agree(body: bytes) -> bool:
    """The short check says the same as the full one, or nothing; whether it said something."""
    short = plain_rows(body, NOW_S, LATEST_S)
    if short is None:
        return False
    value = orjson.loads(body)
    given_events = value.get("events", [value])
    full = [judge(one, place, NOW_S, LATEST_S) for place, one in enumerate(given_events)]
    assert short == full, body
    assert [[type(cell) for cell in row] for row in short] == [[type(cell) for cell in row] for row in full]
    return True


@settings(max_examples=200, deadline=None)
@given(EVENTS)
@example(USUAL | {"timestamp": 1.75e9 + 86_401})
def test_the_short_check_takes_only_what_the_full_one_takes(event: dict[str, Any]) -> None:
    agree(json.dumps(event, ensure_ascii=False).encode())


def test_every_field_with_every_edge_is_judged_alike() -> None:
    taken = [0, 0]
    for name in EventIn.model_fields:
        for value in EDGES:
            event = USUAL | {name: value}
            taken[0] += agree(json.dumps(event).encode())
            compact = json.dumps({"events": [USUAL, event]}, separators=(",", ":"), ensure_ascii=False)
            taken[1] += agree(compact.encode())
    assert min(taken) > 100


def test_every_bad_body_is_left_to_the_full_check() -> None:
    for path, body, _status in BODIES:
        if path == E:
            raw = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
            assert plain_rows(raw, NOW_S, LATEST_S) is None, raw[:80]
    for raw in (
        b'{"user_id":"u1","item_id":"\\ud800","event":"click"}',
        b'{"user_id":"u1","item_id":"\xff","event":"click"}',
        b'{"user_id":"u1","item_id":"i1","event":"click"} {}',
        b'{"events":[{"user_id":"u1","item_id":"i1","event":"click"}],"events":[]}',
        b"[1]",
    ):
        assert plain_rows(raw, NOW_S, LATEST_S) is None, raw


def test_usual_events_go_the_short_way() -> None:
    for more in ({}, {"event_id": "e"}, {"timestamp": "2025-01-01T00:00:00Z", "price": 3, "quantity": 2.5}):
        assert agree(json.dumps(USUAL | more).encode())
        assert agree(json.dumps({"events": [USUAL | more] * 3}, separators=(",", ":")).encode())
    assert agree(b'{"item_id":"i","event":"view","session_id":"s"}')
    assert agree(b'{"user_id":"a","user_id":"b","item_id":"i","event":"view"}')
    assert set(PlainEvent.__struct_fields__) == set(EventIn.model_fields)


def test_a_guest_is_a_session_and_nobody_else_may_be_called_so() -> None:
    guest = judge({"item_id": "i", "event": "view", "session_id": "s"}, 0, NOW_S, LATEST_S)
    assert guest[0] == "session:s"
    for wrong in ({"item_id": "i", "event": "view"}, USUAL | {"user_id": "session:s"}):
        told = judge(wrong, 4, NOW_S, LATEST_S)
        assert isinstance(told, Rejected)
        assert (told.index, told.field) == (4, "user_id")
        assert "session_id" in told.reason


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, list[str]]]:
    """A service in a thread of ours: its port, and the paths of requests that reached the application."""
    home = tmp_path_factory.mktemp("watched")
    engine = Engine(Settings(home=home))
    engine.start()
    gate = make_app(engine, Doors(KeyRing(home, "")))
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.append(scope["path"])
        await gate(scope, receive, send)

    config = uvicorn.Config(
        app, http=express([EventDoor(engine, gate)]), ws="none", log_level="warning", port=0
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield listener.getsockname()[1], seen
    server.should_exit = True
    thread.join(30)
    listener.close()


def request(body: bytes, *headers: str, path: str = "/v1/events") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def exchange(port: int, parts: list[bytes], n: int) -> list[tuple[bytes, dict[bytes, bytes], bytes]]:
    """Send the parts, a moment apart; the `n` answers as (status line, headers, body)."""
    found, left = [], b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as link:
        for place, part in enumerate(parts):
            if place:
                threading.Event().wait(0.05)
            link.sendall(part)
        while len(found) < n:
            head, end, rest = left.partition(b"\r\n\r\n")
            lines = head.split(b"\r\n")
            headers = dict(line.split(b": ", 1) for line in lines[1:])
            size = int(headers.get(b"content-length", b"0"))
            if end and len(rest) >= size:
                found.append((lines[0], headers, rest[:size]))
                left = rest[size:]
                continue
            more = link.recv(65536)
            assert more, (found, left)
            left += more
    return found


def event(event_id: str, **more: Any) -> bytes:
    return json.dumps(USUAL | {"event_id": event_id} | more).encode()


def test_both_ways_answer_alike(watched: tuple[int, list[str]]) -> None:
    port, seen = watched
    seen.clear()
    whole = exchange(port, [request(event("a"))], 1)[0]
    assert seen == []
    sent = request(event("b"))
    parted = exchange(port, [sent[:-5], sent[-5:]], 1)[0]
    assert seen == ["/v1/events"]
    again = exchange(port, [request(event("b"))], 1)[0]
    assert whole[0] == parted[0] == again[0] == b"HTTP/1.1 200 OK"
    for answer in (whole, parted, again):
        del answer[1][b"date"]
    assert whole[1] == parted[1]
    assert whole[2] == parted[2]
    assert orjson.loads(again[2])["duplicates"] == 1


def test_requests_sent_ahead_are_answered_in_order(watched: tuple[int, list[str]]) -> None:
    port, _seen = watched
    health = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    sent = [request(event("p1")), health, request(event("p1")), request(event("p2")), request(b"{}"), health]
    told = [orjson.loads(body) for _line, _headers, body in exchange(port, [b"".join(sent)], len(sent))]
    assert [one.get("accepted") for one in told] == [1, None, 0, 1, None, None]
    assert [one.get("status") for one in told] == [None, "degraded", None, None, 422, "degraded"]


def test_what_is_not_plain_reaches_the_application(watched: tuple[int, list[str]]) -> None:
    port, seen = watched
    for sent, status in (
        (request(event("x", price=-1)), b"422"),
        (request(event("x"), "Origin: http://localhost"), b"200"),
        (request(event("x"), "Connection: close"), b"200"),
        (request(event("x")).replace(b"Host: localhost", b"Host: evil.example"), b"421"),
        (request(event("x")).replace(b"application/json", b"text/plain"), b"415"),
        (request(event("x"), path="/v1/events?x=1"), b"200"),
        (request(b'{"events":[' + event("y") + b',{"user_id":1}]}'), b"200"),
    ):
        seen.clear()
        answer = exchange(port, [sent], 1)[0]
        assert answer[0].split()[1] == status, sent
        assert len(seen) == 1


def test_the_figures_count_the_short_way_too(watched: tuple[int, list[str]]) -> None:
    port, _seen = watched
    ask = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"

    def figures() -> dict[bytes, float]:
        lines = exchange(port, [ask], 1)[0][2].splitlines()
        return {
            line.rpartition(b" ")[0]: float(line.rpartition(b" ")[2]) for line in lines if line[:1] != b"#"
        }

    before = figures()
    exchange(port, [request(event(f"m{n}")) for n in range(3)], 3)
    after = figures()
    for name in (
        b'intently_events_total{outcome="accepted"}',
        b'intently_requests_total{route="/v1/events",status="200"}',
        b'intently_request_seconds_count{route="/v1/events"}',
    ):
        assert after[name] == before.get(name, 0.0) + 3


def test_a_head_that_came_before_is_known_and_its_body_still_judged(
    watched: tuple[int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, seen = watched
    known: list[bytes] = []
    enter_again = EventDoor._enter_again

    def counted(door: EventDoor, short: Any, body: bytes) -> bool:
        known.append(body)
        return enter_again(door, short, body)

    monkeypatch.setattr(EventDoor, "_enter_again", counted)
    bodies = [json.dumps(USUAL | {"event_id": f"known-{n}"}).encode() for n in range(6)]
    wrong = bodies[0].replace(b"click", b"clack")
    first, second, third, fourth, fifth, sixth = (request(body, "X-Test: known") for body in bodies)
    before = len(seen)
    parts = [first, second, request(wrong, "X-Test: known"), third, fourth[:40], fourth[40:], fifth + sixth]
    answers = exchange(port, parts, 7)
    assert [answer[0].split()[1] for answer in answers] == [b"200"] * 2 + [b"422"] + [b"200"] * 4
    assert [json.loads(answer[2]).get("accepted") for answer in answers] == [1, 1, None, 1, 1, 1, 1]
    assert known == [bodies[1], wrong]  # what follows a request of the long way is parsed
    assert answers[1][1].keys() == answers[0][1].keys()
    assert len(seen) == before + 2  # the wrong one, and the one sent ahead
    again = exchange(port, [request(bodies[0], "X-Test: known"), first], 2)
    assert [json.loads(answer[2])["duplicates"] for answer in again] == [1, 1]
    assert known[2:] == [bodies[0]]


@pytest.mark.parametrize("split", [1, 40])
def test_the_end_of_a_head_is_no_head(watched: tuple[int, list[str]], split: int) -> None:
    port, _seen = watched
    sent = request(json.dumps(USUAL).encode(), f"X-Test: {split}")
    assert exchange(port, [sent[:split], sent[split:]], 1)[0][0].split()[1] == b"200"
    assert exchange(port, [sent[:-1], sent[-1:] + sent], 2)[1][0].split()[1] == b"200"
    for part in (sent[split:], sent[-1:] + sent):
        answers = exchange(port, [sent, sent, part], 3)
        assert [answer[0].split()[1] for answer in answers] == [b"200", b"200", b"400"]


def test_a_head_with_a_key_is_judged_every_time(
    watched: tuple[int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, _seen = watched
    monkeypatch.setattr(EventDoor, "_enter_again", lambda *_: pytest.fail("was not judged"))
    shown = request(json.dumps(USUAL).encode(), "Authorization: Bearer some key or other")
    assert [answer[0].split()[1] for answer in exchange(port, [shown, shown, shown], 3)] == [b"200"] * 3


@pytest.mark.parametrize(("body_s", "long"), [(20.0, 0), (0.0, 1)])
def test_a_body_just_behind_its_head_goes_the_short_way(
    watched: tuple[int, list[str]], monkeypatch: pytest.MonkeyPatch, body_s: float, long: int
) -> None:
    port, seen = watched
    monkeypatch.setattr("intently.serving.http.express.BODY_S", body_s)
    body = json.dumps(USUAL | {"event_id": f"behind {body_s}"}).encode()
    head = request(body)[: -len(body)]
    before = len(seen)
    answers = exchange(port, [head, body, head, body], 2)
    assert [json.loads(answer[2])["accepted"] for answer in answers] == [1, 0]
    assert len(seen) == before + 2 * long
    wrong = body.replace(b"click", b"clack")
    assert [answer[0].split()[1] for answer in exchange(port, [head, wrong, head, body], 2)] == [
        b"422",
        b"200",
    ]
