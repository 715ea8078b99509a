"""Rules over HTTP: what is asked for is what is answered, from the next answer on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from served import Running, keep, publish, running

from intently.config import Settings
from intently.data import Dataset
from intently.models import Recommender
from intently.serving.answer import candidates, recommend
from intently.serving.answer.draft import CODE, Draft
from intently.serving.rules.book import LOOK_S, RuleFile
from intently.serving.rules.force import force_of
from intently.serving.rules.rule import Rule
from intently.serving.shapes.answers import RecommendationRequest
from intently.serving.state.engine import Engine

BRANDS = "ABCDEF"
USER = "u003"  # buys i003 and i011 every week


@pytest.fixture(scope="module")
def branded(shop: Dataset) -> Dataset:
    """The grocery: item k is of brand k % 6 and costs k."""
    table = shop.item_table.with_columns(
        brand=pl.Series([BRANDS[k % 6] for k in range(shop.n_items)]),
        price=pl.Series([float(k) for k in range(shop.n_items)]),
    )
    people = shop.user_table.with_columns(segment=pl.Series(["vip", "new"] * (shop.n_users // 2)))
    return Dataset(shop.events, shop.users, shop.items, table, people)


@pytest.fixture(scope="module")
def ruled_home(tmp_path_factory: pytest.TempPathFactory, branded: Dataset, calibrated: Recommender) -> Path:
    home = tmp_path_factory.mktemp("ruled")
    keep(home, branded)
    publish(home, branded, calibrated)
    return home


@pytest.fixture(scope="module")
def service(ruled_home: Path) -> Iterator[Running]:
    with running(ruled_home) as started:
        yield started


@pytest.fixture(autouse=True)
def no_rules(ruled_home: Path) -> None:
    (ruled_home / "rules.json").unlink(missing_ok=True)
    seen()


def seen() -> None:
    """Wait until the service has looked at the file of rules again."""
    time.sleep(LOOK_S * 1.5)


def items(service: Running, n: int = 5, **asked: Any) -> list[str]:
    return [item["item_id"] for item in service.recommend(USER, n, **asked)["items"]]


def add(service: Running, **rule: Any) -> dict[str, Any]:
    answer = service.client.post("/v1/rules", json={"name": rule["kind"], **rule})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def brand(item_id: str) -> str:
    return BRANDS[int(item_id[1:]) % 6]


# -- one request ------------------------------------------------------------------------------------


def test_a_filtered_list_is_full_where_enough_items_match(service: Running) -> None:
    assert items(service)[:2] == ["i003", "i011"] or items(service)[:2] == ["i011", "i003"]
    found = items(service, 8, filter="price >= 16")
    assert sorted(found) == [f"i{k:03d}" for k in range(16, 24)]
    assert items(service, 8, filter="price >= 16") == found
    assert len(items(service, 8, filter="price >= 20")) == 4
    assert items(service, filter="user.bought(item) and brand == 'F' and price < 12") == ["i011"]
    assert items(service, filter="price < 0") == []
    assert len(items(service, filter="user.segment == 'new'")) == 5  # an odd user
    assert items(service, filter="user.segment == 'vip'") == []


def test_boosts_move_the_order_and_leave_the_scores(service: Running) -> None:
    plain = service.recommend(USER, 24)["items"]
    moved = service.recommend(USER, 24, boosts=[{"filter": "price >= 22", "add": 1.0}])["items"]
    assert {item["item_id"] for item in moved[:2]} == {"i022", "i023"}
    assert {i["item_id"]: i["probability"] for i in moved} == {i["item_id"]: i["probability"] for i in plain}
    down = items(service, 24, boosts=[{"filter": "item_id in ['i003', 'i011']", "multiply": 0.1}])
    before = [item["item_id"] for item in plain]
    assert down.index("i003") > before.index("i003")


def test_pins_stand_at_their_slots(service: Running) -> None:
    answer = service.recommend(USER, 5, pins=[{"item_id": "i020", "slot": 3}], explain=True)
    third = answer["items"][2]
    assert (third["item_id"], third["source"], third["rank"]) == ("i020", "pin", 3)
    assert third["reasons"][0]["code"] == "pinned"
    assert items(service, pins=[{"item_id": "i020", "slot": 1}], exclude_ids=["i020"])[0] != "i020"
    assert "i020" not in items(service, pins=[{"item_id": "i020", "slot": 1}], filter="price < 9")
    assert len(items(service, pins=[{"item_id": "nobody", "slot": 1}])) == 5


def test_the_next_page_keeps_to_the_filter(service: Running) -> None:
    first = service.recommend(USER, 4, filter="price >= 16")
    second = service.recommend(USER, 4, cursor=first["next_cursor"])
    found = [item["item_id"] for item in first["items"] + second["items"]]
    assert sorted(found) == [f"i{k:03d}" for k in range(16, 24)]
    asked = {"user_id": USER, "cursor": first["next_cursor"], "filter": "price < 2"}
    assert service.client.post("/v1/recommendations", json=asked).status_code == 422


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"filter": "pirce < 3"}, "character 1: unknown column 'pirce'"),
        ({"filter": "price < "}, "character 9: the filter ends too early"),
        ({"filter": "price < 'x'"}, "'price' is a number and 'x' is a text"),
        ({"filter": "a" * 2001}, "at most 2000 characters"),
        ({"boosts": [{"filter": "brand = 'A'"}]}, "a boost has multiply or add"),
        ({"boosts": [{"filter": "price contains 'x'", "add": 0.1}]}, "'price' is a number, not a text"),
        ({"pins": [{"item_id": "i001", "slot": 0}]}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_filtered_by_is_said(service: Running, asked: dict[str, Any], said: str) -> None:
    answer = service.client.post("/v1/recommendations", json={"user_id": USER, **asked})
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert len(answer.content) <= 4096


# -- stored rules -----------------------------------------------------------------------------------


def test_a_rule_holds_from_the_next_answer_on_until_it_goes(service: Running) -> None:
    stored = add(service, id="no-f", kind="exclude", filter="brand == 'F'")
    assert stored["rule"]["created_at"].startswith("2024-05")
    assert "i011" not in items(service)
    changed = {"name": "x", "kind": "exclude", "filter": "brand == 'D'"}
    assert service.client.put("/v1/rules/no-f", json=changed).json()["version"] == 2
    assert "i003" not in items(service)
    assert "i011" in items(service)
    listed = service.client.get("/v1/rules").json()
    assert [rule["id"] for rule in listed["rules"]] == listed["holding"] == ["no-f"]
    assert service.client.get("/v1/rules/no-f").json()["rule"]["filter"] == "brand == 'D'"
    assert service.client.delete("/v1/rules/no-f").status_code == 200
    assert {"i003", "i011"} <= set(items(service))
    assert service.client.delete("/v1/rules/no-f").status_code == 404


def test_another_process_may_change_the_rules(service: Running, ruled_home: Path) -> None:
    RuleFile(ruled_home / "rules.json").add(
        Rule(name="x", kind="include", filter="price >= 16"), "2024-01-01T00:00:00Z"
    )
    seen()
    assert all(int(item[1:]) >= 16 for item in items(service, 8))
    (ruled_home / "rules.json").write_text("{")
    seen()
    assert all(int(item[1:]) >= 16 for item in items(service, 8))
    assert "the rules cannot be read" in service.client.get("/healthz").json()["problems"][0]
    assert service.client.post("/v1/rules", json={"name": "x", "kind": "cap"}).status_code == 422
    cap = {"name": "x", "kind": "cap", "column": "brand", "most": 1}
    assert service.client.post("/v1/rules", json=cap).status_code == 503


def test_caps_hold_and_the_list_is_filled_behind_them(service: Running) -> None:
    add(service, kind="cap", column="brand", most=1)
    found = items(service, 6)
    assert sorted(map(brand, found)) == list(BRANDS)
    assert len(items(service, 10)) == 6
    add(service, kind="pin", item_id="i017", slot=1)  # of the brand of i011
    assert items(service, 6)[0] == "i017"
    assert "i011" not in items(service, 6)
    assert sorted(map(brand, items(service, 6))) == list(BRANDS)


def test_a_rule_is_for_its_scenarios(service: Running) -> None:
    add(service, kind="exclude", filter="brand == 'F'", scenarios=["cart"])
    assert "i011" in items(service)
    assert "i011" not in items(service, scenario="cart")


def test_schedules_go_by_the_shops_clock(service: Running) -> None:
    add(service, id="now", kind="exclude", filter="brand == 'F'", schedule={"ends_at": "2025-01-01"})
    add(service, id="later", kind="exclude", filter="brand == 'D'", schedule={"starts_at": "2025-01-01"})
    listed = service.client.get("/v1/rules").json()
    assert listed["holding"] == ["now"]  # the log ended in May 2024, and the clock went on from there
    assert {"i003", "i011"} & set(items(service)) == {"i003"}


def test_a_schedule_turns_while_the_service_runs(service: Running) -> None:
    now = service.client.get("/v1/shop").json()["clock"]["now"]
    turn = f"{now[:-1]}+00:00"
    turns_at = time.time() + 3
    seconds = pl.Series([turn]).str.to_datetime(time_zone="UTC").dt.offset_by("3s").dt.strftime("%FT%TZ")[0]
    add(service, kind="exclude", filter="brand == 'F'", schedule={"starts_at": seconds})
    assert "i011" in items(service)
    while "i011" in items(service):
        assert time.time() < turns_at + 30, "it never turned"
        time.sleep(0.1)


def test_a_rule_that_was_acknowledged_survives_a_kill(ruled_home: Path, service: Running) -> None:
    with running(ruled_home) as other:
        add(other, id="kept", kind="exclude", filter="brand == 'F'")
        other.kill()
    seen()
    assert "i011" not in items(service)


@pytest.mark.parametrize(
    ("rule", "field", "said"),
    [
        ({"kind": "exclude", "filter": "stok < 1"}, "filter", "unknown column 'stok'"),
        ({"kind": "exclude", "filter": "user.segmnt == 'x'"}, "filter", "unknown attribute 'user.segmnt'"),
        ({"kind": "cap", "column": "seller", "most": 1}, "column", "no column 'seller'"),
        ({"kind": "pin", "item_id": "nobody", "slot": 1}, "item_id", "nobody knows the item"),
        (
            {"kind": "cap", "column": "brand", "most": 1, "scenarios": ["hom"]},
            "scenarios",
            "no scenario 'hom'",
        ),
        ({"kind": "cap", "column": "brand", "most": 1, "id": "Not An Id"}, "id", "match pattern"),
        ({"kind": "wish"}, "kind", "'exclude', 'include', 'boost', 'pin' or 'cap'"),
    ],
)
def test_a_rule_that_this_shop_cannot_carry_is_not_stored(
    service: Running, rule: dict[str, Any], field: str, said: str
) -> None:
    answer = service.client.post("/v1/rules", json={"name": "x", **rule})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
    assert said in answer.json()["errors"][0]["reason"]
    assert service.client.get("/v1/rules").json()["rules"] == []


def test_lint_looks_at_stored_rules_and_at_those_that_are_sent(service: Running) -> None:
    stored = add(service, id="all", kind="exclude", filter="price >= 0")
    assert [one["code"] for one in stored["findings"]] == ["matches everything"]
    assert service.client.post("/v1/rules:lint", json={}).json()["findings"][0]["rule_id"] == "all"
    sent = {"rules": [{"name": "x", "kind": "exclude", "filter": "price > 99"}]}
    assert service.client.post("/v1/rules:lint", json=sent).json() == {
        "n_rules": 1,
        "findings": [
            {
                "rule_id": "rule-1",
                "level": "warning",
                "code": "matches nothing",
                "message": "its filter matches no item: the rule does nothing",
            }
        ],
    }


# -- dry run ----------------------------------------------------------------------------------------


def test_a_dry_run_says_what_a_rule_removes_and_costs_and_stores_nothing(service: Running) -> None:
    rule = {"name": "x", "kind": "exclude", "filter": "item_id == 'i003'"}
    asked = {"rule": rule, "users": 30, "n": 2}
    said = service.client.post("/v1/rules:dry-run", json=asked).json()
    hit = [f"u{k:03d}" for k in range(30) if k % 8 == 3]  # who buy i003 every week
    assert (said["users"], said["holds"], said["taken_out"]) == (30, True, 1)
    assert said["lists_changed"]["value"] == pytest.approx(len(hit) / 30, abs=1e-6)
    assert said["lose"] == [{"item_id": "i003", "title": "Thing number 3", "before": len(hit), "after": 0}]
    assert said["items_changed"] == len(hit) == sum(one["after"] - one["before"] for one in said["gain"])
    assert said["value_change"]["high"] < 0 < said["value_after"] < said["value_before"]
    gained = said["value_after"] - said["value_before"]
    assert said["value_change"]["value"] == pytest.approx(gained, abs=2e-6)
    assert said["filled_before"] == said["filled_after"] == 1.0
    assert service.client.get("/v1/rules").json()["rules"] == []
    assert "i003" in items(service)


def test_a_dry_run_of_a_rule_that_does_not_hold_changes_nothing(service: Running) -> None:
    add(service, id="f", kind="exclude", filter="brand == 'F'")
    later = {"starts_at": "2025-01-01"}
    rule = {"name": "x", "kind": "exclude", "filter": "brand == 'D'", "schedule": later}
    asked: dict[str, Any] = {"rule": rule, "users": 5}
    said = service.client.post("/v1/rules:dry-run", json=asked).json()
    assert (said["holds"], said["lists_changed"]["value"], said["lose"]) == (False, 0.0, [])
    said = service.client.post("/v1/rules:dry-run", json=asked | {"at": "2025-02-01"}).json()
    assert said["holds"]
    assert {one["item_id"] for one in said["lose"]} <= {f"i{k:03d}" for k in range(3, 24, 6)}
    instead = {"id": "f", "name": "x", "kind": "cap", "column": "brand", "most": 3}
    said = service.client.post("/v1/rules:dry-run", json={"rule": instead, "users": 30}).json()
    assert "i011" in {one["item_id"] for one in said["gain"]}  # the stored rule of this id was replaced
    same = {"id": "f", "name": "exclude", "kind": "exclude", "filter": "brand == 'F'"}
    said = service.client.post("/v1/rules:dry-run", json={"rule": same, "users": 30}).json()
    assert "i011" in {one["item_id"] for one in said["lose"]}  # what the stored rule does already


# -- what was taken out, and by whom ------------------------------------------------------------------


def test_the_decision_log_names_the_rule(service: Running) -> None:
    add(service, id="no-f", kind="exclude", filter="brand == 'F'")
    add(service, id="own", kind="exclude", filter="user.bought(item) and brand == 'D'")
    add(service, id="one", kind="cap", column="brand", most=1)
    answer = service.recommend(USER, 4, filter="price < 20")
    shown = [item["item_id"] for item in answer["items"]]
    assert sorted(map(brand, shown)) == list("ABCE")
    asked = f"/v1/decisions/{answer['recommendation_id']}"
    stages = {
        item: service.client.get(asked, params={"item_id": item}).json()["verdict"]["stage"]
        for item in ("i011", "i003", "i022", *shown)
    }
    assert stages["i011"] == "rule:no-f"
    assert stages["i003"] == "rule:own"
    assert stages["i022"] == "filter"


def test_every_drop_names_the_rule_that_did_it(ruled_home: Path) -> None:
    rules = RuleFile(ruled_home / "rules.json")
    rules.add(Rule(id="no-f", name="x", kind="exclude", filter="brand == 'F'"), "")
    rules.add(Rule(id="own", name="x", kind="exclude", filter="user.bought(item) and brand == 'D'"), "")
    rules.add(Rule(id="one", name="x", kind="cap", column="brand", most=1), "")
    engine = Engine(Settings(home=ruled_home))
    try:
        engine.live.refresh()
        asked = RecommendationRequest.model_validate({"user_id": USER, "n": 4, "filter": "price < 20"})
        draft = Draft(engine.ask(USER), asked, engine.scenarios["home"], 4)
        recommend.make(engine, draft)
        ids = engine.memory.items.ids
        dropped: dict[str, str] = {}
        for number, stage in draft.dropped:
            dropped.setdefault(ids[number], stage)
        assert len(draft) == 4
        assert dropped["i011"] == "rule:no-f"
        assert dropped["i003"] == "rule:own"
        assert dropped["i022"] == "filter"
        stages = Counter(dropped.values())
        assert stages["rule:one"] > 0
        assert not {ids[number] for number in draft.numbers.tolist()} & dropped.keys()
        assert Counter(brand(ids[number]) for number in draft.numbers.tolist()) == Counter("ABCE")
    finally:
        engine.close()


def test_what_came_after_the_catalogue_was_read_waits_for_the_next_answer(ruled_home: Path) -> None:
    engine = Engine(Settings(home=ruled_home))
    try:
        engine.live.refresh()
        asked = RecommendationRequest.model_validate({"user_id": USER, "n": 30})
        cap = Rule(name="x", kind="cap", column="brand", most=9)
        early = force_of([cap], engine.catalogue.frame().head(20), engine.memory.items.get)
        draft = Draft(engine.ask(USER), asked, engine.scenarios["home"], 30, force=early)
        recommend.make(engine, draft)
        assert sorted(draft.numbers.tolist()) == list(range(20))
    finally:
        engine.close()


@pytest.fixture
def narrow(ruled_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine that takes four candidates from the model at first."""
    monkeypatch.setattr(candidates, "POOL", 4)
    engine = Engine(Settings(home=ruled_home))
    engine.live.refresh()
    yield engine
    engine.close()


def drafted(engine: Engine, n: int, **asked: Any) -> list[str]:
    request = RecommendationRequest.model_validate({"user_id": USER, "n": n, **asked})
    draft = Draft(engine.ask(USER), request, engine.scenarios["home"], n)
    recommend.make(engine, draft)
    return [engine.memory.items.ids[number] for number in draft.numbers[:n].tolist()]


def test_a_boost_lifts_what_is_far_behind_the_candidates(
    narrow: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as wide:
        wide.setattr(candidates, "POOL", 24)
        request = RecommendationRequest.model_validate({"user_id": USER, "n": 24})
        draft = Draft(narrow.ask(USER), request, narrow.scenarios["home"], 24)
        recommend.make(narrow, draft)
    of_model = draft.numbers[draft.sources == CODE["model"]].tolist()
    assert len(of_model) > 10  # far more than the four that are taken at first
    last = narrow.memory.items.ids[of_model[-1]]
    assert last not in drafted(narrow, 4)
    boost = {"filter": f"item_id == '{last}'", "add": 1.0}
    assert drafted(narrow, 4, boosts=[boost])[0] == last


def test_a_capped_list_is_filled_by_more_than_the_candidates(narrow: Engine) -> None:
    narrow.rules.file.add(Rule(name="x", kind="cap", column="brand", most=1), "")
    assert sorted(map(brand, drafted(narrow, 6))) == list(BRANDS)
