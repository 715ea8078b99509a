"""What the service answers, asked over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from served import Running, running

from intently.data import Dataset


def test_a_user_gets_the_staples_first_with_probabilities_and_reasons(served: Running) -> None:
    answer = served.recommend("u003", 4, explain=True)
    assert {item["item_id"] for item in answer["items"][:2]} == {"i003", "i011"}
    assert [item["rank"] for item in answer["items"]] == [1, 2, 3, 4]
    assert answer["filled_by"] == "model"
    assert answer["degraded"] is False
    assert (answer["stage"], answer["event"], answer["horizon_days"]) == ("full", "purchase", 7.0)
    first = answer["items"][0]
    assert first["title"].startswith("Thing number")
    assert 0.5 < first["probability"] <= 1
    assert first["score"] == first["probability"]
    assert "bought" in first["reasons"][0]["text"]
    assert first["reasons"][0]["effect"] > 0
    assert answer["recommendation_id"].startswith("rec_")


def test_get_and_post_answer_the_same_list(served: Running) -> None:
    got = served.client.get("/v1/recommendations/u003", params={"n": 4, "explain": "true"}).json()
    posted = served.recommend("u003", 4, explain=True)
    for answer in (got, posted):
        for changing in ("recommendation_id", "took_ms", "next_cursor"):
            answer.pop(changing)
        for item in answer["items"]:  # a second lies between the two moments of asking
            item["score"] = item["probability"] = round(item["score"], 3)
            item["reasons"] = [reason["text"] for reason in item["reasons"]]
    assert got == posted


def test_a_stranger_gets_popular_items_and_is_told_so(served: Running) -> None:
    answer = served.recommend("nobody", 6)
    assert len(answer["items"]) == 6
    assert answer["filled_by"] == "popular for strangers"
    assert answer["notes"] == ["unknown user: answered as a stranger"]
    empty = served.client.post("/v1/recommendations", json={}).json()
    assert [i["item_id"] for i in empty["items"][:6]] == [i["item_id"] for i in answer["items"]]


def test_the_context_of_a_visit_counts_and_is_not_kept(served: Running) -> None:
    before = served.recommend("nobody", 3)
    visit = {"context": {"item_ids": ["i018", "i018", "no such item"]}, "n": 3, "user_id": "nobody"}
    answer = served.client.post("/v1/recommendations", json=visit).json()
    assert answer["items"][0]["item_id"] == "i018"
    assert "1 items of the context are unknown and were left out" in answer["notes"]
    after = served.recommend("nobody", 3)
    assert [i["item_id"] for i in after["items"]] == [i["item_id"] for i in before["items"]]


def test_excluded_items_never_come(served: Running) -> None:
    answer = served.recommend("u003", 100, exclude_ids=["i003", "i011", "unheard of"])
    found = [item["item_id"] for item in answer["items"]]
    assert not {"i003", "i011"} & set(found)
    assert len(found) == len(set(found)) == 22
    assert answer["items"][-1]["source"] == "popular"
    assert answer["filled_by"] == "model, then popular"


def test_predict_gives_probability_decision_and_reasons(served: Running) -> None:
    pair = {"user_id": "u003", "item_id": "i003", "explain": True}
    answer = served.client.post("/v1/predict", json=pair).json()
    (one,) = answer["predictions"]
    assert one["decision"] is True
    assert one["probability"] >= answer["threshold"]
    assert one["reasons"]
    listed = served.recommend("u003", 1)["items"][0]
    same = served.client.post("/v1/predict", json={"user_id": "u003", "item_id": listed["item_id"]}).json()
    assert same["predictions"][0]["probability"] == pytest.approx(listed["probability"], abs=1e-3)


def test_predict_answers_a_thousand_pairs_in_their_order(served: Running, shop: Dataset) -> None:
    pairs = [
        {"user_id": user, "item_id": item} for user in [*shop.users.ids, "nobody"] for item in shop.items.ids
    ]
    pairs = [
        *pairs[:998],
        {"user_id": "u000", "item_id": "no item"},
        {"user_id": "nobody", "item_id": "i000"},
    ]
    pairs = pairs[::-1][:1000]
    answer = served.client.post("/v1/predict", json={"pairs": pairs})
    assert answer.status_code == 200, answer.text
    found = answer.json()["predictions"]
    assert [(p["user_id"], p["item_id"]) for p in found] == [(p["user_id"], p["item_id"]) for p in pairs]
    assert found[0]["note"] == "unknown user: answered as a stranger"
    assert found[1]["note"].startswith("unknown item")
    assert found[1]["probability"] is None
    assert all(0 <= p["probability"] <= 1 for p in found[2:])
    yes = {(p["user_id"], p["item_id"]) for p in found if p["decision"]}
    assert ("u003", "i003") in yes
    assert ("u003", "i004") not in yes


def test_similar_items_are_answered_and_an_unknown_one_is_a_404(served: Running) -> None:
    answer = served.client.get("/v1/similar/i003", params={"n": 3}).json()
    assert len(answer["items"]) == 3
    assert "i003" not in {item["item_id"] for item in answer["items"]}
    missing = served.client.get("/v1/similar/nothing")
    assert missing.status_code == 404
    assert missing.headers["content-type"] == "application/problem+json"
    assert missing.json()["hint"]


def test_an_unknown_item_alone_is_a_404(served: Running) -> None:
    answer = served.client.post("/v1/predict", json={"user_id": "u003", "item_id": "nothing"})
    assert answer.status_code == 404
    assert answer.json()["errors"] == [
        {"field": "item_id", "reason": "no such item in the live model"},
    ]


def test_without_a_calibrated_model_no_probability_is_made_up(simple_home: Any) -> None:
    with running(simple_home) as service:
        answer = service.recommend("u003", 30, explain=True)
        assert {item["probability"] for item in answer["items"]} == {None}
        assert answer["stage"] == "quick"
        assert answer["items"][0]["reasons"][0]["text"].startswith("bought 20 times, last ")
        pair = service.client.post("/v1/predict", json={"user_id": "u003", "item_id": "i003"}).json()
        assert pair["predictions"][0]["probability"] is None
        assert pair["predictions"][0]["decision"] is None
        assert pair["notes"] == ["the live model gives an order, not probabilities"]


def test_users_are_found_by_part_of_their_id(served: Running) -> None:
    page = served.client.get("/v1/users", params={"query": "U00", "n": 3}).json()
    assert page["total"] == 10
    assert [user["user_id"] for user in page["users"]] == ["u000", "u001", "u002"]
    assert page["users"][0]["n_events"] == 60
    rest = served.client.get("/v1/users", params={"query": "u00", "start": 9}).json()
    assert [user["user_id"] for user in rest["users"]] == ["u009"]


def test_history_is_newest_first_and_empty_for_a_stranger(served: Running) -> None:
    told = served.client.get("/v1/users/u003/history", params={"n": 4}).json()
    assert told["known"] is True
    assert told["total"] == 60
    assert told["attributes"] == {"age": "45-54"}
    times = [event["timestamp"] for event in told["events"]]
    assert times == sorted(times, reverse=True)
    assert told["events"][0]["title"].startswith("Thing number")
    stranger = served.client.get("/v1/users/nobody/history").json()
    assert (stranger["known"], stranger["total"], stranger["events"]) == (False, 0, [])


def test_health_metrics_and_the_shop_are_told(served: Running) -> None:
    assert served.client.get("/healthz").json()["status"] == "ok"
    assert served.client.get("/readyz").json() == {"status": "ready"}
    shop = served.client.get("/v1/shop").json()
    assert shop["clock"]["historic"] is True
    assert shop["clock"]["now"].startswith("2024-05-")
    assert shop["data_note"] == "made up for a test"
    figures = served.client.get("/metrics").text
    assert 'intently_requests_total{route="/v1/shop",status="200"}' in figures
    assert "u003" not in figures


def test_openapi_describes_every_body_and_refers_to_nothing_missing(served: Running) -> None:
    schema = served.client.get("/openapi.json").json()
    assert schema["openapi"].startswith("3.1")
    text = served.client.get("/openapi.json").text
    names = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(schema["components"]["schemas"])
    assert {"RecommendationRequest", "PredictRequest", "EventIn", "EventBatch", "Problem"} <= names
    body = schema["paths"]["/v1/recommendations"]["post"]["requestBody"]
    assert body["content"]["application/json"]["schema"]["$ref"].endswith("RecommendationRequest")
