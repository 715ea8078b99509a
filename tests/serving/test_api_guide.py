"""Every example of docs/api.md, sent to a real service in the order of the page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import Running, boosted, grocery, keep, publish, running

GUIDE = Path(__file__).parent.parent.parent / "docs" / "api.md"
BLOCK = re.compile(r"```(http|json)\n(.*?)```", re.DOTALL)
LINE = re.compile(r"(GET|POST|PUT|PATCH|DELETE) (\S+)(?: -> (\d+))?")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("guide")
    shop = grocery()
    keep(home, shop)
    publish(home, shop, boosted(shop))
    with running(home) as ran:
        ran.client.put("/v1/items/i001", json={"title": "Thing number 1", "category": "Things", "stock": 3})
        yield ran


def test_every_example_of_the_guide_works_as_it_says(service: Running) -> None:
    blocks = BLOCK.findall(GUIDE.read_text(encoding="utf-8"))
    answer, told, asked = None, "", 0
    for kind, text in blocks:
        if kind == "json":
            assert answer is not None
            missing(json.loads(text), answer.json(), text)
            continue
        head, _, body = text.partition("\n")
        found = LINE.fullmatch(head.strip())
        assert found, head
        method, path, status = found[1], found[2].replace("RECOMMENDATION_ID", told), int(found[3] or 200)
        content = {"content": body, "headers": {"content-type": "application/json"}} if body.strip() else {}
        answer = service.client.request(method, path, **content)
        assert answer.status_code == status, (head, answer.text)
        asked += 1
        if answer.headers["content-type"] == "application/json":
            told = answer.json().get("recommendation_id", told)
    assert asked > 25


def missing(shown: Any, real: Any, where: str) -> None:
    """What the page shows is there: every field, in every place; a filled list is not empty."""
    if isinstance(shown, dict):
        assert isinstance(real, dict), where
        for name, value in shown.items():
            assert name in real, (name, where)
            missing(value, real[name], where)
    elif isinstance(shown, list) and shown:
        assert isinstance(real, list), where
        assert real, where
        missing(shown[0], real[0], where)
