"""A logged answer comes out again as of its moment, whatever happened since."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from served import publish, repeat
from typer.testing import CliRunner

from intently.cli import app
from intently.config import Settings
from intently.data import Dataset
from intently.errors import UnknownIdError
from intently.serving.answer.recommend import recommend
from intently.serving.answer.replay import replay
from intently.serving.intake.events import take
from intently.serving.intake.records import put_many
from intently.serving.online.features import Question
from intently.serving.online.online import Ranked
from intently.serving.rules.rule import Rule
from intently.serving.shapes.answers import Arm, Context, RecommendationRequest, Recommendations
from intently.serving.shapes.records import ItemIn
from intently.serving.state.engine import Engine
from intently.store import open_store


@pytest.fixture
def home(home_made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(home_made, tmp_path / "home"))


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(home=home, scenarios={"home": {"fatigue": 0.5}})


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    made = Engine(settings)
    made.start()
    yield made
    made.close()


def happens(engine: Engine, user: str, item: str, event: str = "purchase", **more: str) -> None:
    asyncio.run(take(engine, {"user_id": user, "item_id": item, "event": event, **more}))


def asked(engine: Engine, user: str | None, **more: object) -> Recommendations:
    given = {"user_id": user, "n": 4, **more}
    answer = recommend(engine, RecommendationRequest.model_validate(given))
    engine.decisions.flush()
    return answer


def test_every_kind_of_list_comes_out_again(engine: Engine, settings: Settings, shop: Dataset) -> None:
    happens(engine, "u003", "i020", session_id="s1")
    cart = Context(cart=["i003"], item_ids=["i021", "i004"]).model_dump()
    answers = [
        asked(engine, "u003"),
        asked(engine, "u003"),  # again: what was shown just now has tired
        asked(engine, "u003", unserved_minutes=60.0),
        asked(engine, "u004", context=cart, exclude_ids=["i012"]),
        asked(engine, None, session_id="guest", context={"item_ids": ["i020"]}),
        asked(engine, None, scenario="trending"),
        asked(engine, "u005", scenario="buy_again"),
        asked(engine, "u006", filter='title != "Thing number 6"', pins=[{"item_id": "i019", "slot": 2}]),
        asked(engine, "a stranger"),
    ]
    assert [i.item_id for i in answers[0].items] != [i.item_id for i in answers[1].items]
    for item in ("i022", "i023", "i001"):  # the world goes on
        happens(engine, "u003", item)
        happens(engine, "guest", item, "click")
        asked(engine, "u003")
    publish(settings.home, shop, repeat(shop))
    engine.live.refresh()
    for answer in answers:
        found = replay(settings, answer.recommendation_id)
        assert found.logged == [item.item_id for item in answer.items]
        assert (found.same, found.same_candidates, found.notes) == (True, True, []), found
        assert found.largest_gap < 1e-5


def test_lists_of_an_earlier_run_come_out_again(settings: Settings) -> None:
    first = Engine(settings)
    first.start()
    happens(first, "u003", "i020")
    answers = [asked(first, "u003"), asked(first, None, scenario="trending")]
    for item in ("i022", "i023", "i001") * 9:
        happens(first, "u009", item)
    first.close()
    second = Engine(settings)
    second.start()
    later = asked(second, None, scenario="trending")
    second.close()
    assert [i.item_id for i in later.items] != [i.item_id for i in answers[1].items]
    for answer in (*answers, later):
        found = replay(settings, answer.recommendation_id)
        assert (found.same, found.same_candidates, found.notes) == (True, True, []), found


def test_lists_of_a_service_on_postgres_come_out_again(tmp_path: Path, database: str, shop: Dataset) -> None:
    publish(tmp_path, shop, repeat(shop))
    settings = Settings(home=tmp_path, store=database)
    with open_store(database) as store:
        store.add_events([{"user_id": "u003", "item_id": "i003", "event": "purchase", "time_s": 1.7e9}])
    answers = []
    for _ in range(2):  # in two runs
        engine = Engine(settings)
        engine.start()
        for item in ("i020", "i021", "i020"):
            happens(engine, "u003", item)
            answers += [asked(engine, "u003"), asked(engine, None, scenario="trending")]
        engine.close()
    assert len({tuple(item.item_id for item in answer.items) for answer in answers}) > 2
    for answer in answers:
        found = replay(settings, answer.recommendation_id)
        assert (found.same, found.same_candidates, found.notes) == (True, True, []), found
        assert found.logged == [item.item_id for item in answer.items]
    with open_store(database) as store:
        assert store.counts().events == 7


def test_rules_are_those_of_then(engine: Engine, settings: Settings) -> None:
    engine.rules.file.add(Rule(name="no fours", kind="exclude", filter='title == "Thing number 4"'), "then")
    ruled = asked(engine, "u012")
    engine.rules.file.remove("no-fours")
    free = asked(engine, "u012")
    assert [i.item_id for i in ruled.items] != [i.item_id for i in free.items]
    for answer in (ruled, free):
        assert replay(settings, answer.recommendation_id).same


def test_what_was_drawn_and_learned_is_taken_from_the_log(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    curious = settings.model_copy(update={"explore_share": 1.0, "explore_slots": 2})
    engine = Engine(curious)
    engine.start()
    try:
        for item in ("n1", "n2", "n3"):
            put_many(engine, {"item_id": item, "title": f"New {item}"}, ItemIn)

        def learned(_user: int, about: Question) -> Ranked:
            n = len(about.candidates)
            return Ranked(np.arange(n)[::-1], np.linspace(0.9, 0.1, n))

        plain = [item.item_id for item in asked(engine, "u003").items]
        monkeypatch.setattr(engine.online, "wants", lambda *_: True)
        monkeypatch.setattr(engine.online, "rank", learned)
        answers = [asked(engine, "u003") for _ in range(5)]
        assert [item.item_id for item in answers[0].items][:2] != plain[:2]
        drawn = [item for answer in answers for item in answer.items if item.source == "explore"]
        assert drawn
        assert 0 < drawn[0].propensity < 1
        for answer in answers:
            found = replay(settings, answer.recommendation_id)
            assert (found.same, found.same_candidates, found.notes) == (True, True, []), found
    finally:
        engine.close()


def test_a_history_that_is_gone_is_said_so(engine: Engine, settings: Settings) -> None:
    answer = asked(engine, "u003")
    engine.store.erase_user("u003")
    found = replay(settings, answer.recommendation_id)
    assert not found.same
    assert found.notes == ["the user's history cannot be made again: 60 events then, 0 found"]


def test_a_replay_writes_nothing_in_the_shop(engine: Engine, settings: Settings) -> None:
    answer = asked(engine, "u003")
    before = {path: path.read_bytes() for path in settings.home.rglob("*") if path.is_file()}
    replay(settings, answer.recommendation_id)
    after = {path: path.read_bytes() for path in settings.home.rglob("*") if path.is_file()}
    assert {path.name for path in before.keys() ^ after.keys()} == set()
    assert [path.name for path in before if before[path] != after[path] and path.suffix != ".db-shm"] == []


def test_the_command_says_whether_the_list_is_the_same(engine: Engine, settings: Settings) -> None:
    answer, run = asked(engine, "u003"), CliRunner()
    words = ["replay-decision", answer.recommendation_id, "--home", str(settings.home)]
    done = run.invoke(app, words)  # without the scenario's fatigue: nothing was shown before, so no matter
    assert done.exit_code == 0, done.output
    assert "the same list; all candidates in the same order" in done.output
    assert '"same": true' in run.invoke(app, [*words, "--json"]).output
    engine.store.erase_user("u003")
    assert run.invoke(app, words).exit_code == 1
    with pytest.raises(UnknownIdError, match="no decision of this id is kept"):
        replay(settings, "rec_" + "0" * 28)


def test_a_list_of_an_arm_comes_out_under_the_settings_of_that_arm(home: Path) -> None:
    arms = {"long": {"share": 0.5, "n": 7, "bought": True}, "short": {"share": 0.5, "n": 3, "bought": False}}
    settings = Settings(home=home, experiments={"length": {"arms": arms}})
    engine = Engine(settings)
    engine.start()
    try:
        given = [asked(engine, f"u{number:03}", n=None) for number in range(8)]
    finally:
        engine.close()
    assert {answer.experiment for answer in given} == {Arm("length", "long"), Arm("length", "short")}
    for answer in given:
        assert len(answer.items) == (7 if answer.experiment == Arm("length", "long") else 3)
        assert replay(settings, answer.recommendation_id).same
