"""Lists on the short way answer what the long way answers, and what is wrong is told the long way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import Running, keep, publish, repeat, running

from intently.config import Settings
from intently.data import Dataset
from intently.models.sequence import Sequence
from intently.serving.answer.recommend import recommend
from intently.serving.http.answer_door import AnswerDoor
from intently.serving.http.gate import Gate
from intently.serving.intake.events import take
from intently.serving.shapes.answers import RecommendationRequest, Recommendations
from intently.serving.state.engine import Engine
from intently.serving.state.pace import GROUP, QUICK_S, Pace
from tiny_shops import checkerboard


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service whose model is quick, asked often enough to know it."""
    home = tmp_path_factory.mktemp("quick")
    shop = checkerboard()
    keep(home, shop)
    publish(home, shop, Sequence(epochs=15, d=16, heads=1, seed=1).fit(shop))
    (home / "intently.toml").write_text(
        "[experiments.half]\narms.usual = { share = 0.5 }\narms.short = { share = 0.5, n = 7 }\n"
    )
    with running(home, "--config", str(home / "intently.toml")) as service:
        for number in range(3 * GROUP):
            service.recommend(f"u{number:03}", 3)
        yield service


def long(service: Running, body: dict[str, Any]) -> httpx.Response:
    """The long way: an Origin of its own keeps a request from the short one."""
    return service.client.post("/v1/recommendations", json=body, headers={"origin": service.address})


def told(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return {
        k: v for k, v in answer.json().items() if k not in ("took_ms", "recommendation_id", "next_cursor")
    }


@pytest.mark.parametrize(
    "body",
    [
        {"user_id": "u001"},
        {"user_id": "u002", "n": 30, "explain": True},
        {"user_id": "nobody", "context": {"item_ids": ["i003", "i005"]}},
        {"session_id": "s", "scenario": "trending", "n": 4},
        {"user_id": "u003", "exclude_ids": ["i001", "i003", "i005"], "fields": ["item_id", "score"]},
        {},
    ],
)
def test_both_ways_answer_the_same(quick: Running, body: dict[str, Any]) -> None:
    short = quick.client.post("/v1/recommendations", json=body)
    assert told(short) == told(long(quick, body))
    assert {"x-content-type-options", "content-security-policy"} <= set(short.headers)


def test_both_ways_name_the_arm(quick: Running) -> None:
    arms = {"usual": 10, "short": 7}
    for number in range(12):
        body = {"user_id": f"u{number:03}"}
        short, other = told(quick.client.post("/v1/recommendations", json=body)), told(long(quick, body))
        assert short["experiment"] == other["experiment"]
        assert short["experiment"]["name"] == "half"
        assert len(short["items"]) == len(other["items"]) <= arms[short["experiment"]["arm"]]


def test_get_and_post_answer_the_same(quick: Running) -> None:
    got = quick.client.get("/v1/recommendations/u004?n=5&explain=true")
    posted = quick.client.post("/v1/recommendations", json={"user_id": "u004", "n": 5, "explain": True})
    assert told(got) == told(posted)


def test_what_was_asked_of_one_user_is_asked_of_another_as_that_one_s(quick: Running) -> None:
    for query in ("", "?n=4", "?n=4&scenario=trending", "?n=4&user_id=u001", "?n=4"):
        for user in ("u001", "u002", "nobody", "u001"):
            got = quick.client.get(f"/v1/recommendations/{user}{query}")
            body: dict[str, Any] = {"user_id": user} | ({"n": 4} if "n=4" in query else {})
            body |= {"scenario": "trending"} if "trending" in query else {}
            assert told(got) == told(long(quick, body))
            assert int(got.headers["content-length"]) == len(got.content)
    for user, status in (("u" * 256, 200), ("u" * 257, 422), ("u%09", 422)):
        assert quick.client.get(f"/v1/recommendations/{user}?n=4").status_code == status


def test_what_is_wrong_is_told_as_ever(quick: Running) -> None:
    for body, status in (({"n": 0}, 422), ({"scenario": "x"}, 422), ({"user": 1}, 422), ([], 422)):
        answer = quick.client.post("/v1/recommendations", json=body)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert quick.client.get("/v1/recommendations/u004?n=x").status_code == 422
    assert quick.client.get("/v1/recommendations/u004", headers={"host": "evil.example"}).status_code == 421


def test_an_event_counts_in_the_very_next_answer(quick: Running) -> None:
    before = [item["item_id"] for item in quick.recommend("u006", 3)["items"]]
    event = {"user_id": "u006", "item_id": before[0], "event": "purchase"}
    assert quick.client.post("/v1/events", json=event).status_code == 200
    after = [item["item_id"] for item in quick.recommend("u006", 2)["items"]]
    assert before[0] not in after
    assert {int(name[1:]) % 2 for name in after} == {0}


def test_a_model_is_quick_once_it_is_known_to_be_and_a_new_one_begins_anew() -> None:
    pace, one, other = Pace(), object(), object()
    for seconds in [QUICK_S / 4, *[QUICK_S * 3] * (GROUP - 1)]:  # one that nothing held up is enough
        assert not pace.quick(anew=True)
        pace.took(one, seconds, anew=True)
        pace.took(one, QUICK_S * 2, anew=False)
    assert pace.quick(anew=True)
    assert not pace.quick(anew=False)
    pace.took(other, QUICK_S / 4, anew=True)
    assert not pace.quick(anew=True)
    for _ in range(2 * GROUP):
        pace.took(other, QUICK_S * 2, anew=True)
        pace.took(other, QUICK_S / 2, anew=False)
    assert not pace.quick(anew=True)
    assert pace.quick(anew=False)
    assert pace.lists == 6 * GROUP + 1


@pytest.fixture(params=["anew", "carried"])
def door(request: pytest.FixtureRequest, tmp_path: Path, shop: Dataset) -> Iterator[AnswerDoor]:
    """Of a service whose model takes its time when it has to be asked."""
    keep(tmp_path, shop)
    model = repeat(shop) if request.param == "anew" else Sequence(epochs=1, d=16, heads=1, seed=1).fit(shop)
    publish(tmp_path, shop, model)
    engine = Engine(Settings(home=tmp_path))
    engine.start()
    yield AnswerDoor(engine, Gate.__new__(Gate))
    engine.close()


def test_what_the_model_must_be_asked_for_goes_the_long_way_when_it_takes_its_time(door: AnswerDoor) -> None:
    engine = door._engine
    for _ in range(GROUP):
        engine.pace.took(engine.live.current, QUICK_S * 9, anew=True)
        engine.pace.took(engine.live.current, QUICK_S / 9, anew=False)
    assert door.takes(b"POST", b"/v1/recommendations")

    def ready(**more: Any) -> bool:
        return door._ready(RecommendationRequest.model_validate({"user_id": "u001", **more}))

    def told(**more: Any) -> Recommendations:
        return recommend(engine, RecommendationRequest.model_validate({"user_id": "u001", "n": 3, **more}))

    assert not ready()
    lists = engine.pace.lists
    cursor = told().next_cursor
    assert engine.pace.lists == lists + 1
    assert ready()
    assert ready(cursor=cursor)
    assert not ready(context={"item_ids": ["i003"]})
    assert not ready(user_id="u002")
    assert not ready(session_id="somebody", user_id=None)
    told(scenario="trending")
    assert ready(scenario="trending")
    engine.readings._whole.clear()
    for said in engine.readings._said.values():
        said.scores = None
    engine.readings.rest(engine.memory.users.get("u001"))
    assert ready()
    assert not ready(scenario="trending")  # every item's score is needed
    event = {"user_id": "u001", "item_id": "i003", "event": "click"}
    asyncio.run(take(engine, event))
    assert not ready()
