"""Events over HTTP: on disk before the answer, counted in the very next one, each judged alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import Running, keep, publish, repeat, running

from intently.data import Dataset
from intently.store import SqliteStore


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, shop: Dataset) -> Path:
    found = tmp_path_factory.mktemp("events")
    keep(found, shop)
    publish(found, shop, repeat(shop))
    return found


@pytest.fixture(scope="module")
def service(home: Path) -> Iterator[Running]:
    """One for all tests here; each uses users of its own."""
    with running(home) as found:
        yield found


def click(user_id: str, item_id: str, **more: Any) -> dict[str, Any]:
    return {"user_id": user_id, "item_id": item_id, "event": "click", **more}


def send(service: Running, body: Any) -> dict[str, Any]:
    answer = service.client.post("/v1/events", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_an_event_changes_the_very_next_answer(service: Running) -> None:
    before = service.ids("u004", 3)
    assert "i022" not in before
    for _ in range(4):
        assert send(service, click("u004", "i022"))["accepted"] == 1
    assert "i022" in service.ids("u004", 3)
    assert service.recommend("somebody new", 1)["filled_by"] == "popular for strangers"
    send(service, click("somebody new", "i021"))
    answer = service.recommend("somebody new", 1)
    assert (answer["items"][0]["item_id"], answer["filled_by"]) == ("i021", "model")
    told = service.client.get("/v1/users/somebody new/history").json()
    assert [(e["item_id"], e["event"]) for e in told["events"]] == [("i021", "click")]


def test_an_impression_is_kept_but_says_nothing(service: Running) -> None:
    assert send(service, {"user_id": "new", "item_id": "i021", "event": "impression"})["accepted"] == 1
    assert service.recommend("new", 1)["filled_by"] == "popular for strangers"


def test_accepted_duplicates_and_rejected_add_up(service: Running) -> None:
    body = {
        "events": [
            click("u001", "i001", event_id="a"),
            click("u001", "i002", event_id="a"),
            click("u001", "i003", price=-1),
            "what",
            {"user_id": 7, "item_id": 8, "event": "ADD TO CART", "timestamp": "2024-05-01T12:00:00+08:00"},
        ]
    }
    told = send(service, body)
    assert (told["received"], told["accepted"], told["duplicates"], told["rejected"]) == (5, 2, 1, 2)
    assert [(e["index"], e["field"]) for e in told["errors"]] == [(2, "price"), (3, "")]
    again = send(service, body)
    assert (again["accepted"], again["duplicates"], again["rejected"]) == (0, 3, 2)
    history = service.client.get("/v1/users/7/history").json()["events"]
    assert [(e["item_id"], e["event"], e["timestamp"]) for e in history] == [
        ("8", "cart_add", "2024-05-01T04:00:00Z")
    ]


def test_an_item_the_model_has_not_seen_is_kept_and_said_so(service: Running) -> None:
    send(service, click("u003", "brand new item"))
    answer = service.recommend("u003", 3)
    assert answer["notes"] == ["1 of this history's events are on items the live model has not seen"]
    assert (
        service.client.get("/v1/similar/brand new item").json()["hint"].startswith("the live model has not")
    )


def test_acknowledged_events_survive_a_kill(simple_home: Path) -> None:
    with running(simple_home) as service:
        for n in range(20):
            send(service, click("survivor", f"i{n:03d}", event_id=f"e{n}"))
        service.kill()
    with running(simple_home) as service:
        told = service.client.get("/v1/users/survivor/history").json()
        assert told["total"] == 20
        again = send(
            service, {"events": [click("survivor", f"i{n:03d}", event_id=f"e{n}") for n in range(20)]}
        )
        assert again["duplicates"] == 20


def test_many_senders_at_once_lose_nothing(service: Running, home: Path) -> None:
    accepted: list[int] = []
    with SqliteStore(home / "store.db") as store:
        before = store.counts().events

    def sender(name: str) -> None:
        with httpx.Client(base_url=service.address, timeout=30, trust_env=False) as client:
            for n in range(15):
                told = client.post("/v1/events", json=click(name, f"i{n:03d}", event_id=f"{name}-{n}")).json()
                accepted.append(told["accepted"])

    threads = [threading.Thread(target=sender, args=(f"sender{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert accepted == [1] * 120
    with SqliteStore(home / "store.db") as store:
        assert store.counts().events == before + 120


def test_what_another_process_imports_is_taken_in(service: Running, home: Path) -> None:
    with SqliteStore(home / "store.db") as store:
        store.add_events([{"user_id": "imported", "item_id": "i005", "event": "purchase", "time_s": 1.7e9}])
    for _ in range(600):
        told = service.client.get("/v1/users/imported/history").json()
        if told["total"]:
            break
        threading.Event().wait(0.1)
    assert told["total"] == 1
