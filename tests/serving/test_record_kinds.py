"""A shop may say anything of an item: no kind of value stops the service, or changes another item's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import orjson
from served import keep, publish, repeat, running

from intently.data import Dataset

NAMES = ["size", "number", "title", "category", "price", "stock", "image", "created_at", "row", "item", "key"]
KINDS: dict[str, Any] = {
    "text": "M",
    "whole": 4,
    "large": 2**64 - 1,
    "broken": 4.5,
    "truth": True,
    "texts": ["a", "b"],
    "numbers": [1, 2.5],
    "mixed": [1, "a", True],
    "none": [],
}


def test_an_attribute_may_be_of_any_kind_and_stays_as_it_was_given(tmp_path: Path, shop: Dataset) -> None:
    keep(tmp_path, shop)
    publish(tmp_path, shop, repeat(shop))
    given = {f"{first}-{second}": value for first in KINDS for second, value in KINDS.items()}
    listed: dict[str, Any] = {"user_id": "u003", "n": 5, "scenario": "new"}
    with running(tmp_path) as service:
        http = service.client
        for name, value in given.items():  # every kind after every other one
            every = dict.fromkeys(NAMES, value)
            assert http.put(f"/v1/items/{name}", json=every | {"other": "x"}).status_code == 200
            assert http.put(f"/v1/users/{name}", json=every).status_code == 200
            assert http.post("/v1/recommendations", json=listed).status_code == 200
            assert http.post("/v1/recommendations", json={"user_id": name}).status_code == 200
        assert http.patch("/v1/items/text-mixed", json={"other": "y"}).status_code == 200
        service.kill()
    with running(tmp_path) as service:
        http = service.client
        for name, value in given.items():
            value = str(value) if value == KINDS["large"] else value  # no number of 64 bits: kept as text
            every = dict.fromkeys(NAMES, value)
            assert http.get(f"/v1/users/{name}").json()["attributes"] == every
            said = http.get(f"/v1/items/{name}").json()["attributes"]
            assert said == every | {"other": "y" if name == "text-mixed" else "x"}
        new = http.post("/v1/recommendations", json={"scenario": "new", "n": 20}).json()["items"]
        assert len(new) == 20
        assert http.post("/v1/recommendations", json=listed).status_code == 200


def test_one_item_of_another_kind_takes_no_rule_or_filter_out_of_force(tmp_path: Path, shop: Dataset) -> None:
    keep(tmp_path, shop)
    publish(tmp_path, shop, repeat(shop))
    sold_out = {"name": "Sold out", "kind": "exclude", "filter": "stock <= 0"}
    few = {"user_id": "u003", "n": 24, "filter": "stock < 5"}

    def listed(http: httpx.Client, body: dict[str, Any]) -> set[str]:
        answer = http.post("/v1/recommendations", json=body)
        assert answer.status_code == 200, answer.text
        assert not answer.json()["degraded"]
        return {item["item_id"] for item in answer.json()["items"]}

    with running(tmp_path) as service:
        http = service.client
        stock = [{"item_id": item, "stock": place % 8} for place, item in enumerate(shop.items.ids)]
        http.post("/v1/items", json={"items": stock}).raise_for_status()
        http.post("/v1/rules", json=sold_out).raise_for_status()
        expected = {item["item_id"] for item in stock if 0 < int(str(item["stock"])) < 5}
        assert listed(http, few) == expected
        for value in ("none", ["a"], True, [1, 2]):
            http.put("/v1/items/odd", json={"stock": value}).raise_for_status()
            assert listed(http, few) == expected
        http.put("/v1/items/odd", json={"stock": "3"}).raise_for_status()  # a text that is a number
        assert listed(http, few) == expected | {"odd"}
        assert http.get("/v1/rules").json()["troubles"] == []
        service.kill()
    with running(tmp_path) as service:
        assert listed(service.client, few) == expected | {"odd"}
        lines = service.client.get("/v1/bulk/items").content.splitlines()
        assert {"item_id": "odd", "stock": "3"} in [orjson.loads(line) for line in lines]


def test_lists_of_texts_are_paths_where_a_shop_has_nothing_else(tmp_path: Path, shop: Dataset) -> None:
    bare = Dataset(
        shop.events, shop.users, shop.items, shop.item_table.drop("title", "category"), shop.user_table
    )
    keep(tmp_path, bare)
    publish(tmp_path, bare, repeat(bare))
    tea = {"title": ["Green", "tea"], "category": ["Food", "Tea"], "brand": ["A", "B"], "tags": ["x", "y"]}
    wanted = {"user_id": "u003", "n": 3, "filter": '"Tea" in category and "x" in tags'}
    with running(tmp_path) as service:
        items = [{"item_id": item, **tea} for item in bare.items.ids]
        service.client.post("/v1/items", json={"items": items}).raise_for_status()
        service.client.post("/v1/rules", json={"name": "c", "kind": "cap", "column": "brand", "most": 2})
        before = service.client.post("/v1/recommendations", json=wanted).json()["items"]
        service.kill()
    with running(tmp_path) as service:  # the table is made of such columns alone
        after = service.client.post("/v1/recommendations", json=wanted).json()["items"]
        assert service.client.get("/v1/items/i001").json()["attributes"] == tea
    for found in (before, after):
        assert [item["title"] for item in found] == ["Green > tea"] * 2
        assert [item["category"] for item in found] == ["Food > Tea"] * 2
