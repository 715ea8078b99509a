"""What was answered can be explained afterwards: why this, why not that, and every reason is true."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import publish, repeat, running

from intently.config import Settings
from intently.data import Dataset, Histories
from intently.errors import UnknownIdError
from intently.models.covisit import CoVisit
from intently.models.evidence import score_of, score_without, strongest, without
from intently.models.repeat import Repeat
from intently.serving.answer import why as why_module
from intently.serving.answer.reasons import reasons_of
from intently.serving.answer.recommend import recommend
from intently.serving.answer.why import why
from intently.serving.rules.rule import Rule
from intently.serving.shapes.answers import Context, RecommendationRequest, Recommendations
from intently.serving.shapes.decisions import DecisionQuery, DecisionTold
from intently.serving.state.engine import Engine
from tiny_shops import chain


@pytest.fixture(scope="module")
def engine(home_made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    home = Path(shutil.copytree(home_made, tmp_path_factory.mktemp("why") / "home"))
    made = Engine(Settings(home=home))
    made.start()
    yield made
    made.close()


def answered(engine: Engine, user_id: str = "u003", n: int = 4, **more: Any) -> Recommendations:
    return recommend(engine, RecommendationRequest(user_id=user_id, n=n, **more))


def told(engine: Engine, answer: Recommendations, item_id: str | None = None) -> DecisionTold:
    return why(engine, DecisionQuery(recommendation_id=answer.recommendation_id, item_id=item_id))


def fate(engine: Engine, answer: Recommendations, item_id: str) -> tuple[str, str]:
    verdict = told(engine, answer, item_id).verdict
    assert verdict is not None
    return verdict.code, verdict.text


# -- why -------------------------------------------------------------------------------------------


def test_what_was_shown_is_told_as_it_was_shown(engine: Engine) -> None:
    answer = answered(engine)
    said = told(engine, answer)
    assert [(i.item_id, i.rank, i.source) for i in said.items] == [
        (i.item_id, i.rank, i.source) for i in answer.items
    ]
    assert [i.score for i in said.items] == [pytest.approx(i.score, rel=1e-5) for i in answer.items]
    assert (said.model, said.model_version, said.scenario) == ("boosted", answer.model_version, "home")
    assert (said.who, said.n, said.n_history, said.notes) == ("u003", 4, 60, [])
    assert said.request == {"user_id": "u003", "n": 4}
    assert said.verdict is None
    assert said.items[0].title == "Thing number 3"


def test_the_first_reason_of_every_shown_item_holds_for_a_calibrated_model(engine: Engine) -> None:
    codes = set()
    for user in range(0, 30, 6):
        for item in told(engine, answered(engine, f"u{user:03d}", 6)).items:
            if item.evidence is None:
                assert item.reasons == []
                continue
            assert item.evidence.score_without < item.evidence.score
            assert item.evidence.score == pytest.approx(item.score, rel=1e-4)
            assert item.reasons[0].code == item.evidence.code
            codes.add(item.evidence.code)
    assert {"habit", "rhythm"} & codes
    assert len(codes) > 1


def test_nearly_every_reason_that_an_answer_gives_holds(engine: Engine) -> None:
    """Answers do not check their reasons: asking twice costs too much there. This is how true they are."""
    standing, held, given = engine.live.current, 0, 0
    assert standing is not None
    for user in range(0, 30, 5):
        view = engine.ask(f"u{user:03d}")
        history = view.history(standing)
        best = standing.model.top_k(history, 5).items[0].tolist()
        for item, reasons in zip(best, reasons_of(standing, view, best), strict=True):
            if reasons:
                score = float(score_of(standing.model, history, item)[0])
                less = score_without(standing.model, history, item, reasons[0].code)
                given, held = given + 1, held + (less is not None and less < score)
    assert given > 20
    assert held / given > 0.9


def test_the_reasons_of_an_order_hold_too(simple_home: Path) -> None:
    engine = Engine(Settings(home=simple_home))
    engine.start()
    try:
        for user in ("u003", "u010"):
            items = told(engine, answered(engine, user, 5)).items
            assert items[0].reasons[0].text.startswith("bought 20 times")
            for item in items:
                assert item.evidence is not None
                assert item.evidence.score_without < item.evidence.score
    finally:
        engine.close()


def test_a_walk_goes_by_its_last_step() -> None:
    shop = chain()
    model = CoVisit().fit(shop)
    history = Histories.of([[3, 4, 5]])
    item = int(model.top_k(history, 1).items[0, 0])
    assert item == 6
    most = strongest(model, history, item)
    assert most is not None
    assert most[0] == 5
    assert most[1] < float(score_of(model, history, item)[0])


def test_events_are_left_out_and_nothing_else() -> None:
    history = Histories.of([[1, 2, 1, 3]])
    less = without(history, [history.items == 1, history.items == 9])
    assert [row.items.tolist() for row in (less.select([0]), less.select([1]))] == [[2, 3], [1, 2, 1, 3]]
    assert less.at_s.tolist() == [*history.at_s, *history.at_s]


def test_what_cannot_be_taken_away_is_no_evidence(shop: Dataset) -> None:
    model = Repeat(half_life_days=60.0).fit(shop)
    history = shop.histories([3])
    never = next(i for i in range(24) if i not in set(history.items.tolist()))
    assert score_without(model, history, never, "met") is None
    assert score_without(model, history, 3, "popular") is None
    assert strongest(model, shop.histories([3]).select([]).of([[]]), 3) is None


def test_reasons_are_made_by_the_version_that_answered(
    home_made: Path, tmp_path: Path, shop: Dataset
) -> None:
    home = Path(shutil.copytree(home_made, tmp_path / "home"))
    engine = Engine(Settings(home=home))
    engine.start()
    try:
        answer = answered(engine)
        before = told(engine, answer).items
        publish(home, shop, repeat(shop))
        engine.live.refresh()
        assert told(engine, answer).items == before
        shutil.rmtree(home / "artifacts" / answer.model_version)
        said = told(engine, answer)
        assert "cannot be asked again" in said.notes[0]
        assert [item.reasons for item in said.items] == [[]] * 4
    finally:
        engine.close()


def test_events_since_then_do_not_change_what_is_told(home_made: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(home_made, tmp_path / "home"))
    engine = Engine(Settings(home=home))
    engine.start()
    try:
        answer = answered(engine, context=Context(item_ids=["i020"]))
        before = told(engine, answer)
        assert before.notes == []
        row = {"user_id": "u003", "item_id": "i021", "event": "purchase"}
        import asyncio

        from intently.serving.intake.events import take

        asyncio.run(take(engine, row))
        after = told(engine, answer)
        assert (after.items, after.notes) == (before.items, [])
    finally:
        engine.close()


def test_a_reason_that_does_not_hold_is_not_told(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that finds a false reason strongest: the next one that holds comes first, or none."""
    standing, view = engine.live.current, engine.ask("u003")
    assert standing is not None
    item = int(standing.model.top_k(view.history(standing), 1).items[0, 0])
    true = reasons_of(standing, view, [item])[0]
    weights = {reason.code: 0.0 for reason in true} | {true[0].code: 1.0}

    def strange(_model: object, _history: object, _item: int, code: str) -> float:
        return weights[code]  # without the first reason the score would rise

    monkeypatch.setattr(why_module, "score_without", strange)
    kept, evidence = why_module.checked_reasons(standing, view, item)
    assert [reason.code for reason in kept] == [reason.code for reason in true[1:]]
    assert evidence is None or evidence.code == true[1].code


def test_a_history_that_is_gone_explains_nothing(home_made: Path, tmp_path: Path) -> None:
    engine = Engine(Settings(home=Path(shutil.copytree(home_made, tmp_path / "home"))))
    engine.start()
    try:
        answer = answered(engine)
        engine.memory.forget("u003")  # and the log is not told
        said = told(engine, answer)
        assert said.notes == [why_module.CHANGED]
        assert {len(item.reasons) for item in said.items} == {0}
    finally:
        engine.close()


def test_an_answer_that_is_not_kept_is_said_so(engine: Engine) -> None:
    for name in ("rec_" + "0" * 28, "rec_x", "anything"):
        with pytest.raises(UnknownIdError, match="no decision of this id is kept"):
            why(engine, DecisionQuery(recommendation_id=name, item_id=None))


# -- why not ---------------------------------------------------------------------------------------


def test_each_way_out_of_a_list_has_its_name(engine: Engine) -> None:
    answer = answered(engine, n=3, exclude_ids=["i003"], context=Context(cart=["i011"]))
    shown = [item.item_id for item in answer.items]
    assert fate(engine, answer, shown[1]) == ("shown", "was shown as number 2")
    assert fate(engine, answer, "i003") == ("excluded", "is in exclude_ids")
    assert fate(engine, answer, "i011") == ("cart", "lies in the cart")
    assert fate(engine, answer, "no such item") == (
        "unknown_item",
        "nobody knew this item then: it was in no event and no catalogue",
    )
    verdict = told(engine, answer, shown[0]).verdict
    assert verdict is not None
    assert (verdict.rank, verdict.title != "") == (1, True)


def test_what_ranked_lower_is_told_with_rank_and_score(engine: Engine) -> None:
    all_of_it = answered(engine, n=20)
    few = answered(engine, n=2)
    fifth = all_of_it.items[4]
    verdict = told(engine, few, fifth.item_id).verdict
    assert verdict is not None
    assert (verdict.code, verdict.rank) == ("ranked_below", 5)
    assert verdict.score == pytest.approx(fifth.score, rel=1e-5)
    assert verdict.last_shown_score == pytest.approx(few.items[1].score, rel=1e-5)
    assert verdict.text.startswith("was 5th of ")
    assert verdict.text.endswith("candidates, and 2 were shown")


def test_what_no_one_named_is_told_so(engine: Engine) -> None:
    answer = answered(engine, n=2)
    pages = engine.decisions.find(answer.recommendation_id)
    ids = engine.decisions.reader.names(pages[0].era)
    named = {ids[number] for number in pages[0].numbers}
    left = sorted(set(ids) - named)
    assert left  # staples of other shelves
    assert fate(engine, answer, left[0])[0] == "not_a_candidate"


def test_what_was_shown_lately_is_told_so(engine: Engine) -> None:
    first = answered(engine, "u008", 2)
    again = answered(engine, "u008", 2, unserved_minutes=60.0)
    code, text = fate(engine, again, first.items[0].item_id)
    assert (code, text) == ("served", "was shown within 1 hours")


def test_what_a_filter_or_a_rule_took_out_is_told_with_its_name(engine: Engine) -> None:
    filtered = answered(engine, "u012", 3, filter='title != "Thing number 4"')
    assert fate(engine, filtered, "i004")[0] == "filter"
    engine.rules.file.add(
        Rule(name="no fours", kind="exclude", filter='title == "Thing number 4"'), "2026-01-01T00:00:00Z"
    )
    try:
        ruled = answered(engine, "u012", 3)
        code, text = fate(engine, ruled, "i004")
        assert code == "rule"
        assert "no-fours" in text
        stages = {stage.stage: stage for stage in told(engine, ruled).taken_out}
        assert stages["rule:no-fours"].items == 1
    finally:
        engine.rules.file.remove("no-fours")
    assert fate(engine, ruled, "i004")[0] == "rule"  # it was so then, whatever holds now


def test_pages_are_told_together(engine: Engine) -> None:
    first = answered(engine, "u015", 3)
    second = recommend(engine, RecommendationRequest(user_id="u015", n=3, cursor=first.next_cursor))
    said = told(engine, first)
    assert [item.item_id for item in said.items] == [i.item_id for i in (*first.items, *second.items)]
    assert [item.rank for item in said.items] == [1, 2, 3, 4, 5, 6]
    assert fate(engine, first, second.items[0].item_id) == ("shown", "was shown as number 4")


def test_over_http_a_decision_is_found_until_it_is_not(simple_home: Path) -> None:
    with running(simple_home) as service:
        answer = service.recommend("u003")
        path = f"/v1/decisions/{answer['recommendation_id']}"
        said = service.client.get(path, params={"item_id": "i020"})
        assert said.status_code == 200
        assert [i["item_id"] for i in said.json()["items"]] == [i["item_id"] for i in answer["items"]]
        assert said.json()["verdict"]["item_id"] == "i020"
        assert service.client.get(path, params={"item": "i020"}).status_code == 422
        missing = service.client.get("/v1/decisions/rec_" + "0" * 28)
        assert missing.status_code == 404
        assert "decisions_days" in missing.json()["hint"]
        figures = service.client.get("/metrics").text
        assert 'intently_decisions{outcome="kept"} 1.0' in figures
        assert 'intently_decisions{outcome="lost"} 0.0' in figures
