"""Newcomers: questions that tell the most, answers that count at once, a first page of everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from served import FACTS, running

from intently import artifact
from intently.data import Dataset
from intently.models import model_class
from intently.serving.online.tastes import LEAST_USERS, Tastes, diverse
from intently.serving.state.numbers import Numbers
from intently.serving.state.onboarding import groups_of
from intently.store import SqliteStore


def two_camps(n: int = 100, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Half of the users meet only items 0 to 4, the others 5 to 9, most of them; everyone meets item 10."""
    rng = np.random.default_rng(seed)
    pairs = [(u, i + 5 * (u % 2)) for u in range(n) for i in range(5) if rng.random() < 0.8]
    pairs += [(u, 10) for u in range(n)]
    users, items = np.array(pairs, np.int32).T
    return users, items


def test_what_is_asked_first_tells_the_camps_apart_and_not_what_everyone_likes() -> None:
    tastes = Tastes.of(*two_camps(), n_items=11)
    everything = np.ones(11, bool)
    (first,) = tastes.told({}).next(1, everything)
    assert first != 10  # liked by all: the answer is known
    (second,) = tastes.told({int(first): True}).next(1, ~np.isin(tastes.items, [first]))
    assert second not in (first, 10)
    assert len(set(tastes.told({}).next(20, everything).tolist())) == 11


@pytest.mark.parametrize("liked", [True, False])
def test_one_answer_moves_the_whole_list_to_the_right_camp(liked: bool) -> None:
    tastes = Tastes.of(*two_camps(), n_items=11)
    told = tastes.told({2: liked})
    best = told.best(4, ~np.isin(tastes.items, [2, 10])).tolist()
    assert all((item < 5) == liked for item in best)
    assert tastes.told({999: True}).mean.tolist() == tastes.mean.tolist()


def test_answers_take_variance_off_what_is_believed() -> None:
    tastes = Tastes.of(*two_camps(), n_items=11)
    before, after = tastes.covariance.trace(), tastes.told({2: True, 7: False}).covariance
    assert after.trace() < before * 0.7
    assert (after.diagonal() > -1e-12).all()


def test_a_profile_moves_what_is_believed_before_any_answer() -> None:
    users, items = two_camps()
    table = pl.DataFrame(
        {
            "user_id": [f"u{u:03d}" for u in range(100)],
            "side": ["left" if u % 2 == 0 else "right" for u in range(100)],
            "alone": [f"n{u}" for u in range(100)],
        }
    )
    groups = groups_of(table, Numbers([f"u{u:03d}" for u in range(100)]))
    assert set(groups) == {("side", "left"), ("side", "right")}  # who somebody is says nothing
    tastes = Tastes.of(users, items, 11, groups)
    for side, own in (("left", range(5)), ("right", range(5, 10))):
        best = tastes.of_profile({"side": side, "other": 3}).told({}).best(6, np.ones(11, bool))
        assert set(best.tolist()) == {*own, 10}
    assert tastes.of_profile({"side": "nowhere"}) is tastes
    few = Tastes.of(users, items, 11, {("side", "left"): np.arange(5, dtype=np.int32)})
    assert few.groups == {}


def test_too_few_users_give_nothing_to_ask() -> None:
    users = np.arange(LEAST_USERS - 1, dtype=np.int32)
    tastes = Tastes.of(users, np.zeros(len(users), np.int32), n_items=1)
    assert len(tastes.items) == 0
    assert tastes.told({0: True}).best(5, np.zeros(0, bool)).tolist() == []


def test_a_diverse_page_covers_every_group_before_it_repeats_much() -> None:
    weights, groups = np.linspace(2.0, 1.0, 12), np.arange(12) // 4
    chosen = diverse(np.arange(12), weights, groups, 6)
    assert set(groups[chosen[:3]]) == {0, 1, 2}
    assert len(set(chosen.tolist())) == 6


@pytest.fixture
def camps(tmp_path: Path) -> Path:
    """A home whose shop has two camps, with a quick model live."""
    users, items = two_camps()
    days = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 1, 1), "1d", eager=True)[0]
    events = pl.DataFrame(
        {
            "user_id": [f"u{u:03d}" for u in users],
            "item_id": [f"i{i:02d}" for i in items],
            "event": "purchase",
            "timestamp": [days] * len(users),
        }
    ).with_columns(pl.col("timestamp") + pl.duration(hours=pl.int_range(pl.len())))
    names = [f"i{i:02d}" for i in range(11)]
    category = ["left"] * 5 + ["right"] * 5 + ["all"]
    table = pl.DataFrame({"item_id": names, "title": names, "category": category})
    shop = Dataset.from_frames(events, table)
    with SqliteStore(tmp_path / "store.db") as store:
        moments = {"time_s": pl.col("timestamp").dt.epoch("us") / 1e6}
        store.add_events(events.with_columns(**moments).drop("timestamp"))
        store.upsert_items(table)
        sides = ["left" if u % 2 == 0 else "right" for u in range(100)]
        store.upsert_users(pl.DataFrame({"user_id": [f"u{u:03d}" for u in range(100)], "side": sides}))
    model = model_class("popular")().fit(shop)
    folder = artifact.publish(tmp_path / "artifacts", model, shop, FACTS | {"stage": "quick"}, "# a test\n")
    artifact.promote(tmp_path / "artifacts", folder.name)
    return tmp_path


def test_a_newcomer_is_asked_answers_and_sees_another_page_at_once(camps: Path) -> None:
    with running(camps) as service:
        ask = service.client
        page = ask.post("/v1/recommendations", json={"user_id": "new", "scenario": "welcome", "n": 3}).json()
        assert {item["category"] for item in page["items"]} == {"left", "right", "all"}
        assert {item["source"] for item in page["items"]} == {"welcome"}
        put = ask.post("/v1/users", json={"user_id": "likened", "side": "right"})
        assert put.status_code == 200, put.text
        liked = ask.post("/v1/recommendations", json={"user_id": "likened", "scenario": "welcome", "n": 6})
        assert {item["category"] for item in liked.json()["items"]} == {"right", "all"}
        questions = ask.get("/v1/onboarding", params={"user_id": "new", "n": 2}).json()
        assert questions["answered"] == 0
        assert [set(item) for item in questions["items"]] == [{"item_id", "title", "category", "price"}] * 2
        first = questions["items"][0]
        body = {"user_id": "new", "answers": [{"item_id": first["item_id"], "answer": "like"}], "n": 1}
        for _ in range(2):  # sent again it counts once
            told = ask.post("/v1/onboarding", json=body)
            assert told.status_code == 200, told.text
        assert told.json()["answered"] == 1
        assert told.json()["items"][0]["item_id"] != first["item_id"]
        history = ask.get("/v1/users/new/history").json()["events"]
        assert [(event["item_id"], event["event"]) for event in history] == [(first["item_id"], "click")]
        page = ask.post("/v1/recommendations", json={"user_id": "new", "scenario": "welcome", "n": 4}).json()
        assert {item["category"] for item in page["items"]} <= {first["category"], "all"}
        assert first["item_id"] not in [item["item_id"] for item in page["items"]]
        skipped = told.json()["items"][0]["item_id"]
        body = {"user_id": "new", "answers": [{"item_id": skipped, "answer": "skip"}], "n": 20}
        rest = [item["item_id"] for item in ask.post("/v1/onboarding", json=body).json()["items"]]
        assert len(rest) == len(set(rest)) == 11 - 2
        strange = {"user_id": "new", "answers": [{"item_id": "nothing", "answer": "like"}]}
        assert ask.post("/v1/onboarding", json=strange).status_code == 404
        nobody = ask.get("/v1/onboarding")
        assert nobody.status_code == 422
        wrong = {"user_id": "new", "answers": [{"item_id": skipped, "answer": "maybe"}]}
        assert ask.post("/v1/onboarding", json=wrong).status_code == 422
