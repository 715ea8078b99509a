"""The layer that learns while serving, and the walk that shows what it is worth."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest
from typer.testing import CliRunner

from intently.cli import app
from intently.data import Dataset
from intently.errors import ArtifactError, InputError
from intently.models import model_class
from intently.models.calibration import sigmoid
from intently.schema import EVENT_CODES
from intently.serving.online.counters import Counters
from intently.serving.online.features import FEATURES, Facts, N, Question, features
from intently.serving.online.layer import LastLayer
from intently.serving.online.recovery import recovery, running
from intently.serving.online.replay import Walk, replay
from intently.serving.online.stream import plant, stream_of
from intently.store import SqliteStore
from tiny_shops import START, chain, weekly_basket

DAY = 86400.0
PURCHASE = EVENT_CODES["purchase"]


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def question(**other: object) -> Question:
    """Item 1 bought every ten days, last ten days ago; item 2 once; item 3 never."""
    given = {
        "items": ints(1, 1, 2, 1),
        "time_s": np.array([0.0, 10.0, 15.0, 20.0]) * DAY,
        "at_s": 30 * DAY,
        "latest": ints(2, 1),
        "candidates": ints(1, 2, 3),
        "scores": np.array([0.5, 0.2, -np.inf]),
        "calibrated": True,
    }
    return Question(**{**given, **other})


def column(table: np.ndarray, name: str) -> list[float]:
    return table[:, FEATURES.index(name)].tolist()


def test_features_say_what_can_be_worked_out_by_hand() -> None:
    counters = Counters()
    counters.observe(5, 1, PURCHASE, 20 * DAY)
    facts = Facts(ints(-1, 0, 1, 0), np.array([0, 2.0, 2.0, 4.0], np.float32))
    table = features(question(), counters, facts)
    assert table.shape == (3, N)
    assert column(table, "frozen") == pytest.approx([0.0, np.log(0.25), np.log(0.25) - 0.5])
    assert column(table, "met") == [1, 1, 0]
    assert column(table, "due") == pytest.approx([1, 0, 0])
    assert column(table, "since") == pytest.approx([np.log1p(10) / 4, np.log1p(15) / 4, 0])
    own = sum(0.5 ** (age / 14) for age in (30, 20, 10))
    assert column(table, "own_14d")[0] == pytest.approx(np.log1p(4 * own) / 2)
    assert column(table, "visit_category") == [0.5, 0.5, 0.5]
    assert column(table, "price") == pytest.approx([1, 1, 0.5])
    assert column(table, "new") == pytest.approx([0.5, 1, 1])
    assert column(table, "popular")[0] > 0 == column(table, "popular")[2]


def test_features_of_a_stranger_without_a_catalogue_are_finite() -> None:
    nobody = question(items=ints(), time_s=np.zeros(0), latest=ints(), calibrated=False)
    table = features(nobody, Counters(), Facts.unknown(0))
    assert np.isfinite(table).all()
    assert column(table, "frozen") == pytest.approx([-1.0, -np.log2(3), -2.0])


def test_what_is_said_of_a_candidate_does_not_depend_on_whether_others_were_met() -> None:
    counters, facts = Counters(), Facts(ints(0, 0, 1, 0), np.array([1.0, 2.0, 2.0, 4.0], np.float32))
    for item in (1, 2, 3):
        counters.observe(5, item, PURCHASE, 20 * DAY)
    among = features(
        question(candidates=ints(1, 2, 3, 90), scores=np.array([0.5, 0.2, 0.1, 0.1])), counters, facts
    )
    alone = features(question(candidates=ints(3, 90), scores=np.array([0.4, 0.2])), counters, facts)
    own = [place for place, name in enumerate(FEATURES) if name not in ("frozen", "standing")]
    assert alone[:, own].tolist() == among[2:, own].tolist()
    assert column(alone, "own_14d") == column(alone, "met") == [0, 0]
    visits = sum(0.5 ** (age / 14) for age in (30, 20, 15, 10))
    assert column(alone, "share_14d") == pytest.approx([np.log(0.05) - np.log1p(visits) + 3.0] * 2)


def test_before_anything_was_learned_the_order_is_the_frozen_model_s() -> None:
    table = features(question(), Counters(), Facts.unknown(4))
    score = LastLayer().score(table)
    assert score.tolist() == pytest.approx(column(table, "frozen"))


def lists(weights: np.ndarray, n: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Tables of normal numbers, labels drawn by a logistic truth."""
    rng = np.random.default_rng(seed)
    tables = rng.normal(0, 1, (n, 40, N))
    tables[:, :, 0] = 1.0
    return [(t, (rng.random(40) < sigmoid(t @ weights)).astype(float)) for t in tables]


def test_the_layer_finds_the_weights_behind_the_labels_and_follows_when_they_change() -> None:
    truth = np.linspace(-1, 1, N)
    layer = LastLayer(memory_lists=300, prior=1.0)
    for table, labels in lists(truth, 600, seed=1):
        layer.learn(table, labels)
    assert np.abs(layer.weights - truth).max() < 0.15
    for table, labels in lists(-truth, 900, seed=2):
        layer.learn(table, labels)
    assert np.abs(layer.weights + truth).max() < 0.25
    assert np.isfinite(layer.weights).all()


def test_what_was_learned_survives_as_json_and_a_foreign_state_is_refused() -> None:
    layer, other = LastLayer(), LastLayer()
    for table, labels in lists(np.linspace(-1, 1, N), 20, seed=0):
        layer.learn(table, labels)
    state = orjson.loads(orjson.dumps(layer.state()))
    other.restore(state)
    assert other.weights.tolist() == layer.weights.tolist()
    with pytest.raises(ArtifactError, match="other features"):
        other.restore({**state, "features": ["x"]})
    with pytest.raises(ArtifactError, match="not finite"):
        other.restore({**state, "weights": [float("nan")] * N})


def test_visits_know_only_what_came_before_them() -> None:
    stream = stream_of(weekly_basket(n_users=4, weeks=5))
    assert len(stream) == 20
    assert (np.diff(stream.at_s) >= 0).all()
    batch = stream.histories(np.arange(20))
    assert batch.lengths.tolist() == (stream.start - stream.begin).tolist()
    assert (batch.time_s < np.repeat(batch.at_s, batch.lengths)).all()
    for visit in range(20):
        bought = stream.items[stream.start[visit] : stream.stop[visit]]
        truth = stream.truth[stream.indptr[visit] : stream.indptr[visit + 1]]
        assert truth.tolist() == sorted(set(bought.tolist()))
    with pytest.raises(InputError, match="no times"):
        stream_of(chain())


def changing(weeks: int = 32) -> Dataset:
    """From half time on, every user buys the item 10 above the one that it bought till then."""
    rows = []
    for user in range(20):
        for week in range(weeks):
            item = user % 10 + (10 if week >= weeks // 2 else 0)
            rows.append(
                (f"u{user:02d}", f"i{item:02d}", "purchase", START + timedelta(days=week * 7 + user % 5))
            )
    columns = ["user_id", "item_id", "event", "timestamp"]
    events = pl.DataFrame(rows, schema=columns, orient="row")
    names = [f"i{i:02d}" for i in range(20)]
    items = pl.DataFrame({"item_id": names, "category": ["a" if i < 10 else "b" for i in range(20)]})
    return Dataset.from_frames(events, items)


def test_online_beats_a_frozen_model_that_holds_on_to_what_is_gone() -> None:
    shop = changing()
    cut = shop.start_s + 10 * 7 * DAY
    frozen = model_class("popular")().fit(shop.as_of(cut))
    frozen.repeats = True
    walk = replay(shop, frozen, cut)
    after = walk.at_s > shop.start_s + 20 * 7 * DAY
    assert walk.frozen[after].mean() < 0.2
    assert walk.online[after].mean() > 0.9
    months = walk.months()
    assert months[-1].gain.low > 0
    assert sum(month.visits for month in months) == len(walk.users) == 20 * 22


def test_a_replay_is_the_same_twice_and_draws_the_visits_it_is_told_to() -> None:
    shop = weekly_basket(n_users=10, weeks=12)
    cut = shop.start_s + 5 * 7 * DAY
    frozen = model_class("repeat")().fit(shop.as_of(cut))
    first, second = (replay(shop, frozen, cut, most_visits=15) for _ in range(2))
    assert first.online.tolist() == second.online.tolist()
    assert [month.visits for month in first.months()] == [15, 15]


def test_a_shift_moves_the_share_it_says_and_only_from_its_moment_on() -> None:
    shop = changing()
    at_s = shop.start_s + 10 * 7 * DAY
    shift = plant(shop, at_s, 1.0, seed=0)
    moved = shift.apply(shop)
    before, after = (shop.as_of(at_s), shop.since(at_s))
    assert moved.as_of(at_s).events["item"].to_list() == before.events["item"].to_list()
    category = shop.item_table["category"].to_numpy()
    old, new = category[after.events["item"]], category[moved.since(at_s).events["item"]]
    assert (old != new).all()
    assert shift.share == pytest.approx(1.0)
    assert plant(shop, at_s, 1.0, seed=0).becomes.tolist() == shift.becomes.tolist()
    with pytest.raises(InputError, match="at least two categories"):
        plant(weekly_basket(), at_s, 0.5, seed=0)
    with pytest.raises(InputError, match="above 0"):
        plant(shop, at_s, 1.5, seed=0)


def test_recovery_counts_events_until_the_running_mean_is_back() -> None:
    n = 100
    steady, events = np.ones(n), np.arange(n, dtype=np.int64) * 3
    hurt = np.where((np.arange(n) >= 20) & (np.arange(n) < 50), 0.5, 1.0)
    plain = Walk(np.zeros(n, np.int32), np.arange(n) * DAY, steady, steady, events, 0.0, 0)
    moved = Walk(np.zeros(n, np.int32), np.arange(n) * DAY, np.where(hurt < 1, 0, 0.5), hurt, events, 0.0, 0)
    found = recovery(plain, moved, 20 * DAY, within=0.1, window=10)
    assert found["online"].lost == pytest.approx(0.5)
    assert found["online"].events == (57 - 20) * 3  # 8 of its last 10 visits are good again
    assert found["online"].days == pytest.approx(37)
    assert found["frozen"].events is None
    assert found["frozen"].left == pytest.approx(0.5)
    with pytest.raises(InputError, match="visits follow the shift"):
        recovery(plain, moved, 20 * DAY, within=0.1, window=50)
    assert running(np.ones(4), 3).tolist() == [1.0, 1.0]


def test_the_command_shows_each_month_and_the_way_back(tmp_path: Path) -> None:
    shop = changing()
    with SqliteStore(tmp_path / "store.db") as store:
        ids = {"user_id": shop.users.names(shop.events["user"])}
        ids["item_id"] = shop.items.names(shop.events["item"])
        store.add_events(
            pl.DataFrame({**ids, "time_s": shop.events["time_s"]}).with_columns(event=pl.lit("purchase"))
        )
        store.upsert_items(shop.item_table)
    command = ["replay", "--home", str(tmp_path), "--shift", "0.9"]
    told = CliRunner().invoke(app, command)
    assert told.exit_code == 0, told.output
    assert "2024-06" in told.output
    assert "online: lost" in told.output
    said = orjson.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert said["model"] == "repeat"
    assert set(said["recovery"]) == {"frozen", "online"}
    refused = CliRunner().invoke(app, ["replay", "--home", str(tmp_path), "--cut", "soon"])
    assert isinstance(refused.exception, InputError)
    assert "is no date" in str(refused.exception)
