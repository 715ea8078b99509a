"""Models change under the service: nothing is dropped, nothing damaged is taken."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import Running, keep, publish, repeat, running

from intently import artifact
from intently.config import Settings
from intently.data import Dataset
from intently.models import Recommender
from intently.serving.answer.recommend import recommend
from intently.serving.shapes.answers import RecommendationRequest
from intently.serving.state.engine import Engine


def wait_for(service: Running, path: str, field: str, value: Any) -> dict[str, Any]:
    for _ in range(600):
        told = dict(service.client.get(path).json())
        if told[field] == value:
            return told
        threading.Event().wait(0.1)
    raise AssertionError(told)


def test_a_better_model_is_taken_without_a_failed_request(
    simple_home: Path, shop: Dataset, calibrated: Recommender
) -> None:
    failed, versions, stop = [], set(), threading.Event()

    def ask(address: str) -> None:
        with httpx.Client(base_url=address, timeout=30, trust_env=False) as client:
            while not stop.is_set():
                answer = client.get("/v1/recommendations/u003?n=5")
                if answer.status_code != 200 or len(answer.json()["items"]) != 5:
                    failed.append(answer.text)
                versions.add(answer.json()["model_version"])

    with running(simple_home) as service:
        first = service.recommend("u003")["model_version"]
        threads = [threading.Thread(target=ask, args=(service.address,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        second = publish(simple_home, shop, calibrated).name
        told = wait_for(service, "/v1/shop", "model_version", second)
        assert (told["stage"], told["calibrated"], told["model"]) == ("full", True, "boosted")
        assert artifact.roll_back(simple_home / "artifacts") == first
        wait_for(service, "/v1/shop", "model_version", first)
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed
    assert versions == {first, second}


def test_a_damaged_model_is_refused_and_the_old_one_goes_on(simple_home: Path, shop: Dataset) -> None:
    with running(simple_home) as service:
        first = service.recommend("u003")["model_version"]
        folder = artifact.publish(
            simple_home / "artifacts", repeat(shop), shop, {"stage": "full"}, "# card\n"
        )
        arrays = folder / "model" / "arrays.safetensors"
        damaged = bytearray(arrays.read_bytes())
        damaged[-1] ^= 1
        arrays.write_bytes(bytes(damaged))
        artifact.promote(simple_home / "artifacts", folder.name)
        told = wait_for(service, "/healthz", "status", "degraded")
        assert "arrays.safetensors is changed" in told["problems"][0]
        answer = service.recommend("u003")
        assert (answer["model_version"], answer["degraded"]) == (first, True)
        assert "refused" in answer["notes"][0]
        artifact.promote(simple_home / "artifacts", first)
        wait_for(service, "/healthz", "status", "ok")


def test_without_any_model_popular_items_are_answered_and_said_so(tmp_path: Path, shop: Dataset) -> None:
    keep(tmp_path, shop)
    with running(tmp_path) as service:
        answer = service.recommend("u003", 4, exclude_ids=["i001"])
        assert len(answer["items"]) == 4
        assert (answer["filled_by"], answer["degraded"]) == ("popular, no model is live", True)
        assert service.client.get("/readyz").status_code == 503
        assert service.client.get("/healthz").json()["status"] == "degraded"
        assert service.client.get("/v1/similar/i001").status_code == 404
        pair = service.client.post("/v1/predict", json={"user_id": "u003", "item_id": "i001"}).json()
        assert pair["predictions"][0]["probability"] is None
        said = {"done": 3, "of": 9, "step": "reading titles"}
        (tmp_path / "training.json").write_text(json.dumps(said | {"pid": os.getpid()}))
        told = service.client.get("/v1/shop").json()
        assert told["training"] == said
        publish(tmp_path, shop, repeat(shop))
        for _ in range(600):
            if service.client.get("/readyz").status_code == 200:
                break
            threading.Event().wait(0.1)
        assert service.recommend("u003", 4)["filled_by"] == "model"


def test_an_empty_shop_answers_with_nothing_and_no_error(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        assert service.recommend("anyone")["items"] == []
        assert service.client.get("/v1/users").json() == {"users": [], "total": 0, "start": 0}


def test_a_model_that_fails_is_replaced_by_popular_items_and_said_so(
    simple_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug in a model")

    engine = Engine(Settings(home=simple_home))
    engine.start()
    try:
        assert engine.live.current is not None
        monkeypatch.setattr(engine.live.current.model, "scores", broken)
        answer = recommend(engine, RecommendationRequest(user_id="u003", n=4))
    finally:
        engine.close()
    assert (answer.filled_by, answer.degraded, len(answer.items)) == ("popular, the model failed", True, 4)
    assert "the model failed on this request" in answer.notes[0]
