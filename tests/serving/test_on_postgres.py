"""The service on a PostgreSQL by one line of settings: the same events, after a kill too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from served import publish, repeat, running

from intently.data import Dataset
from intently.errors import ConfigError, StoreError
from intently.store import PostgresStore, open_store


def test_a_service_on_postgres_keeps_its_promises(tmp_path: Path, database: str, shop: Dataset) -> None:
    publish(tmp_path, shop, repeat(shop))
    (tmp_path / "mine.toml").write_text(f'store = "{database}"\n')
    with open_store(database) as store:
        store.add_events([{"user_id": "u003", "item_id": "i003", "event": "purchase", "time_s": 1.7e9}])
    body: dict[str, Any] = {
        "events": [
            {"user_id": "p", "item_id": f"i{n:03d}", "event": "click", "event_id": f"e{n}"} for n in range(5)
        ]
    }
    options = ("--config", str(tmp_path / "mine.toml"))
    with running(tmp_path, *options) as service:
        assert service.ids("u003", 1) == ["i003"]
        assert service.client.post("/v1/events", json=body).json()["accepted"] == 5
        assert service.client.put("/v1/items/i003", json={"title": "Three"}).status_code == 200
        service.kill()
    with running(tmp_path, *options) as service:
        assert service.client.get("/v1/users/p/history").json()["total"] == 5
        body["events"].append({"user_id": "p", "item_id": "i009", "event": "view", "event_id": "e9"})
        told = service.client.post("/v1/events", json=body).json()
        assert (told["accepted"], told["duplicates"]) == (1, 5)
        assert service.client.delete("/v1/users/p").status_code == 200
        assert service.client.get("/v1/users/p/history").json()["total"] == 0
    assert not (tmp_path / "store.db").exists()
    with open_store(database) as store:
        assert store.counts().events == 1
        assert store.item("i003") == {"title": "Three"}
        assert store.append([("q", "i", 0, 1.7e9, None, None, None, None, "e9", None)]).fresh == [False]


def test_a_server_that_is_not_there_and_a_password_in_the_settings_are_refused() -> None:
    with pytest.raises(StoreError, match="the PostgreSQL store cannot be used"):
        PostgresStore("postgresql://nobody@127.0.0.1:1/shop")
    with pytest.raises(ConfigError, match="may hold no password") as caught:
        PostgresStore("postgresql://nobody:canary@127.0.0.1:1/shop")
    assert "canary" not in str(caught.value)
