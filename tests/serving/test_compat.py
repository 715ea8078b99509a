"""What Google Analytics 4 and Segment send, JSON lines, and requests that are repeated: on a real service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import Running, keep, publish, repeat, running

from intently.data import Dataset
from intently.errors import InputError
from intently.serving.compat import ga4, segment
from intently.serving.state.receipts import RETENTION_S, Receipt, Receipts
from intently.store import SqliteStore

PURCHASE: dict[str, Any] = {
    "client_id": "1234567890.1700000000",
    "timestamp_micros": "1700000000123456",
    "non_personalized_ads": False,
    "user_properties": {"plan": {"value": "gold"}},
    "events": [
        {"name": "page_view", "params": {"page_location": "https://shop.example/"}},
        {
            "name": "purchase",
            "params": {
                "session_id": "1700000001",
                "engagement_time_msec": 100,
                "currency": "CHF",
                "transaction_id": "T-1",
                "value": 35.5,
                "items": [
                    {"item_id": "i001", "item_name": "One", "price": 10.5, "quantity": 2, "index": 0},
                    {"item_id": 2, "price": "14.5", "quantity": "1"},
                    {"item_name": "Without an id", "price": 1},
                ],
            },
        },
    ],
}
ORDER: dict[str, Any] = {
    "type": "track",
    "event": "Order Completed",
    "anonymousId": "anon-1",
    "userId": "u100",
    "messageId": "m-1",
    "timestamp": "2023-11-14T22:13:20.5Z",
    "context": {"library": {"name": "analytics.js"}},
    "properties": {
        "order_id": "o-1",
        "total": 30,
        "products": [{"product_id": "i003", "sku": "S", "price": 10}, {"sku": "i004", "quantity": 3}],
    },
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, shop: Dataset) -> Path:
    found = tmp_path_factory.mktemp("compat")
    keep(found, shop)
    publish(found, shop, repeat(shop))
    return found


@pytest.fixture(scope="module")
def service(home: Path) -> Iterator[Running]:
    with running(home) as found:
        yield found


def counts(answer: httpx.Response) -> tuple[int, int, int, int, int]:
    assert answer.status_code == 200, answer.text
    told = answer.json()
    return tuple(told[name] for name in ("received", "accepted", "duplicates", "rejected", "ignored"))


def test_a_ga4_purchase_becomes_an_event_for_each_item() -> None:
    made = ga4.translated(PURCHASE)
    assert made.ignored == 1
    assert [place for place, _ in made.events] == [1, 1, 1]
    first = made.events[0][1]
    assert first["session_id"] == "1234567890.1700000000.1700000001"
    assert (first["event"], first["timestamp"], first["price"]) == ("purchase", 1700000000.123456, 10.5)
    assert [event["item_id"] for _, event in made.events] == ["i001", "2", "Without an id"]
    assert made.events[1][1]["price"] == 14.5
    assert len({event["event_id"] for _, event in made.events}) == 3


def test_without_a_time_or_a_transaction_two_ga4_events_are_two() -> None:
    body = {"client_id": "c", "events": [{"name": "view_item", "params": {"items": [{"item_id": "i"}]}}]}
    assert "event_id" not in ga4.translated(body).events[0][1]
    timed = ga4.translated(body | {"timestamp_micros": 1})
    assert (
        timed.events[0][1]["event_id"]
        == ga4.translated(body | {"timestamp_micros": 1}).events[0][1]["event_id"]
    )


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("view_item", "view"),
        ("select_item", "click"),
        ("add_to_cart", "cart_add"),
        ("remove_from_cart", "cart_remove"),
        ("view_item_list", "impression"),
    ],
)
def test_ga4_names_become_ours(name: str, ours: str) -> None:
    body = {
        "client_id": "c",
        "user_id": "u",
        "events": [{"name": name, "params": {"items": [{"item_id": "i"}]}}],
    }
    (told,) = ga4.translated(body).events
    assert (told[1]["event"], told[1]["user_id"], told[1]["session_id"]) == (ours, "u", "c")


def test_a_segment_order_becomes_an_event_for_each_product_by_its_order() -> None:
    made = segment.translated(ORDER)
    assert [event["item_id"] for _, event in made.events] == ["i003", "i004"]
    assert {event["session_id"] for _, event in made.events} == {"anon-1"}
    again = segment.translated(ORDER | {"messageId": "m-2"})
    assert [e["event_id"] for _, e in made.events] == [e["event_id"] for _, e in again.events]


def test_payloads_that_are_none_are_refused_in_words() -> None:
    with pytest.raises(InputError, match="events must be a list of 1 to 100 messages"):
        ga4.translated({"client_id": "c", "events": []})
    with pytest.raises(InputError, match="batch must be a list of 1 to 1000 messages"):
        segment.translated({"batch": {}})
    items = {"name": "view_item_list", "params": {"items": [{"item_id": "i"}] * 10_001}}
    with pytest.raises(InputError, match="10,000 items at most"):
        ga4.translated({"client_id": "c", "events": [items]})


def test_both_are_stored_once_at_their_own_routes_and_at_the_common_one(service: Running) -> None:
    post = service.client.post
    assert counts(post("/v1/compat/ga4", json=PURCHASE)) == (3, 3, 0, 0, 1)
    assert counts(post("/v1/events", json=PURCHASE)) == (3, 0, 3, 0, 1)
    assert counts(post("/v1/events", json={"batch": [ORDER, {"type": "page"}], "sentAt": "now"})) == (
        2,
        2,
        0,
        0,
        1,
    )
    assert counts(post("/v1/compat/segment", json=ORDER)) == (2, 0, 2, 0, 0)
    history = service.client.get("/v1/users/u100/history").json()["events"]
    assert [(e["item_id"], e["event"]) for e in history] == [("i004", "purchase"), ("i003", "purchase")]
    guest = service.client.get("/v1/users/session:1234567890.1700000000.1700000001/history").json()
    assert guest["total"] == 3


def test_a_wrong_product_is_named_by_its_message(service: Running) -> None:
    body = {
        "batch": [
            {"type": "page"},
            ORDER | {"properties": {"order_id": "o-2", "products": [{}, {"sku": "i1"}]}},
        ]
    }
    answer = service.client.post("/v1/compat/segment", json=body)
    assert counts(answer) == (2, 1, 0, 1, 1)
    (error,) = answer.json()["errors"]
    assert (error["index"], error["field"], error["code"]) == (1, "item_id", "missing")


def test_searches_are_kept_and_never_become_items(service: Running, home: Path) -> None:
    before = service.client.get("/v1/shop").json()["n_items"]
    looked = {"name": "search", "params": {"search_term": "  red   shoes "}}
    body = {"client_id": "seeker", "timestamp_micros": 1700000000000000, "events": [looked]}
    asked = {"type": "track", "event": "Products Searched", "userId": "seeker", "messageId": "q"}
    post = service.client.post
    assert counts(post("/v1/events", json=body)) == (1, 1, 0, 0, 0)
    assert counts(post("/v1/events", json=body)) == (1, 0, 1, 0, 0)
    assert counts(post("/v1/events", json=asked | {"properties": {"query": "hats"}})) == (1, 1, 0, 0, 0)
    assert (
        post("/v1/events", json={"user_id": "u", "item_id": "search:x", "event": "view"}).status_code == 422
    )
    assert service.client.get("/v1/shop").json()["n_items"] == before
    listed = service.recommend("seeker", 100)["items"]
    assert not [item for item in listed if item["item_id"].startswith("search:")]
    with SqliteStore(home / "store.db") as store:
        assert not [name for name in store.items()["item_id"] if name.startswith("search:")]
        assert "search:red shoes" not in store.events()["item_id"].to_list()


def lines(*events: Any) -> bytes:
    return b"\n".join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in events)


def test_json_lines_are_judged_line_by_line(service: Running) -> None:
    event = {"user_id": "liner", "item_id": "i001", "event": "view"}
    body = lines(
        *({**event, "event_id": f"l{n}"} for n in range(2500)), b"", b"{broken", {**event, "price": -1}
    )
    headers = {"content-type": "application/x-ndjson"}

    def parts() -> Iterator[bytes]:
        for start in range(0, len(body), 70_000):
            yield body[start : start + 70_000]

    answer = service.client.post("/v1/events", content=parts(), headers=headers)
    assert counts(answer) == (2502, 2500, 0, 2, 0)
    found = [(e["index"], e["field"], e["code"]) for e in answer.json()["errors"]]
    assert found == [(2501, "", "not_json"), (2502, "price", "invalid")]
    again = service.client.post("/v1/events", content=body + b"\n", headers=headers)
    assert counts(again) == (2502, 0, 2500, 2, 0)
    for wrong, status in ((b"", 422), (b"\n\n", 422), (b"x" * 70_000, 413)):
        assert service.client.post("/v1/events", content=wrong, headers=headers).status_code == status
    keyed = service.client.post("/v1/events", content=body, headers=headers | {"idempotency-key": "k"})
    assert keyed.status_code == 422


def test_a_repeated_request_gets_its_first_answer_also_after_a_restart(simple_home: Path) -> None:
    event = {"user_id": "again", "item_id": "i001", "event": "click"}
    headers = {"idempotency-key": "order 7"}
    with running(simple_home) as service:
        first = service.client.post("/v1/events", json=event, headers=headers)
        second = service.client.post("/v1/events", json=event, headers=headers)
        assert first.status_code == second.status_code == 200
        assert first.json()["accepted"] == 1
        assert second.content == first.content
        assert second.headers["idempotent-replayed"] == "true"
        other = service.client.post("/v1/events", json=event | {"item_id": "i002"}, headers=headers)
        assert other.status_code == 422
        assert "another body" in other.json()["detail"]
        bad = service.client.post("/v1/events", json=event, headers={"idempotency-key": "x" * 300})
        assert bad.status_code == 422
        service.kill()
    with running(simple_home) as service:
        third = service.client.post("/v1/events", json=event, headers=headers)
        assert third.content == first.content
        assert service.client.get("/v1/users/again/history").json()["total"] == 1
        # what a crash between the two commits leaves: the events without the answer
        service.kill()
    (simple_home / "receipts.db").unlink()
    for name in ("receipts.db-wal", "receipts.db-shm"):
        (simple_home / name).unlink(missing_ok=True)
    with running(simple_home) as service:
        told = service.client.post("/v1/events", json=event, headers=headers).json()
        assert (told["accepted"], told["duplicates"]) == (0, 1)


def test_receipts_end_after_a_day_and_belong_to_their_caller(tmp_path: Path) -> None:
    now = [1e9]
    receipts = Receipts(tmp_path / "r.db", wall=lambda: now[0])
    assert receipts.begin("a", "k", b"1") is None
    receipts.keep("a", "k", b"1", Receipt(200, b"{}"))
    receipts.drop("a", "k")
    assert receipts.begin("a", "k", b"1") == Receipt(200, b"{}")
    assert receipts.begin("b", "k", b"2") is None
    with pytest.raises(InputError, match="used with another body"):
        receipts.begin("a", "k", b"2")
    now[0] += RETENTION_S + 1
    assert receipts.begin("a", "k", b"2") is None
    receipts.close()
