"""A model that reads histories anew is asked once for what it would say again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from intently.config import Settings
from intently.data import Histories
from intently.schema import EVENT_CODES, FloatArray
from intently.serving.answer.recommend import recommend
from intently.serving.shapes.answers import RecommendationRequest
from intently.serving.state import readings
from intently.serving.state.clock import ShopClock
from intently.serving.state.engine import Engine
from intently.serving.state.view import STEP_S

CLICK = EVENT_CODES["click"]


class Asked:
    """An engine whose model counts how often it is asked, and as of when."""

    def __init__(self, home: Path) -> None:
        self.engine = Engine(Settings(home=home))
        self.engine.start()
        self.now_s = np.ceil(self.engine.clock.now() / STEP_S) * STEP_S + 1.0
        self.engine.clock = ShopClock(None, wall=lambda: self.now_s)
        standing = self.engine.live.current
        assert standing is not None
        assert standing.stateful is None  # else it reads nothing anew
        self.moments: list[float] = []
        scores = standing.model.scores

        def counted(histories: Histories) -> FloatArray:
            self.moments.append(float(histories.at_s[0]))
            return scores(histories)

        standing.model.scores = counted  # type: ignore[method-assign]

    def list(self, user_id: str | None, **more: object) -> list[tuple[str, float | None]]:
        request = RecommendationRequest.model_validate({"user_id": user_id, "n": 3, **more})
        return [(item.item_id, item.score) for item in recommend(self.engine, request).items]


@pytest.fixture
def asked(simple_home: Path) -> Iterator[Asked]:
    made = Asked(simple_home)
    yield made
    made.engine.close()


def test_the_same_user_is_read_once_a_step_of_time(asked: Asked) -> None:
    first = asked.list("u004")
    asked.now_s += STEP_S - 2.0
    assert asked.list("u004") == first
    assert len(asked.moments) == 1
    asked.now_s += 2.0
    asked.list("u004")
    assert asked.moments == [asked.moments[0], asked.moments[0] + STEP_S]
    assert asked.moments[0] % STEP_S == 0.0


def test_an_event_is_read_at_once(asked: Asked) -> None:
    before = asked.list("u004")
    for _ in range(5):
        asked.now_s += 1.0
        asked.engine.memory.add("u004", "i022", CLICK, asked.now_s)
    after = asked.list("u004")
    assert "i022" in dict(after)
    assert "i022" not in dict(before)
    assert asked.moments[1] == asked.now_s  # not before the event itself
    assert asked.list("u004") == after
    assert len(asked.moments) == 2


def test_an_event_that_comes_late_is_read_at_once(asked: Asked) -> None:
    before = asked.list("u004")
    for hours in range(1, 6):
        asked.engine.memory.add("u004", "i022", CLICK, asked.now_s - 3600.0 * hours)
    assert asked.list("u004") != before
    assert asked.moments == [asked.moments[0]] * 2  # of the same moment as before


def test_what_a_page_tells_is_read_each_time_and_not_kept(asked: Asked) -> None:
    plain = asked.list("u004")
    context = {"item_ids": ["i022"]}
    assert asked.list("u004", context=context) != plain
    asked.list("u004", context=context)
    assert len(asked.moments) == 3
    assert asked.list("u004") == plain
    assert len(asked.moments) == 3


def test_strangers_are_read_once(asked: Asked) -> None:
    assert asked.list(None) == asked.list("nobody knows me")
    assert len(asked.moments) == 1


def test_scores_are_kept_for_those_asked_last_and_lists_for_more(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = ["u001", "u002", "u003"]
    n_items = len(asked.engine.live.current.artifact.items)  # type: ignore[union-attr]
    monkeypatch.setattr(readings, "MOST_SCORES", 2 * n_items)
    lists = [asked.list(user) for user in users]
    numbers = [asked.engine.memory.users.get(user) for user in users]
    held = asked.engine.readings
    assert list(held._whole) == numbers[1:]
    assert [held._said[number].scores is None for number in numbers] == [True, False, False]
    assert [asked.list(user) for user in users] == lists
    assert len(asked.moments) == 3
    asked.list("u002")
    asked.list("u004")
    assert list(held._whole) == [numbers[1], asked.engine.memory.users.get("u004")]  # u003 was asked before
    asked.engine.forget("u002")
    assert numbers[1] not in held._said
    assert numbers[1] not in held._whole
