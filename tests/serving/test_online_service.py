"""What is learned while serving: judged before it is learned, true chances, off when it harms, kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from served import running

from intently.evaluate.classification import reliability
from intently.models.calibration import sigmoid
from intently.schema import EVENT_CODES
from intently.serving.online.chance import Curve
from intently.serving.online.features import FEATURES, Facts, N, Question
from intently.serving.online.layer import LastLayer
from intently.serving.online.online import LEAST_LISTS, Online, Ranked
from intently.serving.online.pending import Pending, Waiting
from intently.serving.online.progressive import Progressive, gain

PURCHASE, VIEW = EVENT_CODES["purchase"], EVENT_CODES["view"]
WINDOW_S = 60.0


def waiting(user: int, at_s: float) -> Waiting:
    numbers = np.arange(3, dtype=np.int32)
    return Waiting(user, at_s, numbers, np.zeros((3, N)), np.zeros(3))


def test_only_what_is_met_within_the_window_is_an_outcome() -> None:
    pending = Pending(WINDOW_S)
    pending.add(waiting(7, 100.0))
    pending.add(waiting(7, 110.0))  # the user waits already
    pending.met(7, 0, 99.0)
    pending.met(7, 1, 130.0)
    pending.met(7, 2, 161.0)
    pending.met(8, 0, 130.0)
    assert pending.ripe(160.0, 9) == []
    assert not pending.due(160.0)
    found = pending.ripe(160.5, 9)
    assert [one.labels().tolist() for one in found] == [[False, True, False]]
    assert len(pending) == 0


def test_with_more_users_than_fit_a_share_of_them_is_learned_from() -> None:
    pending, learned, most = Pending(WINDOW_S, most=100), [], 0
    for user in range(20_000):  # 2,000 within a window
        pending.add(waiting(user, user * 0.03))
        learned += pending.ripe(user * 0.03, 4)
        most = max(most, len(pending))
    assert most <= 100
    assert pending.share == 1 / 32  # 62 of the 2,000
    assert 400 < len(learned) < 700
    assert np.histogram([one.user for one in learned], bins=4)[0].min() > 80  # of all times alike
    assert pending.lost < 400
    for user in range(20_000, 20_400):  # quiet hours: 10 within a window
        pending.add(waiting(user, 600.0 + (user - 20_000) * 6.0))
        learned += pending.ripe(600.0 + (user - 20_000) * 6.0, 4)
    assert pending.share == 1.0
    assert pending.wants(1)
    assert not pending.wants(20_399)
    pending.forget(20_399)
    assert pending.wants(20_399)


def shop(folder: Path) -> Online:
    """Items 0 to 9 of category a, 10 to 19 of category b, priced alike."""
    online = Online(folder, PURCHASE, WINDOW_S, horizon_s=WINDOW_S)
    facts = Facts((np.arange(20) // 10).astype(np.int32), np.ones(20, np.float32))
    online.facts = lambda: facts
    online.read([f"i{number}" for number in range(20)])
    return online


def asked(user: int, at_s: float, calibrated: bool = True) -> Question:
    """The model puts category a first; the visit is about category b."""
    candidates = np.array([0, 1, 2, 10 + user % 10], np.int32)
    latest = np.array([10 + (user + 1) % 10], np.int32)
    scores = np.array([0.4, 0.3, 0.2, 0.1])
    return Question(latest, np.array([at_s - 5.0]), at_s, latest, candidates, scores, calibrated)


def ranked_by(online: Online, user: int, question: Question) -> Ranked | None:
    """As an answer asks the layer."""
    return online.rank(user, question) if online.wants(user, question.at_s, "m1") else None


def walk(online: Online, n: int, right: int, start: int = 0) -> None:
    """Users come one after the other, each buys the candidate at place `right`, and the window passes."""
    for user in range(start, start + n):
        question = asked(user, user * 100.0)
        ranked_by(online, user, question)
        online.observe(user, int(question.candidates[right]), PURCHASE, user * 100.0 + 1.0)


def test_what_visits_are_about_comes_first_once_enough_lists_were_seen(tmp_path: Path) -> None:
    online = shop(tmp_path)
    walk(online, LEAST_LISTS // 2, right=3)
    assert ranked_by(online, 999, asked(999, 1e6)) is None
    walk(online, 250, right=3, start=20_000)
    ranked = ranked_by(online, 5, asked(5, 1e8))
    assert ranked is not None
    assert ranked.order[0] == 3
    assert (np.diff(ranked.scores) <= 0).all()
    told = online.told()
    assert told["progressive"]["ndcg@10"]["gain"]["low"] > 0
    assert told["progressive"]["log_loss"]["online"]["mean"] < 0.3
    plain = ranked_by(online, 6, asked(6, 1e8, calibrated=False))
    assert plain is not None
    assert plain.scores.tolist() == [0.4, 0.3, 0.2, 0.1]  # an order keeps its scale


def test_what_was_learned_is_there_after_a_restart_and_damage_begins_anew(tmp_path: Path) -> None:
    online = shop(tmp_path)
    walk(online, 120, right=3)
    online.close()
    again = shop(tmp_path)
    assert again.layer.weights.tolist() == online.layer.weights.tolist()
    assert again.problems() == []
    again.wants(3, 1e8, "m2")  # another model: its scores mean something else
    assert again.layer.n_lists == 0
    (tmp_path / "layer.json").write_bytes(b'{"layer": 1}')
    broken = shop(tmp_path)
    assert broken.layer.n_lists == 0
    assert broken.problems() == ["what the online layer had learned cannot be read: it begins anew"]


def test_a_layer_that_harms_is_switched_off_and_comes_back_when_it_helps(tmp_path: Path) -> None:
    online = shop(tmp_path)
    online.progressive = Progressive(kept=50, least=30)
    online.layer = LastLayer(prior=1e7)  # cannot learn
    online.layer.weights[FEATURES.index("frozen")] = -1.0
    online.layer._start[FEATURES.index("frozen")] = -1.0
    walk(online, 60, right=0)
    assert not online.progressive.active
    assert online.problems() == ["the online layer was worse than the model and is switched off"]
    assert ranked_by(online, 999, asked(999, 1e6)) is None
    walk(online, 60, right=3, start=20_000)
    assert online.progressive.active
    assert online.problems() == []


def test_a_user_who_buys_unasked_is_learned_from_as_of_just_before(tmp_path: Path) -> None:
    online = shop(tmp_path)
    moments: list[float] = []

    def sample(user: int, time_s: float) -> Question:
        moments.append(time_s)
        assert online.counters.n_events == 0  # the event itself is not counted yet
        return asked(user, time_s)

    online.sample = sample
    online.observe(4, 10, VIEW, 50.0)
    online.counters = type(online.counters)()
    online.observe(4, 14, PURCHASE, 60.0)
    assert moments == [60.0]
    (found,) = online.pending.ripe(1e6, 9)
    assert found.labels().tolist() == [False, False, False, True]
    online.observe(5, 15, PURCHASE, 70.0)  # too soon: the writer's time is not for this
    assert moments == [60.0]


def test_a_model_that_fails_does_not_stop_the_writer_of_events(tmp_path: Path) -> None:
    online = shop(tmp_path)

    def sample(_user: int, _time_s: float) -> Question:
        raise RuntimeError("no")

    online.sample = sample
    online.observe(4, 14, PURCHASE, 60.0)
    online.counters.settle()
    assert online.counters.n_events == 1
    assert online.problems() == ["the model gave no list to learn from: RuntimeError"]


def test_an_erased_user_waits_for_nothing(tmp_path: Path) -> None:
    online = shop(tmp_path)
    ranked_by(online, 4, asked(4, 100.0))
    online.observe(4, 14, PURCHASE, 101.0)
    online.counters.settle()
    online.forget(4)
    assert len(online.pending) == 0
    assert online.counters.visits.last(4).tolist() == []
    assert online.pending.ripe(1e9, 9) == []


def pairs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(tables, true chances, a calibrated frozen model's chances, which knows less)."""
    rng = np.random.default_rng(seed)
    tables = np.zeros((n, 20, N))
    tables[:, :, 0] = 1.0
    known, hidden = rng.normal(-1.5, 1.0, (n, 20)), rng.choice([-1.0, 1.0], (n, 20))
    tables[:, :, 1], tables[:, :, 2] = known, hidden
    true = sigmoid(known + hidden)
    frozen = 0.5 * (sigmoid(known + 1.0) + sigmoid(known - 1.0))
    return tables, true, frozen


def ece(labels: np.ndarray, chance: np.ndarray) -> float:
    return reliability(labels.astype(bool), chance).error


def test_probabilities_hold_before_and_after_outcomes_are_known() -> None:
    tables, true, frozen = pairs(600, seed=0)
    labels = (np.random.default_rng(1).random(true.shape) < true).astype(float)
    weights = np.zeros(N)
    weights[:3] = -2.0, 1.0, 1.0  # the right order, for a shorter time
    curve = Curve(horizon_s=100.0)
    numbers = np.arange(20, dtype=np.int32)

    def happened(user: int, numbers: np.ndarray, _at_s: float) -> np.ndarray:
        return np.asarray(labels[user][numbers])

    for user in range(300):
        curve.keep(user, user * 1.0, numbers, tables[user], frozen[user])
    curve.fit(weights, 90.0, happened, force=True)  # nothing is over yet
    test, told = labels[300:].ravel(), tables[300:].reshape(-1, N) @ weights
    plain = ece(test, frozen[300:].ravel())
    assert ece(test, sigmoid(told)) > 0.1
    assert ece(test, curve.of(told)) < plain + 0.02
    curve.fit(weights, 5000.0, happened, force=True)  # all outcomes are known
    assert ece(test, curve.of(told)) < plain + 0.01
    assert curve.slope == pytest.approx(1.0, rel=0.15)
    assert curve.shift == pytest.approx(2.0, rel=0.15)


def test_a_busy_shop_learns_what_its_chances_come_to_within_the_whole_horizon() -> None:
    curve, table, numbers = Curve(horizon_s=100.0), np.zeros((20, N)), np.arange(20, dtype=np.int32)
    table[:, 1] = np.linspace(-1, 1, 20)
    met = np.arange(20) >= 15
    for user in range(10_000):  # twelve times as many within the horizon as are kept
        curve.keep(user, user * 0.02, numbers, table, np.full(20, 0.01))
        curve.fit(np.eye(N)[1], user * 0.02, lambda _user, numbers, _at_s: met[numbers].astype(float))
    assert curve.slope > 4  # nothing but lists whose outcome is known tells it
    low, high = curve.of(np.array([-1.0, 1.0])).tolist()
    assert low < 0.05
    assert high > 0.85


def test_the_gain_of_a_list_is_its_ndcg() -> None:
    assert gain(np.array([True, False, False])) == 1.0
    assert gain(np.array([False, True, False])) == pytest.approx(1 / np.log2(3))


def test_the_service_learns_from_its_own_answers_and_says_what_it_brings(simple_home: Path) -> None:
    config = simple_home / "intently.toml"
    config.write_text("attribution_hours = 1e-6\n")
    with running(simple_home, "--config", str(config)) as service:
        assert service.client.get("/v1/online").json()["lists_learned"] == 0
        for _ in range(2):
            for user in range(30):
                service.ids(f"u{user:03d}")
        bought = {"user_id": "u003", "item_id": "i003", "event": "purchase", "event_id": "one"}
        assert service.client.post("/v1/events", json=bought).status_code == 200
        items = service.recommend("u003", n=10)["items"]
        assert len({item["item_id"] for item in items}) == 10
        told = service.client.get("/v1/online").json()
        assert told["lists_learned"] >= LEAST_LISTS
        assert told["events_counted"] == 30 * 20 * 3 + 1
        assert told["on"] is told["progressive"]["active"] is True
        metrics = service.client.get("/metrics").text
        assert "intently_online 1.0" in metrics
        assert 'intently_online_ndcg{bound="mean",of="gain"}' in metrics
