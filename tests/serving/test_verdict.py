"""What an experiment's arms brought: users counted once, from the log and the events that name its lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from served import running
from typer.testing import CliRunner

from intently.cli import app
from intently.config import Settings
from intently.errors import UnknownIdError
from intently.schema import EVENT_CODES
from intently.serving.answer.verdict import MISMATCH, Verdict, mismatch, verdict, verdicts
from intently.serving.state.experiments import Experiments
from intently.serving.state.scenarios import scenarios_of
from intently.store.base import OUTCOME_TYPES

SETTINGS = Settings(experiments={"x": {"arms": {"a": {"share": 0.5}, "b": {"share": 0.25}}}})
X = Experiments(SETTINGS, scenarios_of(SETTINGS)).all["x"]
CLICK, PURCHASE = EVENT_CODES["click"], EVENT_CODES["purchase"]
List = tuple[str, str, str, str]


def lists(a: int, b: int) -> list[List]:
    """One list a user: a0, a1, ... in arm a."""
    return [
        ("x", arm, f"{arm}{n}", f"rec_{arm}{n}") for arm, size in (("a", a), ("b", b)) for n in range(size)
    ]


def judged(given: Sequence[List], *events: tuple[str, int, int]) -> Verdict:
    return verdict(X, given, pl.DataFrame(list(events), schema=OUTCOME_TYPES, orient="row"), "purchase")


def told(found: Verdict, arm: str, event: str) -> Any:
    one = next(one for one in found.arms if one.arm == arm)
    return next(of for of in one.outcomes if of.event == event)


def test_a_user_counts_once_however_often_they_click_and_are_asked() -> None:
    given = [*lists(100, 50), ("x", "a", "a0", "rec_again"), ("other", "a", "b0", "rec_other")]
    events = [("rec_a0", CLICK, 30), ("rec_again", CLICK, 2), ("rec_a1", CLICK, 1), ("rec_b0", CLICK, 1)]
    found = judged(given, *events, ("rec_other", CLICK, 9), ("rec_nobody", CLICK, 9))
    assert [(arm.arm, arm.share, arm.users, arm.lists) for arm in found.arms] == [
        ("a", 0.5, 100, 101),
        ("b", 0.25, 50, 50),
    ]
    ours, theirs = told(found, "a", "click"), told(found, "b", "click")
    assert (ours.events, ours.users, ours.rate.value, ours.rate.n, ours.gain) == (33, 2, 0.02, 100, None)
    assert (theirs.events, theirs.users, theirs.rate.value, theirs.gain.value) == (1, 1, 0.02, 0.0)
    assert told(found, "b", "purchase").users == 0  # told also where nobody did
    assert told(found, "b", "purchase").rate.high > 0.05
    assert found.notes == []


def test_a_difference_that_is_there_is_found_and_has_the_sign_of_the_later_arm() -> None:
    given = lists(200, 100)
    events = [(f"rec_a{n}", PURCHASE, 1) for n in range(20)] + [(f"rec_b{n}", PURCHASE, 1) for n in range(40)]
    gain = told(judged(given, *events), "b", "purchase").gain
    assert gain.value == pytest.approx(0.3)
    assert gain.excludes(0.0)
    few = told(judged(given, *events[:20], *events[20:31]), "b", "purchase").gain
    assert not few.excludes(0.0)


def test_users_of_several_arms_and_of_arms_that_are_gone_are_left_out_and_it_is_said() -> None:
    given = [*lists(50, 25), ("x", "b", "a0", "rec_moved"), ("x", "gone", "c0", "rec_gone")]
    found = judged(given, ("rec_moved", CLICK, 1), ("rec_a0", CLICK, 1), ("rec_gone", CLICK, 1))
    assert [arm.users for arm in found.arms] == [49, 25]
    assert told(found, "a", "click").users == told(found, "b", "click").users == 0
    assert "left out, as they were in several arms (after a change of shares?): 1 users" in found.notes
    assert "left out, as the settings no longer have their arm: 1 users" in found.notes
    assert "no event names a list of these arms: send its recommendation_id along" in found.notes


def test_a_split_that_is_not_by_the_shares_is_noticed() -> None:
    a, b = X.shares
    assert judged(lists(200, 100)).mismatch_p == pytest.approx(1.0)
    assert mismatch(X.shares, {a: 60, b: 45}) == pytest.approx(0.03843, rel=1e-3)  # 100/3 * .03: 4.2857, 1 df
    found = judged(lists(150, 150))
    assert found.mismatch_p is not None
    assert found.mismatch_p < MISMATCH
    assert "users do not split as the shares do: find out why before trusting any figure" in found.notes
    few = judged(lists(9, 4))
    assert few.mismatch_p is None
    assert "too few users to say whether they split as the shares do" in few.notes


def test_true_shares_are_called_a_mismatch_as_seldom_as_said() -> None:
    wrong = 0
    for shop in range(300):
        users = Counter(arm for n in range(300) if (arm := X.of(f"{shop}:{n}")) is not None)
        p = mismatch(X.shares, users)
        assert p is not None
        wrong += p < 0.05
    assert 3 <= wrong <= 30  # 15 are due


def test_several_arms_are_said_to_be_several_comparisons() -> None:
    arms = {name: {"share": 0.3} for name in "abc"}
    settings = Settings(experiments={"x": {"arms": arms}})
    three = Experiments(settings, scenarios_of(settings)).all["x"]
    found = verdict(three, [], pl.DataFrame(schema=OUTCOME_TYPES), "purchase")
    assert "2 comparisons: each interval is for itself" in found.notes
    assert [arm.users for arm in found.arms] == [0, 0, 0]


def test_an_experiment_that_the_settings_do_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownIdError, match="no experiment of this name"):
        verdicts(Settings(home=tmp_path))
    with pytest.raises(UnknownIdError, match="no experiment of this name"):
        verdicts(SETTINGS.model_copy(update={"home": tmp_path}), "y")


def test_the_command_tells_what_a_served_shop_did(simple_home: Path) -> None:
    """Everyone of arm `three` clicks, buys twice, and asks again by the session alone."""
    config = simple_home / "intently.toml"
    config.write_text(
        "[experiments.short]\narms.as_before = { share = 0.5 }\narms.three = { share = 0.5, n = 3 }\n"
    )
    who: Counter[str] = Counter()
    with running(simple_home, "--config", str(config)) as service:
        for number in range(30):
            answer = service.recommend(f"u{number:03}", 2)
            arm = answer["experiment"]["arm"]
            who[arm] += 1
            event = {"user_id": f"u{number:03}", "item_id": answer["items"][0]["item_id"]}
            event |= {"recommendation_id": answer["recommendation_id"]}
            if arm == "three":
                sent = [event | {"event": "purchase", "event_id": f"{number}-{n}"} for n in range(2)]
                sent.append(
                    event | {"event": "click", "event_id": f"{number}-click", "session_id": f"s{number}"}
                )
                assert service.client.post("/v1/events", json={"events": sent}).status_code == 200
                for _ in range(
                    2
                ):  # signed in: the user's list, under the session's name and on a second page
                    asked = {"session_id": f"s{number}", "n": 2}
                    page = service.client.post("/v1/recommendations", json=asked).json()
                    assert page["experiment"] == answer["experiment"]
    run = CliRunner()
    words = ["experiment", "--home", str(simple_home), "--config", str(config)]
    (found,) = orjson.loads(run.invoke(app, [*words, "short", "--json"]).stdout)
    of = {arm["arm"]: arm for arm in found["arms"]}
    assert {name: arm["users"] for name, arm in of.items()} == who
    assert of["three"]["lists"] == 3 * who["three"]
    outcomes = {one["event"]: one for one in of["three"]["outcomes"]}
    assert (outcomes["purchase"]["events"], outcomes["purchase"]["users"]) == (2 * who["three"], who["three"])
    assert outcomes["click"]["users"] == who["three"]
    assert outcomes["click"]["gain"]["value"] == 1.0
    assert {one["users"] for one in of["as_before"]["outcomes"]} == {0}
    shown = run.invoke(app, words)
    assert shown.exit_code == 0
    assert "three" in shown.stdout
    assert "a split of users as far from the shares as this one has a chance of " in shown.stdout
    assert "+100.00 [" in shown.stdout
    assert "100.00]" in shown.stdout  # no interval is broken in two
