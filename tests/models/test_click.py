"""The network on top: it reads texts and facts, and its chances hold."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from intently.data import Dataset, Histories
from intently.data.histories import DAY_S
from intently.data.simulator import simulate
from intently.errors import InputError
from intently.evaluate import Case, judge, temporal
from intently.evaluate.chances import ask_pairs
from intently.evaluate.classification import auc, best_threshold, calibration_error, decide, log_loss
from intently.models.click import NETWORKS, Click
from intently.models.interests import MOST, attended, main_items
from intently.models.popular import Popular
from intently.schema import FloatArray

N_TASTES, N_ITEMS = 4, 80
FORTNIGHT = 14.0


@lru_cache(maxsize=1)
def readers(n_users: int = 240, seed: int = 0) -> Dataset:
    """A bookshop: a user buys a new book every other day, 9 of 10 times of the own taste, never one twice.

    A book's text vector points to its taste; ids, prices and popularity say nothing. The last book of
    each taste is never bought.
    """
    rng = np.random.default_rng(seed)
    taste = np.arange(N_ITEMS) % N_TASTES
    rows = []
    for user in range(n_users):
        own = rng.permutation(np.flatnonzero(taste[:-N_TASTES] == user % N_TASTES))
        other = rng.permutation(np.flatnonzero(taste[:-N_TASTES] != user % N_TASTES))
        for step in range(15):
            item = (own if rng.random() < 0.9 else other)[step]
            rows.append((f"u{user:03d}", f"b{item:02d}", int((2 * step + rng.random()) * DAY_S)))
    events = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    items = pl.DataFrame({"item_id": [f"b{i:02d}" for i in range(N_ITEMS)], "price": rng.random(N_ITEMS)})
    vectors = np.eye(N_TASTES, 16)[taste] + rng.normal(0, 0.1, (N_ITEMS, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Dataset.from_frames(events, items).with_vectors(vectors.astype(np.float32))


def reader(text: bool = True, seed: int = 0, network: str = "deep") -> Click:
    few = {"n_new": 76, "epochs": 8, "learning_rate": 3e-3}
    return Click({"popular": {}}, 4.0, cuts=2, **few, text=text, network=network, seed=seed)  # type: ignore[arg-type]


@lru_cache(maxsize=6)
def bookish(network: str = "deep") -> Click:
    return reader(network=network).fit(readers())


@lru_cache(maxsize=1)
def case() -> Case:
    """The simulated shop, its last fortnight held back; vectors tell the shelves apart."""
    shop = simulate(n_users=240, n_items=60, n_days=150, seed=3).dataset()
    shelves = np.eye(6, 8, dtype=np.float32)[np.arange(shop.n_items) % 6]
    return temporal(shop.with_vectors(shelves), horizon_days=FORTNIGHT)


@lru_cache(maxsize=6)
def fitted(network: str = "deep") -> Click:
    return Click(horizon_days=FORTNIGHT, cuts=3, epochs=12, learning_rate=3e-3, network=network).fit(
        case().train
    )


every_network = pytest.mark.parametrize("network", NETWORKS)


@every_network
def test_finds_the_planted_rule_that_text_decides(network: str) -> None:
    """Books that nobody ever bought, asked about: only their texts can tell them apart."""
    unsold = list(range(N_ITEMS - N_TASTES, N_ITEMS))
    asked = readers().histories(list(range(40)))
    chance = np.stack(bookish(network).probability(asked, [unsold] * 40))
    right = np.arange(N_TASTES)[None] == np.arange(40)[:, None] % N_TASTES
    assert auc(right.ravel(), chance.ravel().astype(np.float64)) > 0.97
    if network != "deep":
        return
    blind = np.stack(reader(text=False).fit(readers()).probability(asked, [unsold] * 40))
    assert auc(right.ravel(), blind.ravel().astype(np.float64)) < 0.6


@every_network
def test_chances_hold_on_weeks_that_were_never_seen(network: str) -> None:
    pairs = ask_pairs(fitted(network), case())
    assert len(pairs.chance) > 3000
    assert calibration_error(pairs.label, pairs.chance) < 0.03
    assert calibration_error(pairs.label, pairs.chance, equal_mass=True) < 0.03
    base = np.full(len(pairs.chance), pairs.label.mean())
    assert log_loss(pairs.label, pairs.chance) < 0.6 * log_loss(pairs.label, base)


def test_the_threshold_chosen_while_fitting_decides_well_later() -> None:
    pairs = ask_pairs(fitted(), case())
    best = best_threshold(pairs.label, pairs.chance)[1]
    assert 0 < fitted().threshold < 1
    assert decide(pairs.label, pairs.chance, fitted().threshold).f1 > best - 0.03


def test_ranks_better_than_popularity() -> None:
    popular = judge(Popular().fit(case().train), case(), (10,), name="popular")
    difference, _ = judge(fitted(), case(), (10,), name="click").against(popular, "ndcg@10")
    assert difference.low > 0.1


def test_a_seed_repeats_itself_and_another_one_differs() -> None:
    asked = readers().histories([0, 5])
    np.testing.assert_array_equal(reader().fit(readers()).scores(asked), bookish().scores(asked))
    assert not np.array_equal(reader(seed=1).fit(readers()).scores(asked), bookish().scores(asked))


def test_without_vectors_the_facts_alone_answer() -> None:
    bare = replace(case().train, vectors=None)
    few = Click(horizon_days=FORTNIGHT, cuts=2, epochs=2)
    blind = Click(horizon_days=FORTNIGHT, cuts=2, epochs=2, text=False)
    one, other = few.fit(bare).scores(case().histories), blind.fit(case().train).scores(case().histories)
    np.testing.assert_array_equal(one, other)
    assert "text_match" not in few._ready().names


def without(histories: Histories, item: int) -> Histories:
    keep = histories.items != item
    return replace(
        histories,
        indptr=np.array([0, keep.sum()]),
        items=histories.items[keep],
        time_s=histories.time_s[keep],
        events=histories.events[keep],
    )


@every_network
def test_a_reason_is_true_without_the_evidence_the_chance_falls(network: str) -> None:
    model, told = fitted(network), 0
    for row in range(20):
        histories = case().histories.select([row])
        best = int(model.top_k(histories, 1).items[0, 0])
        first = model.reasons(histories, [best])[0][0]
        if first.code in ("habit", "rhythm"):
            told += 1
            before = model.probability(histories, [[best]])[0][0]
            assert model.probability(without(histories, best), [[best]])[0][0] < before
    assert told > 10


@every_network
def test_text_is_the_reason_where_text_decides(network: str) -> None:
    histories = readers().histories([1])
    unsold = N_ITEMS - N_TASTES + 1  # of the user's taste
    assert "text" in [reason.code for reason in bookish(network).reasons(histories, [unsold])[0]]
    assert bookish(network).reasons(histories, []) == []


@every_network
def test_effects_add_up_to_what_tells_a_user_from_a_stranger(network: str) -> None:
    model = fitted(network)
    histories = case().histories.select([3])
    pairs = model._pairs(histories)
    effects = model._effects(histories, pairs).sum(axis=1)
    strange = model._inputs(model._pairs(histories.last(0), [pairs.items.tolist()]))
    columns = [i for i, name in enumerate(model._ready().names) if name.startswith("item_")]
    strange[:, columns] = 0.0
    gap = model._log_odds(pairs) - model._forward(strange)
    np.testing.assert_allclose(effects, gap, atol=0.15 * np.abs(gap).max())


def test_no_hidden_layer_is_a_logistic_regression() -> None:
    plain = Click({"popular": {}}, FORTNIGHT, cuts=2, epochs=3, hidden=()).fit(case().train)
    assert [value.shape[0] for value in plain.weights.values()] == [1, 1]
    histories = case().histories.select([3])
    pairs = plain._pairs(histories)
    weight: FloatArray = plain.weights["layers.0.weight"][0]
    np.testing.assert_allclose(
        plain._log_odds(pairs), plain._inputs(pairs) @ weight + plain.weights["layers.0.bias"], rtol=1e-4
    )
    assert plain.reasons(histories, [int(pairs.items[0])])


@every_network
def test_answers_without_torch(network: str, tmp_path: Path) -> None:
    bookish(network).save(tmp_path)
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from intently.data import Histories\n"
        "from intently.models.click import Click\n"
        f"model = Click.load(Path({str(tmp_path)!r}))\n"
        "print(*model.top_k(Histories.of([[0, 4, 8]], at_s=2e6), 3).items[0])\n"
        "print(len(model.reasons(Histories.of([[0, 4, 8]], at_s=2e6), [12])))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    listed, told = done.stdout.splitlines()
    wanted = bookish(network).top_k(Histories.of([[0, 4, 8]], at_s=2e6), 3).items[0]
    assert listed.split() == [str(item) for item in wanted]
    assert told == "1"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hidden": (64, 0)}, "hidden"),
        ({"network": "depp"}, "network must be one of deep, cross, interest, got 'depp'"),
        ({"crosses": 0}, "crosses must be at least 1"),
        ({"rank": -1}, "rank must not be negative"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"weight_decay": -1.0}, "weight_decay must not be negative"),
        ({"target": "purchse"}, "unknown target"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Click(**settings)  # type: ignore[arg-type]


def test_a_handful_of_users_is_enough() -> None:
    few = case().train
    few = replace(few, events=few.events.filter(pl.col("user") < 6))
    model = Click({"popular": {}}, FORTNIGHT, cuts=2, epochs=2).fit(few)
    assert model.top_k(few.histories([0]), 3).items.min() >= 0


@pytest.mark.parametrize("network", ["cross", "interest"])
def test_same_seed_same_bytes_and_what_is_loaded_answers_the_same(network: str, tmp_path: Path) -> None:
    again = reader(network=network).fit(readers())
    for name, model in {"a": bookish(network), "b": again}.items():
        model.save(tmp_path / name)
    assert (tmp_path / "a/arrays.safetensors").read_bytes() == (
        tmp_path / "b/arrays.safetensors"
    ).read_bytes()
    asked = readers().histories([0, 5])
    loaded = Click.load(tmp_path / "a")
    np.testing.assert_array_equal(loaded.scores(asked), bookish(network).scores(asked))


@pytest.mark.parametrize("network", ["cross", "interest"])
def test_without_texts_every_network_answers_and_gives_reasons(network: str) -> None:
    model = Click(horizon_days=FORTNIGHT, cuts=2, epochs=2, text=False, network=network, rank=4)
    histories = case().histories.select([3])
    best = int(model.fit(case().train).top_k(histories, 1).items[0, 0])
    assert model.reasons(histories, [best])[0]


def test_the_items_bought_most_and_latest_are_looked_at() -> None:
    two = Histories.of([[7, 3, 3, 5], []], at_s=10 * DAY_S)
    ids, ages, times = main_items(two).reshape(2, 3, MOST).transpose(1, 0, 2)
    assert ids[0, :3].tolist() == [3.0, 5.0, 7.0]
    assert (ids[0, 3:] == -1).all()
    assert (ids[1] == -1).all()
    np.testing.assert_allclose(np.expm1(ages[0, :3] * np.log1p(365.0)), [2.0, 1.0, 4.0], rtol=1e-5)
    np.testing.assert_allclose(np.exp(times[0, :3]), [2.0, 1.0, 1.0], rtol=1e-6)


def test_ties_tell_the_same_item_and_the_same_category_finest_first() -> None:
    main = main_items(Histories.of([[2, 0]], at_s=DAY_S))  # 0 is the latest
    levels = np.array([[0, 0, 0, 1], [0, 1, 1, 2]], np.int32)  # the finest last
    seen = attended(main, np.array([1], np.int32), np.eye(4, 2, dtype=np.float32), levels)
    assert seen.there[0].sum() == 2
    assert seen.ties[0, :2].tolist() == [[0.0, 0.0, 1.0], [0.0, 1.0, 1.0]]
    assert seen.candidate[0].tolist() == [0.0, 1.0]
    assert seen.items[0, :2].tolist() == [[1.0, 0.0], [0.0, 0.0]]
