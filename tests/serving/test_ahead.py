"""Lists that were made ready while nobody asked are those that a first question would have made."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from served import keep, publish

from intently.config import Settings
from intently.data import Histories
from intently.models.sequence import Sequence
from intently.schema import EVENT_CODES
from intently.serving.answer import ahead
from intently.serving.answer.ahead import Ahead
from intently.serving.answer.recommend import recommend
from intently.serving.shapes.answers import RecommendationRequest
from intently.serving.state import readings
from intently.serving.state.engine import Engine
from tiny_shops import checkerboard

CLICK = EVENT_CODES["click"]
MANY = 1000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose model carries users from event to event."""
    folder, shop = tmp_path_factory.mktemp("carried"), checkerboard()
    keep(folder, shop)
    publish(folder, shop, Sequence(epochs=3, d=16, heads=1, seed=1).fit(shop))
    return folder


@pytest.fixture
def engine(home: Path) -> Iterator[Engine]:
    made = Engine(Settings(home=home))
    made.start()
    yield made
    made.close()


def asked(engine: Engine, user_id: str, **more: object) -> list[tuple[str, float | None]]:
    request = RecommendationRequest.model_validate({"user_id": user_id, "n": 9, **more})
    return [(item.item_id, item.score) for item in recommend(engine, request).items]


def ready(engine: Engine) -> set[str]:
    """Users whose best are kept without a state."""
    return {engine.memory.users.ids[user] for user in engine.readings._named}


def until(what: Callable[[], bool]) -> None:
    ends = time.monotonic() + 20.0
    while not what():
        assert time.monotonic() < ends
        time.sleep(0.01)


@pytest.fixture
def begun(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everyone's list is made ready: a model is asked for what it begins with, and who it was asked about."""
    monkeypatch.setattr(ahead, "LOOK_S", 0.01)
    everyone = engine.memory.latest(MANY)
    one = Ahead(engine, MANY)
    one.start()
    until(lambda: len(ready(engine)) == len(everyone))
    one.stop()
    return everyone


def counted(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lengths of the histories that the model reads from now on."""
    standing = engine.live.current
    assert standing is not None
    assert standing.stateful is not None
    begin, lengths = standing.stateful.begin, []

    def told(history: Histories) -> object:
        lengths.append(len(history.items))
        return begin(history)

    monkeypatch.setattr(standing.stateful, "begin", told)
    return lengths


def test_lists_are_ready_before_anybody_asks(
    engine: Engine, begun: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = counted(engine, monkeypatch)
    early = [asked(engine, user) for user in begun]
    assert lengths == []
    engine.readings = readings.Readings()
    assert [asked(engine, user) for user in begun] == early
    assert len(lengths) == len(begun)


def test_what_comes_in_counts_and_then_the_state_is_carried(
    engine: Engine, begun: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths, (user, other) = counted(engine, monkeypatch), begun[:2]
    before, now_s = asked(engine, user), engine.clock.now()
    assert asked(engine, user, context={"item_ids": ["i005"]}) != before
    assert len(lengths) == 1  # the state, which was not kept
    assert asked(engine, user) == before
    engine.memory.add(user, "i005", CLICK, now_s)
    after = asked(engine, user)
    assert after != before
    assert len(lengths) == 1  # advanced from there
    engine.memory.add(other, "i005", CLICK, now_s)
    asked(engine, other)
    assert len(lengths) == 2
    engine.readings = readings.Readings()
    again = asked(engine, user)
    assert [name for name, _ in again] == [name for name, _ in after]
    np.testing.assert_allclose([score or 0 for _, score in again], [score or 0 for _, score in after], 1e-4)


def test_users_beyond_the_states_that_are_kept_keep_their_best(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "MOST", 3)
    engine.readings = readings.Readings(most_named=4)
    lengths, users = counted(engine, monkeypatch), engine.memory.latest(10)
    lists = [asked(engine, user) for user in users]
    assert ready(engine) == set(users[3:7])
    assert len(lengths) == 10
    assert [asked(engine, user) for user in users[3:]] == lists[3:]
    assert len(lengths) == 10
    assert asked(engine, users[0]) == lists[0]  # longest ago: read again
    assert len(lengths) == 11


def test_who_is_erased_meanwhile_is_not_kept(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    user_id, standing = engine.memory.latest(1)[0], engine.live.current
    assert standing is not None
    assert standing.stateful is not None
    user, begin = engine.memory.users.get(user_id), standing.stateful.begin

    def erased(history: Histories) -> object:
        engine.forget(user_id)
        return begin(history)

    monkeypatch.setattr(standing.stateful, "begin", erased)
    Ahead(engine, MANY).name(user_id)
    assert user not in engine.readings._named
    assert user not in engine.readings._of


def test_while_lists_are_asked_for_none_is_made_ready(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "LOOK_S", 0.01)
    monkeypatch.setattr(ahead, "QUIET_S", 0.2)
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.02):
            asked(engine, "u001")

    asker = threading.Thread(target=ask, daemon=True)
    asker.start()
    until(lambda: engine.pace.lists > 2)
    one = Ahead(engine, MANY)
    one.start()
    time.sleep(0.6)
    early = len(ready(engine))
    over.set()
    asker.join()
    until(lambda: len(ready(engine)) + 1 >= len(engine.memory.latest(MANY)))
    one.stop()
    assert early == 0


def test_those_here_last_come_first_and_one_look_through_has_an_end(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "LOOK_S", 0.01)
    monkeypatch.setattr(ahead, "MOST_S", 0.0)
    one = Ahead(engine, MANY)
    one.start()
    until(lambda: one._ended[0] is not None)
    assert ready(engine) == set(engine.memory.latest(1))
    monkeypatch.setattr(ahead, "AGAIN_S", 0.0)
    until(lambda: ready(engine) >= set(engine.memory.latest(3)))  # it goes on the next time
    one.stop()


def test_where_room_ends_those_here_last_keep_theirs(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "LOOK_S", 0.01)
    monkeypatch.setattr(ahead, "AGAIN_S", 0.0)
    monkeypatch.setattr(readings, "MOST", 1)
    engine.readings = readings.Readings(most_named=3)
    lengths, users = counted(engine, monkeypatch), engine.memory.latest(MANY)
    one = Ahead(engine, MANY)
    one.start()
    until(lambda: len(ready(engine)) == 3)
    time.sleep(0.1)  # looks through again and again, and finds nothing to do
    one.stop()
    assert ready(engine) == set(users[:3])
    assert len(lengths) == 3
    for user in users[-2:]:  # the first of them gives way to the second, and takes room
        asked(engine, user)
    assert ready(engine) == {*users[:2], users[-2]}


def test_as_many_are_made_ready_as_the_settings_say(home: Path) -> None:
    engine = Engine(Settings(home=home, read_ahead=50_000))
    assert engine.readings._most_named == 50_000
    engine.close()


def test_none_are_made_ready_where_the_settings_say_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "LOOK_S", 0.01)
    engine = Engine(Settings(home=home, read_ahead=0))
    one = Ahead(engine, engine.settings.read_ahead)
    one.start()
    assert not one._thread.is_alive()
    one.stop()
    engine.close()
