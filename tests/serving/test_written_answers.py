"""The bytes of a list are those of the answer that is made of objects, whatever was asked."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from intently.config import Settings
from intently.errors import InputError
from intently.serving.answer.recommend import recommend
from intently.serving.answer.suggestions import trimmed
from intently.serving.answer.written import written
from intently.serving.shapes.answers import RecommendationRequest
from intently.serving.state.catalogue import MOST_WORDED, Catalogue
from intently.serving.state.engine import Engine
from intently.serving.state.numbers import Numbers

OWN = re.compile(rb'"(took_ms|recommendation_id|next_cursor)":("[^"]*"|[0-9.e-]+)')
"""What differs from answer to answer."""

ARMS = {"half": {"arms": {"usual": {"share": 0.5}, "short": {"share": 0.5, "n": 7}}}}


@pytest.fixture(params=["home_made", "simple_home"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """With a model that gives probabilities, and with one that gives an order; the shop's time stands."""
    home: Path = request.getfixturevalue(request.param)
    if home != tmp_path:
        shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    made = Engine(Settings(home=tmp_path, experiments=ARMS))
    made.live.refresh()
    moment_s = made.clock.now()
    made.clock.now = lambda: moment_s  # type: ignore[method-assign]
    yield made
    made.close()


def both(engine: Engine, **body: Any) -> tuple[bytes, bytes]:
    """(of objects, as written), without what is each one's own."""
    asked = RecommendationRequest.model_validate(body)
    slow = orjson.dumps(trimmed(recommend(engine, asked), asked.fields))
    return OWN.sub(rb'"\1":0', slow), OWN.sub(rb'"\1":0', written(engine, asked))


@pytest.mark.parametrize(
    "body",
    [
        {"user_id": "u001"},
        {"user_id": "u002", "n": 40},
        {"user_id": "u003", "explain": True},
        {"user_id": "u004", "fields": ["item_id", "propensity"]},
        {"user_id": "nobody", "session_id": "s"},
        {"session_id": "s", "scenario": "trending", "n": 3},
        {"user_id": "u005", "scenario": "buy_again"},
        {"user_id": "u006", "pins": [{"item_id": "i020", "slot": 2}], "filter": "title contains '2'"},
        {"filter": "title == 'there is none'"},
    ],
)
def test_bytes_are_those_of_the_answer(engine: Engine, body: dict[str, Any]) -> None:
    slow, quick = both(engine, **body)
    assert quick == slow


def test_what_the_shop_says_anew_is_in_the_very_next_answer(engine: Engine) -> None:
    first = orjson.loads(written(engine, RecommendationRequest(user_id="u001")))["items"][0]
    for title, price in (('"Quoted" \\ 中文 %d', 2.5), ("Plain", None)):
        engine.catalogue.put(first["item_id"], {"title": title, "price": price, "category": "Cé"})
        slow, quick = both(engine, user_id="u001")
        assert quick == slow
        told = orjson.loads(quick)["items"][0]
        assert (told["title"], told["price"]) == (title, price)


def test_an_arm_is_in_the_bytes(engine: Engine) -> None:
    seen = set()
    for number in range(12):
        slow, quick = both(engine, user_id=f"u{number:03}")
        assert slow == quick
        seen.add(re.search(rb'"experiment":({[^}]*})', quick)[1])  # type: ignore[index]
    assert seen == {b'{"name":"half","arm":"usual"}', b'{"name":"half","arm":"short"}'}
    assert b'"experiment":null' in both(engine, user_id="u001", scenario="trending")[1]


def test_pages_go_on_in_bytes_too(engine: Engine) -> None:
    first = orjson.loads(written(engine, RecommendationRequest(user_id="u001", n=4)))
    slow, quick = both(engine, user_id="u001", n=4, cursor=first["next_cursor"])
    assert quick == slow
    assert orjson.loads(quick)["items"][0]["rank"] == 5


def test_a_strange_question_is_refused_alike(engine: Engine) -> None:
    with pytest.raises(InputError, match="no scenario of this name"):
        written(engine, RecommendationRequest(scenario="x"))


def test_words_of_items_are_kept_for_a_bounded_number_and_forgotten_on_change() -> None:
    numbers = Numbers([f"i{number}" for number in range(MOST_WORDED + 1)])
    catalogue = Catalogue(numbers)
    assert len(catalogue.worded(list(range(len(numbers))))) == MOST_WORDED + 1
    assert len(catalogue._words) == 1
    catalogue.put("i3", {"title": "Three"})
    assert catalogue.worded([3]) == [b'"item_id":"i3","title":"Three","category":"","price":null']
