"""Items and users over HTTP: what is put counts at once, and what is removed is gone."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
from served import Running, boosted, grocery, keep, publish, repeat, running

from intently.config import Settings
from intently.data import Dataset
from intently.language import TextEncoder, encode_catalogue
from intently.language.folder import bundled_folder
from intently.models.sequence import Sequence
from intently.pipeline import read_catalogue
from intently.serving.state.newcomers import NEIGHBOURS
from intently.store import SqliteStore
from tiny_pictures import draw
from tiny_shops import checkerboard


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory, shop: Dataset) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("records")
    keep(home, shop)
    publish(home, shop, repeat(shop))
    with running(home) as service:
        yield service


def ids(service: Running, **body: Any) -> list[str]:
    answer = service.client.post("/v1/recommendations", json=body)
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def comes_before(service: Running, user: str, liked: str, other: str) -> None:
    """Wait until a new item stands among the first ten; it stands before the other one."""
    for _ in range(300):
        found = ids(service, user_id=user, n=22)
        if liked in found and found.index(liked) < 10:
            break
        time.sleep(0.1)
    assert found.index(liked) < found.index(other)


def test_an_item_is_put_patched_replaced_and_read(changing: Running) -> None:
    http = changing.client
    told = http.post("/v1/items", json={"item_id": "n1", "title": "New", "price": 2.5, "tags": ["a", "b"]})
    assert told.json() == {"received": 1, "kept": 1, "rejected": 0, "errors": []}
    assert http.get("/v1/items/n1").json()["attributes"] == {"title": "New", "price": 2.5, "tags": ["a", "b"]}
    patched = http.patch("/v1/items/n1", json={"price": None, "stock": 3}).json()
    assert patched["attributes"] == {"title": "New", "tags": ["a", "b"], "stock": 3}
    replaced = http.put("/v1/items/n1", json={"title": "Other"}).json()
    assert replaced["attributes"] == {"title": "Other"}
    assert ids(changing, scenario="new", n=1) == ["n1"]
    assert http.get("/v1/items/n1").json()["events"] == 0
    before = http.get("/v1/items/i001").json()["events"]
    http.post("/v1/events", json={"user_id": "u020", "item_id": "i001", "event": "click"})
    assert http.get("/v1/items/i001").json()["events"] == before + 1 > 1
    assert http.get("/v1/items/nothing").status_code == 404
    assert http.patch("/v1/items/nothing", json={"a": 1}).status_code == 404
    assert http.put("/v1/items/n1", json={"item_id": "n2", "title": "x"}).status_code == 422


def test_many_are_judged_alone(changing: Running) -> None:
    items: list[Any] = [{"item_id": "m1"}, {"title": "no id"}, {"item_id": "m2", "x": {"deep": 1}}, 7]
    told = changing.client.post("/v1/items", json={"items": items}).json()
    assert (told["received"], told["kept"], told["rejected"]) == (4, 1, 3)
    assert [error["index"] for error in told["errors"]] == [1, 2, 3]
    assert told["errors"][0]["field"] == "item_id"
    assert changing.client.post("/v1/items", json={"items": []}).status_code == 422


def test_a_removed_item_is_never_answered_until_it_is_put_again(changing: Running) -> None:
    http = changing.client
    (best,) = ids(changing, user_id="u009", n=1)
    assert http.delete(f"/v1/items/{best}").json()["removed"] is True
    for body in ({"user_id": "u009", "n": 100}, {"n": 100}, {"scenario": "buy_again", "user_id": "u009"}):
        assert best not in ids(changing, **body)
    assert best not in [i["item_id"] for i in http.get("/v1/similar/i001?n=50").json()["items"]]
    assert http.put(f"/v1/items/{best}", json={"title": "Back"}).json()["removed"] is False
    assert best in ids(changing, user_id="u009", n=100)


def test_what_was_put_is_there_after_a_kill(tmp_path: Path, shop: Dataset) -> None:
    keep(tmp_path, shop)
    publish(tmp_path, shop, repeat(shop))
    with running(tmp_path) as service:
        service.client.put("/v1/items/i003", json={"title": "Renamed"})
        service.client.delete("/v1/items/i011")
        service.client.patch("/v1/users/u003", json={"segment": "vip"})
        service.kill()
    with running(tmp_path) as service:
        assert service.client.get("/v1/items/i003").json()["attributes"] == {"title": "Renamed"}
        assert "i011" not in ids(service, user_id="u003", n=100)
        assert service.client.get("/v1/users/u003").json()["attributes"] == {"segment": "vip"}


def test_an_erased_user_is_gone_from_answers_and_from_the_files_bytes(tmp_path: Path) -> None:
    shop = grocery()
    keep(tmp_path, shop)
    publish(tmp_path, shop, repeat(shop))
    name = "a-very-particular-name"
    with running(tmp_path) as service:
        http = service.client
        http.put(f"/v1/users/{name}", json={"secret": "a-very-particular-secret"})
        event = {"user_id": name, "item_id": "i019", "event": "purchase", "event_id": "once"}
        http.post("/v1/events", json=event)
        assert ids(service, user_id=name, n=1) == ["i019"]
        assert http.delete(f"/v1/users/{name}").json() == {"user_id": name, "events": 1, "everywhere": True}
        assert http.get(f"/v1/users/{name}").status_code == 404
        assert http.delete(f"/v1/users/{name}").status_code == 404
        answer = service.recommend(name, 3)
        assert answer["filled_by"] == "popular for strangers"
        again = http.post("/v1/events", json=event).json()
        assert (again["accepted"], again["duplicates"]) == (0, 1)
        files = b"".join(path.read_bytes() for path in tmp_path.glob("store.db*"))
    assert b"a-very-particular-secret" not in files
    with SqliteStore(tmp_path / "store.db") as store:
        assert name not in store.events()["user_id"].to_list()
    with sqlite3.connect(tmp_path / "store.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_new_item_is_recommended_to_those_who_like_what_reads_like_it(tmp_path: Path) -> None:
    encoder = TextEncoder(bundled_folder(), speed="exact", cache=tmp_path / "vectors")
    shop = encode_catalogue(checkerboard(vectors=False), encoder)
    keep(tmp_path, shop)
    with SqliteStore(tmp_path / "store.db") as store:
        store.upsert_items(shop.item_table)
    publish(tmp_path, shop, Sequence(epochs=30, d=16, heads=1, seed=1).fit(shop))
    (tmp_path / "intently.toml").write_text('speed = "exact"\n')
    with running(tmp_path, "--config", str(tmp_path / "intently.toml")) as service:
        service.client.put("/v1/items/hose", json={"title": "garden hose 99"})
        service.client.put("/v1/items/balm", json={"title": "lip balm 99"})
        for user, liked, other in (("u001", "hose", "balm"), ("u000", "balm", "hose")):
            comes_before(service, user, liked, other)


def test_a_new_item_like_nothing_that_is_a_candidate_is_recommended_all_the_same(tmp_path: Path) -> None:
    plain = grocery()
    model = boosted(plain)  # scores its candidates alone
    asked = plain.histories().select([3])
    left = ~np.isfinite(model.scores(asked)[0])
    assert left.sum() >= NEIGHBOURS
    titles = [f"garden hose {i}" if out else f"lip balm {i}" for i, out in enumerate(left.tolist())]
    table = plain.item_table.with_columns(title=pl.Series(titles), category=pl.lit("Things"))
    shop = Dataset(plain.events, plain.users, plain.items, table, plain.user_table)
    encode_catalogue(shop, TextEncoder(bundled_folder(), speed="exact", cache=tmp_path / "vectors"))
    keep(tmp_path, shop)
    publish(tmp_path, shop, model)
    (tmp_path / "intently.toml").write_text('speed = "exact"\n')
    wanted = {"user_id": plain.users.ids[3], "n": 1, "filter": 'category = "Fresh"'}
    with running(tmp_path, "--config", str(tmp_path / "intently.toml")) as service:
        service.client.post(
            "/v1/items", json={"item_id": "h", "title": "garden hose 99", "category": "Fresh"}
        )
        for _ in range(300):
            items = service.client.post("/v1/recommendations", json=wanted).json()["items"]
            if items and items[0]["source"] == "new":
                break
            time.sleep(0.1)
        [item] = items
    chances = model.probability(asked, [np.flatnonzero(left).tolist()])[0]
    assert (item["item_id"], item["source"]) == ("h", "new")
    assert np.isclose(chances, item["score"], rtol=1e-3).any()  # an answer rounds


def test_a_new_item_is_recommended_to_those_who_like_what_looks_like_it(tmp_path: Path) -> None:
    plain = checkerboard(vectors=False)
    files = [f"{item}.png" for item in plain.items.ids]
    for number, file in enumerate(files):
        draw(tmp_path / "shop" / "pictures" / file, number % 2, number)
    table = plain.item_table.with_columns(title=pl.lit("Thing"), image=pl.Series(files))
    shop = Dataset(plain.events, plain.users, plain.items, table, plain.user_table)
    home = tmp_path / "home"
    settings = Settings(home=home, speed="exact", pictures=tmp_path / "shop" / "pictures")
    shop = read_catalogue(shop, settings)
    keep(home, shop)
    publish(home, shop, Sequence(epochs=30, d=16, heads=1, seed=1).fit(shop))
    (tmp_path / "intently.toml").write_text(f'speed = "exact"\npictures = "{settings.pictures}"\n')
    draw(tmp_path / "shop" / "pictures" / "new" / "odd.png", 1, 99)
    draw(tmp_path / "shop" / "pictures" / "new" / "even.png", 0, 99)
    draw(tmp_path / "shop" / "secret.png", 1, 98)
    with running(home, "--config", str(tmp_path / "intently.toml")) as service:
        put = service.client.put
        put("/v1/items/odd", json={"title": "Thing", "image": "https://shop.example/new/odd.png"})
        put("/v1/items/even", json={"title": "Thing", "image": ["new/even.png", "new/odd.png"]})
        put("/v1/items/other", json={"image": "../secret.png"})  # nothing to read: no newcomer
        put("/v1/items/broken", json={"image": "x\u0000y"})
        for user, liked, other in (("u001", "odd", "even"), ("u000", "even", "odd")):
            comes_before(service, user, liked, other)
        known = service.client.post("/v1/recommendations", json={"user_id": "u001", "n": 22}).json()["items"]
        assert {i["item_id"] for i in known if i["source"] == "new"} == {"odd", "even"}
        assert service.client.get("/healthz").json()["status"] == "ok"


def test_many_come_and_go_as_lines(changing: Running) -> None:
    http, lines = changing.client, {"content-type": "application/x-ndjson"}
    body = b'{"item_id":"b1","title":"One"}\nno json\n{"item_id":"b2"}\n{"item_id":"b1","price":2}'
    told = http.post("/v1/bulk/items", content=body, headers=lines).json()
    assert (told["received"], told["kept"], [e["index"] for e in told["errors"]]) == (4, 3, [1])
    assert http.get("/v1/items/b1").json()["attributes"] == {"title": "One", "price": 2}
    given = [orjson.loads(line) for line in http.get("/v1/bulk/items").content.splitlines()]
    assert {"item_id": "b1", "title": "One", "price": 2} in given
    asked = b'{"user_id":"u001","n":2}\n{"n":0}\nno json\n{"user_id":"u002","n":3,"fields":["item_id"]}\n'
    answer = http.post("/v1/bulk/recommendations", content=asked, headers=lines)
    first, second, third, fourth = [orjson.loads(line) for line in answer.content.splitlines()]
    assert [item["item_id"] for item in first["items"]] == ids(changing, user_id="u001", n=2)
    assert (second["status"], third["status"]) == (422, 400)
    assert [set(item) for item in fourth["items"]] == [{"item_id"}] * 3
    assert http.post("/v1/bulk/items", json={}).status_code == 415
