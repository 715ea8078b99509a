"""Experiments: users in arms, over HTTP, in the log, and after a restart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from served import Running, keep, publish, repeat, running

from intently.config import Settings
from intently.data import Dataset
from intently.errors import ConfigError
from intently.serving.answer.recommend import recommend
from intently.serving.shapes.answers import Arm, RecommendationRequest
from intently.serving.state.engine import Engine
from intently.serving.state.experiments import Experiments
from intently.serving.state.scenarios import scenarios_of

SAID = """
[experiments.short]
scenario = "home"
arms.as_before = { share = 0.5 }
arms.three = { share = 0.3, n = 3 }
"""
HALF = {"share": 0.5}
AS_BEFORE, THREE = {"name": "short", "arm": "as_before"}, {"name": "short", "arm": "three"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, shop: Dataset) -> Path:
    folder = tmp_path_factory.mktemp("experiments")
    keep(folder, shop)
    publish(folder, shop, repeat(shop))
    (folder / "intently.toml").write_text(SAID)
    return folder


@pytest.fixture(scope="module")
def service(home: Path) -> Iterator[Running]:
    with running(home, "--config", str(home / "intently.toml")) as found:
        yield found


def arm_of(answer: dict[str, Any]) -> str | None:
    """As "short/three"."""
    said = answer["experiment"]
    return f"{said['name']}/{said['arm']}" if said else None


def made(**experiments: Any) -> Experiments:
    settings = Settings(experiments=experiments)
    return Experiments(settings, scenarios_of(settings))


def test_an_arm_has_its_settings_and_every_answer_names_it(service: Running) -> None:
    found = Counter()
    for number in range(40):
        answer = service.ask(user_id=f"u{number:03}")
        found[arm_of(answer)] += 1
        assert answer["experiment"] in (AS_BEFORE, THREE, None)
        assert len(answer["items"]) == (3 if answer["experiment"] == THREE else 10)
        read = service.client.get(f"/v1/recommendations/u{number:03}").json()  # the short way
        assert read["experiment"] == answer["experiment"]
        assert len(read["items"]) == len(answer["items"])
    assert set(found) == {"short/as_before", "short/three", None}
    assert service.ask(user_id="u001", scenario="trending")["experiment"] is None
    assert service.ask()["experiment"] is None  # nobody is in no arm
    assert service.ask(user_id="u001", n=5)["items"][4]  # who asks for a number gets it


def test_a_setting_of_an_arm_moves_the_items_of_its_lists_only(simple_home: Path) -> None:
    arms = {"as_before": HALF, "rested": {"share": 0.5, "fatigue": 0.9}}
    engine = Engine(Settings(home=simple_home, experiments={"calm": {"arms": arms}}))
    engine.live.refresh()
    moved: dict[str, list[bool]] = {"as_before": [], "rested": []}
    try:
        for number in range(20):
            asked = RecommendationRequest(user_id=f"u{number:03}", n=3)
            first, second = recommend(engine, asked), recommend(engine, asked)
            assert first.experiment == second.experiment is not None
            same = [one.item_id for one in first.items] == [one.item_id for one in second.items]
            moved[second.experiment.arm].append(not same)
    finally:
        engine.close()
    assert len(moved["as_before"]) > 3
    assert len(moved["rested"]) > 3
    assert not any(moved["as_before"])
    assert all(moved["rested"])


def test_a_page_stays_in_its_arm_and_a_guest_counts_by_the_session(service: Running) -> None:
    first = service.ask(session_id="s7", n=2)
    second = service.ask(session_id="s7", n=2, cursor=first["next_cursor"])
    assert second["experiment"] == first["experiment"]
    assert first["experiment"] is not None
    arms = {arm_of(service.ask(session_id=f"guest{number}")) for number in range(30)}
    assert arms == {"short/as_before", "short/three", None}


def test_the_log_and_the_metrics_know_the_arm(service: Running) -> None:
    answer = next(
        answer
        for number in range(40)
        if (answer := service.ask(user_id=f"u{number:03}"))["experiment"] == THREE
    )
    told = service.client.get(f"/v1/decisions/{answer['recommendation_id']}").json()
    assert told["experiment"] == THREE
    text = service.client.get("/metrics").text
    line = next(one for one in text.splitlines() if 'arm="three"' in one)
    assert line.startswith('intently_experiment_lists{arm="three",experiment="short"}')
    assert float(line.split()[-1]) >= 1


def test_a_restart_leaves_everyone_in_their_arm(home: Path, service: Running) -> None:
    users = [f"u{number:03}" for number in range(20)]
    before = [service.ask(user_id=user)["experiment"] for user in users]
    with running(home, "--config", str(home / "intently.toml")) as again:
        assert [again.ask(user_id=user)["experiment"] for user in users] == before


def test_a_guest_who_signed_in_is_in_the_users_arm_and_a_page_stays_in_the_one_it_was_made_in(
    service: Running,
) -> None:
    experiments = made(short={"arms": {"as_before": HALF, "three": {"share": 0.3}}})
    of_user = experiments.of("home", "u001", 0.0)
    assert of_user is not None
    session = next(
        name
        for name in (f"visit{number}" for number in range(99))
        if experiments.of("home", f"session:{name}", 0.0) not in (of_user, None)
    )
    event = {"item_id": "i001", "event": "click", "timestamp": "2024-05-01T00:00:00Z", "session_id": session}
    assert service.client.post("/v1/events", json=event).status_code == 200
    before = service.ask(session_id=session, n=2)
    assert arm_of(before) not in (f"short/{of_user.arm}", None)
    signed_in = {**event, "user_id": "u001", "item_id": "i002"}
    assert service.client.post("/v1/events", json=signed_in).status_code == 200
    after = service.ask(session_id=session, n=2)
    assert arm_of(after) == arm_of(service.ask(user_id="u001")) == f"short/{of_user.arm}"
    unseen = {**signed_in, "session_id": f"{session} again"}  # no guest ever acted in this one
    assert service.client.post("/v1/events", json=unseen).status_code == 200
    assert arm_of(service.ask(session_id=f"{session} again")) == arm_of(after)
    page = service.ask(session_id=session, n=2, cursor=before["next_cursor"])
    assert page["experiment"] == before["experiment"]


def test_nothing_of_an_erased_user_is_left_where_a_session_was_in_their_arm(
    tmp_path: Path, shop: Dataset
) -> None:
    keep(tmp_path, shop)
    (tmp_path / "intently.toml").write_text(SAID)
    click = {"user_id": "erase-me", "item_id": "i001", "event": "click", "timestamp": "2024-05-01T00:00:00Z"}
    with running(tmp_path, "--config", str(tmp_path / "intently.toml")) as service:
        guest = {"item_id": "i002", "event": "click", "timestamp": "2024-05-01T00:00:00Z"}
        for event in (
            {**guest, "session_id": "one"},
            *({**click, "session_id": name} for name in ("one", "two")),
        ):
            assert service.client.post("/v1/events", json=event).status_code == 200
        answers = [service.ask(session_id=name) for name in ("one", "two")]
        assert None not in [arm_of(answer) for answer in answers]
        assert service.client.delete("/v1/users/erase-me").status_code == 200
        for answer in answers:
            path = f"/v1/decisions/{answer['recommendation_id']}"
            assert service.client.get(path).status_code == 404
    files = list(tmp_path.glob("decisions.db*"))
    assert files
    assert not [file for file in files if b"erase-me" in file.read_bytes()]


def test_the_description_of_the_service_says_what_the_field_holds(service: Running) -> None:
    shapes = service.client.get("/openapi.json").json()["components"]["schemas"]
    for name in ("Recommendations", "DecisionTold"):
        said = shapes[name]["properties"]["experiment"]["anyOf"]
        assert said == [{"$ref": "#/components/schemas/Arm"}, {"type": "null"}]
    assert shapes["Arm"]["required"] == ["name", "arm"]


def test_users_fall_into_arms_by_their_shares_and_independently_of_other_experiments() -> None:
    arms = {"a": {"share": 0.5}, "b": {"share": 0.2, "n": 3}}
    both = made(one={"scenario": ["home", "cart"], "arms": arms}, two={"scenario": "email", "arms": arms})
    users = [f"user {number}" for number in range(20_000)]
    pairs = Counter((both.of("home", user, 0.0), both.of("email", user, 0.0)) for user in users)
    for arm, part in (("a", 0.5), ("b", 0.2)):
        seen = sum(n for (one, _), n in pairs.items() if one == Arm("one", arm)) / len(users)
        assert seen == pytest.approx(part, abs=0.015)  # four standard errors
        together = pairs[Arm("one", arm), Arm("two", arm)] / len(users)
        assert together == pytest.approx(part**2, abs=0.015)
    assert [both.of("cart", user, 0.0) for user in users[:99]] == [
        both.of("home", user, 0.0) for user in users[:99]
    ]
    cart = scenarios_of(Settings())["cart"]
    assert both.under(cart, Arm("one", "b")).n == 3
    assert both.under(cart, Arm("one", "b")).first == "together"  # what is not said stays the scenario's own
    assert both.under(cart, Arm("two", "b")) == cart
    assert both.under(cart, None) == cart


def test_an_experiment_holds_from_its_start_to_its_end() -> None:
    day_s = 86_400.0
    arms = {"a": HALF, "b": HALF}
    said = {"starts": datetime(1970, 1, 2, tzinfo=UTC), "ends": "1970-01-03T01:00:00+01:00", "arms": arms}
    found = made(first=said, second={"starts": "1970-01-03", "arms": arms})
    assert found.of("home", "u", day_s - 1) is None
    for at_s, name in ((day_s, "first"), (2 * day_s - 1, "first"), (2 * day_s, "second"), (9e9, "second")):
        arm = found.of("home", "u", at_s)
        assert arm is not None
        assert arm.name == name
    assert found.of("home", "", day_s) is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"scenario": "hoem", "arms": {"a": HALF, "b": HALF}}, "'hoem' names no scenario"),
        ({"arms": {"a": HALF}}, "needs two arms or more"),
        ({"arms": 3}, "needs two arms or more"),
        ({}, "needs two arms or more"),
        ({"arms": {"a": HALF, "b": {}}}, "arm 'b': share = None; allowed: above 0"),
        ({"arms": {"a": HALF, "b": {"share": True}}}, "share = True"),
        ({"arms": {"a": HALF, "b": {"share": 0.6}}}, "shares add up to 1.1"),
        ({"arms": {"a": HALF, "b": {"share": 0.5, "nn": 3}}}, "unknown setting 'nn'"),
        ({"arms": {"a": HALF, "b": {"share": 0.5, "n": 0}}}, "n = 0; allowed: 1 to 100"),
        ({"arms": {"a": HALF, "b": {"share": 0.5, "like": "cart"}}}, r"arms.b\]: unknown setting 'like'"),
        ({"scenario": [], "arms": {"a": HALF, "b": HALF}}, "names no scenario"),
        ({"scenario": ["home", 3], "arms": {"a": HALF, "b": HALF}}, "scenario = 3 names no scenario"),
        ({"starts": "soon", "arms": {"a": HALF, "b": HALF}}, "starts = 'soon' is no moment"),
        ({"ends": 3, "arms": {"a": HALF, "b": HALF}}, "ends = 3 is no moment"),
        ({"starts": "2026-02-01", "ends": "2026-01-01", "arms": {"a": HALF, "b": HALF}}, "ends before it"),
        ({"arms": {"a": HALF, "b": 0.5}}, "must be a table"),
        ({"scenarios": ["home"], "arms": {"a": HALF, "b": HALF}}, "unknown setting 'scenarios'"),
    ],
)
def test_what_makes_no_experiment_is_refused_at_the_start(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made(x=given)


def test_two_experiments_of_one_scenario_at_a_time_are_refused() -> None:
    arms = {"a": HALF, "b": HALF}
    with pytest.raises(ConfigError, match="'home' is in 'x' at the same time"):
        made(x={"arms": arms}, y={"scenario": ["cart", "home"], "arms": arms})
    with pytest.raises(ConfigError, match="'home' is in 'x' at the same time"):
        made(x={"arms": arms, "ends": "2026-02-02"}, y={"arms": arms, "starts": "2026-02-01"})
    assert (
        len(made(x={"arms": arms, "ends": "2026-02-01"}, y={"arms": arms, "starts": "2026-02-01"}).all) == 2
    )
