"""Named ways to ask, pages, guests, carts: over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import Running, running

from intently.config import Settings
from intently.data import Dataset
from intently.errors import ConfigError
from intently.serving.state.scenarios import scenarios_of


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory, shop: Dataset) -> Iterator[Running]:
    """A service whose shop these tests may change: each uses users of its own."""
    from served import keep, publish, repeat

    home = tmp_path_factory.mktemp("changing")
    keep(home, shop)
    publish(home, shop, repeat(shop))
    (home / "intently.toml").write_text('[scenarios.checkout]\nlike = "cart"\nn = 3\n')
    with running(home, "--config", str(home / "intently.toml")) as service:
        yield service


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def tell(service: Running, **event: Any) -> None:
    assert service.client.post("/v1/events", json=event).status_code == 200


def test_pages_go_on_where_they_stood_while_events_arrive(changing: Running) -> None:
    whole = ids(changing.ask(user_id="u001", n=12))
    first = changing.ask(user_id="u001", n=4)
    tell(changing, user_id="u001", item_id="i020", event="purchase")
    second = changing.ask(user_id="u001", n=4, cursor=first["next_cursor"])
    third = changing.ask(user_id="u001", n=4, cursor=second["next_cursor"])
    assert ids(first) + ids(second) + ids(third) == whole
    assert [item["rank"] for item in third["items"]] == [9, 10, 11, 12]
    assert ids(changing.ask(user_id="u001", n=12)) != whole
    last = changing.ask(user_id="u001", n=100)
    assert last["next_cursor"] is None


def test_a_cursor_of_another_or_changed_by_hand_is_refused(changing: Running) -> None:
    cursor = changing.ask(user_id="u002", n=2)["next_cursor"]
    for body in (
        {"user_id": "u003", "cursor": cursor},
        {"user_id": "u002", "cursor": cursor[:-1] + ("0" if cursor[-1] != "0" else "1")},
        {"user_id": "u002", "cursor": cursor.replace(".2.", ".3.")},
        {"user_id": "u002", "cursor": "nonsense"},
        {"user_id": "u002", "cursor": cursor, "exclude_ids": ["i001"]},
    ):
        answer = changing.client.post("/v1/recommendations", json=body)
        assert answer.status_code == 422, body
        assert "cursor" in answer.json()["detail"]


def test_what_lies_in_the_cart_does_not_come_until_it_is_taken_out(changing: Running) -> None:
    best = ids(changing.ask(user_id="u004", n=1))[0]
    tell(changing, user_id="u004", item_id=best, event="cart_add")
    assert best not in ids(changing.ask(user_id="u004", n=20))
    assert best not in ids(changing.ask(user_id="u005", n=24, context={"cart": [best]}))
    tell(changing, user_id="u004", item_id=best, event="cart_remove")
    assert best in ids(changing.ask(user_id="u004", n=20))


def test_a_guest_counts_at_once_and_becomes_the_user_who_signs_in(changing: Running) -> None:
    tell(changing, session_id="s-1", item_id="i019", event="purchase")
    assert ids(changing.ask(session_id="s-1", n=1)) == ["i019"]
    assert "i019" not in ids(changing.ask(user_id="new one", n=1))
    both = changing.ask(user_id="new one", session_id="s-1", n=1)
    assert ids(both) == ["i019"]
    tell(changing, user_id="new one", item_id="i018", event="view", session_id="s-1")
    assert "i019" in ids(changing.ask(user_id="new one", n=2))
    history = changing.client.get("/v1/users/new%20one/history").json()
    assert [event["item_id"] for event in history["events"]] == ["i018", "i019"]


def test_what_was_just_shown_is_left_out_when_that_is_wanted(changing: Running) -> None:
    shown = ids(changing.ask(user_id="u006", n=3))
    assert ids(changing.ask(user_id="u006", n=3)) == shown
    assert not set(shown) & set(ids(changing.ask(user_id="u006", n=3, unserved_minutes=5)))


def test_each_scenario_names_items_in_its_own_way(changing: Running) -> None:
    own = changing.ask(scenario="buy_again", user_id="u007", n=30)
    history = changing.client.get("/v1/users/u007/history?n=1000").json()
    assert set(ids(own)[: len(set(ids(own)))]) >= {event["item_id"] for event in history["events"]}
    assert own["items"][0]["source"] == "own"
    together = changing.ask(scenario="bought_together", context={"item_ids": ["i003"]}, n=1)
    assert ids(together) == ["i011"]  # the staples of the same users
    assert (together["items"][0]["source"], together["filled_by"]) == ("together", "together")
    checkout = changing.ask(scenario="checkout", context={"cart": ["i004"]})
    assert (len(checkout["items"]), ids(checkout)[0], checkout["scenario"]) == (3, "i012", "checkout")
    trending = changing.ask(scenario="trending", n=5)
    assert {item["source"] for item in trending["items"]} == {"trending"}
    found = changing.ask(context={"query": "number 17"}, n=1)
    assert (ids(found), found["items"][0]["source"]) == (["i017"], "query")
    listed = changing.ask(context={"page": "things"}, user_id="u001", n=2)
    assert {item["source"] for item in listed["items"]} == {"page"}


def test_only_the_fields_that_were_asked_for_come(changing: Running) -> None:
    answer = changing.ask(user_id="u001", n=2, fields=["item_id", "score"])
    assert [set(item) for item in answer["items"]] == [{"item_id", "score"}] * 2


def test_the_callers_items_are_put_in_order(served: Running) -> None:
    body = {"user_id": "u003", "item_ids": ["i020", "i003", "no such", "i011", "i003"], "explain": True}
    answer = served.client.post("/v1/rank", json=body).json()
    assert set(ids(answer)[:2]) == {"i003", "i011"}
    assert ids(answer)[2:] == ["i020"]
    assert answer["items"][0]["probability"] > answer["items"][2]["probability"]
    assert answer["items"][0]["reasons"]
    assert "1 items are unknown and were left out" in answer["notes"]


def test_an_unknown_scenario_is_refused_with_the_nearest_name(served: Running) -> None:
    answer = served.client.post("/v1/recommendations", json={"scenario": "hom"})
    assert answer.status_code == 422
    assert "did you mean 'home'?" in answer.json()["hint"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"like": "nothing"}, "names no scenario"),
        ({"fatigu": 0.1}, "unknown setting 'fatigu'"),
        ({"n": 0}, "n = 0; allowed: 1 to 100"),
        ({"fatigue": 2}, "allowed: 0 to 1"),
        ({"served_hours": "x"}, "allowed: hours"),
        ({"first": "magic"}, "allowed: one of model"),
        ({"in_cart": 1}, "allowed: true or false"),
    ],
)
def test_a_wrong_scenario_in_the_settings_is_named(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        scenarios_of(Settings(home=tmp_path, scenarios={"mine": given}))
