"""Experiments: users in arms, over HTTP, in the log, and after a restart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import Running, keep, publish, repeat, running

from intently.config import Settings
from intently.data import Dataset
from intently.errors import ConfigError
from intently.serving.state.experiments import Experiments
from intently.serving.state.scenarios import USUAL, Scenario, scenarios_of

SAID = """
[experiments.short]
scenario = "home"
arms.as_before = { share = 0.5 }
arms.three = { share = 0.3, n = 3 }
"""
HOME = next(scenario for scenario in USUAL if scenario.name == "home")


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


def ask(service: Running, **body: Any) -> dict[str, Any]:
    answer = service.client.post("/v1/recommendations", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def made(**experiments: Any) -> Experiments:
    settings = Settings(experiments=experiments)
    return Experiments(settings, scenarios_of(settings))


def test_an_arm_has_its_settings_and_every_answer_names_it(service: Running) -> None:
    found = Counter()
    for number in range(40):
        answer = ask(service, user_id=f"u{number:03}")
        found[answer["experiment"]] += 1
        assert len(answer["items"]) == (3 if answer["experiment"] == "short/three" else 10)
        read = service.client.get(f"/v1/recommendations/u{number:03}").json()  # the short way
        assert read["experiment"] == answer["experiment"]
        assert len(read["items"]) == len(answer["items"])
    assert set(found) == {"short/as_before", "short/three", None}
    assert ask(service, user_id="u001", scenario="trending")["experiment"] is None
    assert ask(service)["experiment"] is None  # nobody is in no arm
    assert ask(service, user_id="u001", n=5)["items"][4]  # who asks for a number gets it


def test_a_page_stays_in_its_arm_and_a_guest_counts_by_the_session(service: Running) -> None:
    first = ask(service, session_id="s7", n=2)
    second = ask(service, session_id="s7", n=2, cursor=first["next_cursor"])
    assert second["experiment"] == first["experiment"]
    arms = {ask(service, session_id=f"guest{number}")["experiment"] for number in range(30)}
    assert arms == {"short/as_before", "short/three", None}


def test_the_log_and_the_metrics_know_the_arm(service: Running) -> None:
    answer = next(
        answer
        for number in range(40)
        if (answer := ask(service, user_id=f"u{number:03}"))["experiment"] == "short/three"
    )
    told = service.client.get(f"/v1/decisions/{answer['recommendation_id']}").json()
    assert told["experiment"] == "short/three"
    text = service.client.get("/metrics").text
    line = next(one for one in text.splitlines() if 'arm="three"' in one)
    assert line.startswith('intently_experiment_lists{arm="three",experiment="short"}')
    assert float(line.split()[-1]) >= 1


def test_a_restart_leaves_everyone_in_their_arm(home: Path, service: Running) -> None:
    users = [f"u{number:03}" for number in range(20)]
    before = [ask(service, user_id=user)["experiment"] for user in users]
    with running(home, "--config", str(home / "intently.toml")) as again:
        assert [ask(again, user_id=user)["experiment"] for user in users] == before


def test_users_fall_into_arms_by_their_shares_and_independently_of_other_experiments() -> None:
    arms = {"a": {"share": 0.5}, "b": {"share": 0.2, "n": 3}}
    both = made(one={"scenario": "home", "arms": arms}, two={"scenario": "email", "arms": arms})
    email = Scenario("email")
    users = [f"user {number}" for number in range(20_000)]
    pairs = Counter((both.of(HOME, user)[1], both.of(email, user)[1]) for user in users)
    for arm, share in (("a", 0.5), ("b", 0.2)):
        seen = sum(n for (one, _), n in pairs.items() if one == f"one/{arm}") / len(users)
        assert seen == pytest.approx(share, abs=0.015)  # four standard errors
        together = pairs[f"one/{arm}", f"two/{arm}"] / len(users)
        assert together == pytest.approx(share**2, abs=0.015)
    assert both.lists["one/a"] == sum(n for (one, _), n in pairs.items() if one == "one/a")
    assert both.of(HOME, "user 1") == both.of(HOME, "user 1")


HALF = {"share": 0.5}


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
        ({"arms": {"a": HALF, "b/c": HALF}}, "name holds no '/'"),
        ({"arms": {"a": HALF, "b": 0.5}}, "must be a table"),
        ({"scenarios": ["home"], "arms": {"a": HALF, "b": HALF}}, "unknown setting 'scenarios'"),
    ],
)
def test_what_makes_no_experiment_is_refused_at_the_start(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made(x=given)


def test_two_experiments_of_one_scenario_and_a_name_with_a_slash_are_refused() -> None:
    arms = {"a": HALF, "b": HALF}
    with pytest.raises(ConfigError, match="'home' is in 'x' already"):
        made(x={"arms": arms}, y={"arms": arms})
    with pytest.raises(ConfigError, match="a name holds no '/'"):
        made(**{"x/y": {"arms": arms}})
