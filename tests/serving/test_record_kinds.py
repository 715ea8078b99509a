"""A shop may say anything of an item: no kind of value stops the service, or changes another item's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from served import keep, publish, repeat, running

from intently.data import Dataset

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


@pytest.mark.parametrize("column", ["size", "title", "category", "price", "stock", "image", "created_at"])
def test_an_attribute_may_be_of_any_kind_and_stays_as_it_was_given(
    tmp_path: Path, shop: Dataset, column: str
) -> None:
    keep(tmp_path, shop)
    publish(tmp_path, shop, repeat(shop))
    given = {f"{first}-{second}": value for first in KINDS for second, value in KINDS.items()}
    listed: dict[str, Any] = {"user_id": "u003", "n": 5, "scenario": "new"}
    with running(tmp_path) as service:
        http = service.client
        for name, value in given.items():  # every kind after every other one
            assert http.put(f"/v1/items/{name}", json={column: value, "other": "x"}).status_code == 200
            assert http.put(f"/v1/users/{name}", json={column: value}).status_code == 200
            assert http.post("/v1/recommendations", json=listed).status_code == 200
            assert http.post("/v1/recommendations", json={"user_id": name}).status_code == 200
        assert http.patch("/v1/items/text-mixed", json={"other": "y"}).status_code == 200
        service.kill()
    with running(tmp_path) as service:
        http = service.client
        for name, value in given.items():
            said = http.get(f"/v1/items/{name}").json()["attributes"]
            value = str(value) if value == KINDS["large"] else value  # no number of 64 bits: kept as text
            assert http.get(f"/v1/users/{name}").json()["attributes"] == {column: value}
            assert said == {column: value, "other": "y" if name == "text-mixed" else "x"}
        assert len(http.post("/v1/recommendations", json={"scenario": "new", "n": 20}).json()["items"]) == 20
        assert http.post("/v1/recommendations", json=listed).status_code == 200
