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
from intently.models.click import Click
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


def reader(text: bool = True, seed: int = 0) -> Click:
    return Click({"popular": {}}, 4.0, cuts=2, n_new=76, epochs=8, learning_rate=3e-3, text=text, seed=seed)


@lru_cache(maxsize=1)
def bookish() -> Click:
    return reader().fit(readers())


@lru_cache(maxsize=1)
def case() -> Case:
    """The simulated shop, its last fortnight held back; vectors tell the shelves apart."""
    shop = simulate(n_users=240, n_items=60, n_days=150, seed=3).dataset()
    shelves = np.eye(6, 8, dtype=np.float32)[np.arange(shop.n_items) % 6]
    return temporal(shop.with_vectors(shelves), horizon_days=FORTNIGHT)


@lru_cache(maxsize=1)
def fitted() -> Click:
    return Click(horizon_days=FORTNIGHT, cuts=3, epochs=12, learning_rate=3e-3).fit(case().train)


def test_finds_the_planted_rule_that_text_decides() -> None:
    """Books that nobody ever bought, asked about: only their texts can tell them apart."""
    unsold = list(range(N_ITEMS - N_TASTES, N_ITEMS))
    asked = readers().histories(list(range(40)))
    chance = np.stack(bookish().probability(asked, [unsold] * 40))
    right = np.arange(N_TASTES)[None] == np.arange(40)[:, None] % N_TASTES
    assert auc(right.ravel(), chance.ravel().astype(np.float64)) > 0.97
    blind = np.stack(reader(text=False).fit(readers()).probability(asked, [unsold] * 40))
    assert auc(right.ravel(), blind.ravel().astype(np.float64)) < 0.6


def test_chances_hold_on_weeks_that_were_never_seen() -> None:
    pairs = ask_pairs(fitted(), case())
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


def test_a_reason_is_true_without_the_evidence_the_chance_falls() -> None:
    told = 0
    for row in range(20):
        histories = case().histories.select([row])
        best = int(fitted().top_k(histories, 1).items[0, 0])
        first = fitted().reasons(histories, [best])[0][0]
        if first.code in ("habit", "rhythm"):
            told += 1
            before = fitted().probability(histories, [[best]])[0][0]
            assert fitted().probability(without(histories, best), [[best]])[0][0] < before
    assert told > 10


def test_text_is_the_reason_where_text_decides() -> None:
    histories = readers().histories([1])
    unsold = N_ITEMS - N_TASTES + 1  # of the user's taste
    assert "text" in [reason.code for reason in bookish().reasons(histories, [unsold])[0]]
    assert bookish().reasons(histories, []) == []


def test_effects_add_up_to_what_tells_a_user_from_a_stranger() -> None:
    histories = case().histories.select([3])
    pairs = fitted()._pairs(histories)
    effects = fitted()._effects(histories, pairs).sum(axis=1)
    strange = fitted()._inputs(fitted()._pairs(histories.last(0), [pairs.items.tolist()]))
    columns = [i for i, name in enumerate(fitted()._ready().names) if name.startswith("item_")]
    strange[:, columns] = 0.0
    gap = fitted()._log_odds(pairs) - fitted()._forward(strange)
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


def test_answers_without_torch(tmp_path: Path) -> None:
    bookish().save(tmp_path)
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
    wanted = bookish().top_k(Histories.of([[0, 4, 8]], at_s=2e6), 3).items[0]
    assert listed.split() == [str(item) for item in wanted]
    assert told == "1"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hidden": (64, 0)}, "hidden"),
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
