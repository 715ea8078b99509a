"""Several services of one shop are one to who asks them: what one is told, the others know."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import Running
from several import at_once, settle_in, soon, two

from intently.config import Settings
from intently.errors import ConfigError, StoreError
from intently.serving.state.bus import open_bus


@pytest.fixture
def pair(tmp_path: Path, database: str, redis: str) -> Iterator[tuple[Running, Running]]:
    options = settle_in(tmp_path, database, redis, "[scenarios.fresh]\nserved_hours = 24\n")
    with two(tmp_path, options) as services:
        yield services


def send(service: Running, user: str, *items: str, kind: str = "click", **more: Any) -> None:
    events = [{"user_id": user, "item_id": item, "event": kind, **more} for item in items]
    told = service.client.post("/v1/events", json={"events": events})
    assert told.json()["accepted"] == len(items), told.text


def total(service: Running, user: str) -> int:
    return int(service.client.get(f"/v1/users/{user}/history").json()["total"])


def test_an_event_told_to_one_counts_once_in_the_answers_of_both(pair: tuple[Running, Running]) -> None:
    one, other = pair
    for n in range(20):
        send((one, other)[n % 2], "new", f"i{n % 10:03d}")
    for service in pair:
        soon(lambda service=service: total(service, "new") == 20)
    send(one, "fan", "i004")
    soon(lambda: other.ids("fan", 1) == ["i004"])
    assert [total(service, "new") for service in pair] == [20, 20]


def test_many_events_at_both_at_once_are_all_known_to_both(pair: tuple[Running, Running]) -> None:
    def work(service: Running, name: str) -> None:
        for n in range(100):
            send(service, "busy", f"i{n % 10:03d}", event_id=f"{name}{n}")

    at_once(work, pair)
    for service in pair:
        soon(lambda service=service: total(service, "busy") == 200)
    send(pair[0], "last", "i001")
    soon(lambda: total(pair[1], "last") == 1)
    assert [total(service, "busy") for service in pair] == [200, 200]


def test_who_is_erased_at_one_is_gone_from_the_very_next_answer_of_the_other(
    pair: tuple[Running, Running], redis: str
) -> None:
    one, other = pair
    send(one, "gone", "i001", "i002")
    soon(lambda: total(other, "gone") == 2)
    page = other.recommend("gone", 3)
    assert page["next_cursor"]
    told = one.client.delete("/v1/users/gone").json()
    assert told == {"user_id": "gone", "events": 2, "everywhere": True}
    assert total(other, "gone") == 0
    gone = other.client.post("/v1/recommendations", json={"user_id": "gone", "cursor": page["next_cursor"]})
    assert gone.status_code == 410
    with one.client.stream("GET", f"/v1/decisions/{page['recommendation_id']}") as answer:
        assert answer.status_code == 404
    import redis as library

    with library.Redis.from_url(redis) as server:
        kept = [(key, server.type(key)) for key in server.keys("intently:*")]
        streams = [entry for key, kind in kept if kind == b"stream" for entry in server.xrange(key)]
        assert [f[b"kind"] for _, f in streams if b'"gone"' in f[b"said"]] == [b"erased"]
        assert not [key for key, _ in kept if b":page:" in key]


def test_an_erasure_that_another_has_not_heard_of_says_so_and_is_heard_later(
    pair: tuple[Running, Running],
) -> None:
    one, other = pair
    os.kill(other.process.pid, signal.SIGSTOP)
    try:
        assert one.client.delete("/v1/users/u003").json()["everywhere"] is False
        assert total(one, "u003") == 0
    finally:
        os.kill(other.process.pid, signal.SIGCONT)
    soon(lambda: total(other, "u003") == 0)


def test_items_and_users_changed_at_one_are_so_at_the_other(pair: tuple[Running, Running]) -> None:
    one, other = pair
    assert one.client.put("/v1/items/brand-new", json={"title": "New thing", "price": 3}).status_code == 200
    assert other.client.get("/v1/items/brand-new").json()["attributes"]["title"] == "New thing"
    assert other.client.patch("/v1/items/brand-new", json={"price": 4}).status_code == 200
    assert one.client.get("/v1/items/brand-new").json()["attributes"] == {"title": "New thing", "price": 4}
    first = one.ids("u003", 1)[0]
    assert one.client.delete(f"/v1/items/{first}").status_code == 200
    assert first not in other.ids("u003", 10)
    other.client.get("/v1/users/u003")
    assert one.client.put("/v1/users/u003", json={"city": "Lyon"}).status_code == 200
    assert other.client.get("/v1/users/u003").json()["attributes"] == {"city": "Lyon"}


def test_two_who_change_one_item_at_once_lose_nothing(pair: tuple[Running, Running]) -> None:
    def work(service: Running, name: str) -> None:
        for n in range(20):
            assert service.client.patch("/v1/items/i001", json={f"{name}{n}": n}).status_code == 200

    at_once(work, pair)
    for service in pair:
        known = service.client.get("/v1/items/i001").json()["attributes"]
        assert {f"{name}{n}" for name in "ab" for n in range(20)} <= set(known)


def test_pages_begun_at_one_go_on_at_the_other_without_a_repeat(pair: tuple[Running, Running]) -> None:
    one, other = pair
    first = one.recommend("u003", 4)
    second = other.recommend("u003", 4, cursor=first["next_cursor"])
    whole = one.recommend("u003", 8)
    ids = [item["item_id"] for page in (first, second) for item in page["items"]]
    assert ids == [item["item_id"] for item in whole["items"]]
    assert second["recommendation_id"] == first["recommendation_id"]
    forged = first["next_cursor"][:-1] + ("0" if first["next_cursor"][-1] != "0" else "1")
    answer = other.client.post("/v1/recommendations", json={"user_id": "u003", "cursor": forged})
    assert answer.status_code == 422


def test_what_one_showed_the_other_does_not_show_again(pair: tuple[Running, Running]) -> None:
    one, other = pair
    shown = {item["item_id"] for item in one.recommend("u003", 3, scenario="fresh")["items"]}

    time.sleep(1.0)  # asking again and again would show things too
    again = {item["item_id"] for item in other.recommend("u003", 3, scenario="fresh")["items"]}
    assert len(again) == 3
    assert again.isdisjoint(shown)


def test_a_request_with_a_key_is_carried_out_by_one_of_them(pair: tuple[Running, Running]) -> None:
    body = {"events": [{"user_id": "key", "item_id": f"i{n:03d}", "event": "click"} for n in range(5)]}
    answers: list[tuple[int, Any]] = []

    def work(service: Running, _name: str) -> None:
        found = service.client.post("/v1/events", json=body, headers={"Idempotency-Key": "k1"})
        answers.append((found.status_code, found.json()))

    at_once(work, pair * 4)
    assert {status for status, _ in answers} <= {200, 503}
    assert all(told["accepted"] == 5 for status, told in answers if status == 200)
    again = [s.client.post("/v1/events", json=body, headers={"Idempotency-Key": "k1"}) for s in pair]
    assert [found.json()["accepted"] for found in again] == [5, 5]
    assert [found.headers["idempotent-replayed"] for found in again] == ["true", "true"]
    soon(lambda: [total(service, "key") for service in pair] == [5, 5])


def test_a_promoted_model_answers_from_both(tmp_path: Path, pair: tuple[Running, Running]) -> None:
    from served import boosted, grocery, publish

    one, other = pair
    before = other.recommend("u003", 1)["model_version"]
    made = publish(tmp_path, grocery(), boosted(grocery()))
    assert one.client.post(f"/v1/models/{made.name}:promote", json={}).status_code == 200
    soon(lambda: other.recommend("u003", 1)["model_version"] == made.name)
    assert one.client.post("/v1/models:roll-back", json={}).json()["model_version"] == before
    soon(lambda: other.recommend("u003", 1)["model_version"] == before)


def test_figures_are_of_every_service(pair: tuple[Running, Running]) -> None:
    for service, n in zip(pair, (2, 3), strict=True):
        for _ in range(n):
            service.recommend("u003", 1)

    def lines() -> list[float]:
        text = pair[0].client.get("/metrics").text
        kept = [line for line in text.splitlines() if line.startswith("intently_requests_total{")]
        return sorted(float(s.split()[-1]) for s in kept if "recommendations" in s and "worker=" in s)

    soon(lambda: lines() == [2.0, 3.0])


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"workers": 2}, "several workers need `redis`"),
        ({"redis": "redis://127.0.0.1:1/0"}, "needs a store that several services may write to"),
        ({"redis": "redis://:canary@127.0.0.1:1", "store": "postgresql://a@b/c"}, "may hold no password"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        open_bus(Settings(**settings))
    assert "canary" not in str(caught.value)


def test_a_server_that_is_not_there_is_said_in_one_line() -> None:
    with pytest.raises(StoreError, match="the Redis server cannot be used: ConnectionError"):
        open_bus(Settings(redis="redis://127.0.0.1:1/0", store="postgresql://a@b/c"))
