"""Two towers answer for items and users that nobody has met, and go to ONNX unchanged."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from intently.data import Dataset, Histories
from intently.errors import InputError, NotReadyError
from intently.models.item_features import MOST_TOKENS, ItemReader, directions
from intently.models.two_tower import TwoTower, moment_of_asking
from intently.nn.packing import Bags
from intently.nn.past import latest, look_back, pooled
from tiny_shops import chain, checkerboard

TINY = {"d": 16, "hidden": 16, "epochs": 15, "learning_rate": 0.01}
NEW = (18, 19)
"""Items of the checkerboard that are never met."""


@cache
def fitted() -> TwoTower:
    return TwoTower(**TINY).fit(checkerboard())


def described(n_users: int = 600) -> Dataset:
    """The checkerboard without texts, its sides told by category, brand and price; three items new."""
    shop = checkerboard(n_users=n_users, vectors=False)
    odd = np.arange(shop.n_items) % 2 == 1
    table = shop.item_table.with_columns(
        category=pl.Series(np.where(odd, "Garden > Tools", "Beauty > Lips")),
        brand=pl.Series(np.where(odd, "Hose & Co", "Balm & Co")),
    )
    return replace(shop, item_table=table)


def test_an_item_nobody_met_stands_on_the_side_of_its_text() -> None:
    scores = fitted().scores(Histories.of([[0, 6, 10], [1, 7, 11]]))
    assert scores[0, 18] > scores[0, 19]
    assert scores[1, 19] > scores[1, 18]


def test_category_and_brand_answer_for_new_items_without_texts() -> None:
    model = TwoTower(**TINY).fit(described())
    answer = model.top_k(Histories.of([[0, 6, 10], [1, 7, 11]]), 9, repeats=False, only=[18, 19])
    assert answer.items[:, 0].tolist() == [18, 19]


def test_a_history_of_new_items_is_read_by_their_texts() -> None:
    answer = fitted().top_k(Histories.of([[18], [19]]), 3, repeats=False).items
    assert (answer % 2 == [[0], [1]]).all()


def test_where_own_vectors_tell_most_new_items_get_a_bonus() -> None:
    words = np.random.default_rng(0).normal(size=(12, 8)).astype(np.float32)
    shop = chain(n_users=600).with_vectors(words)
    model = TwoTower(**TINY | {"epochs": 5}).fit(shop)
    assert 0 < model.new_item_bonus[0] < model.scale[0]
    assert TwoTower(**TINY | {"epochs": 1, "new_item_cost": 0.0}).fit(shop).new_item_bonus[0] == 0


def test_the_bonus_is_added_to_items_nobody_met_and_to_no_others() -> None:
    asked = Histories.of([[0, 6], [1]])
    before = fitted().scores(asked)
    model = TwoTower(**TINY).fit(checkerboard())
    model.new_item_bonus[:] = 2.0
    gain = model.scores(asked) - before
    np.testing.assert_allclose(gain[:, NEW], 2.0, rtol=1e-4)
    np.testing.assert_allclose(gain[:, :18], 0.0, atol=1e-5)


def test_an_item_of_which_nothing_is_said_scores_below_all_others() -> None:
    shop = checkerboard()
    vectors = np.array(shop.vectors)
    vectors[19] = 0
    scores = TwoTower(**TINY).fit(shop.with_vectors(vectors)).scores(Histories.of([[0, 2], []]))
    assert (scores[:, 19] < scores[:, :19].min(axis=1)).all()


def test_an_empty_history_gets_what_is_popular() -> None:
    counts = np.bincount(checkerboard().events["item"].to_numpy(), minlength=20)
    assert counts[fitted().top_k(Histories.of([[]]), 1).items[0, 0]] == counts.max()


def test_sampled_candidates_with_hard_negatives_separate_the_two_sides() -> None:
    model = TwoTower(**TINY | {"candidates": 6, "batch": 8, "hard": 4}).fit(checkerboard())
    answer = model.top_k(Histories.of([[0, 6, 10], [1, 7, 11]]), 4, repeats=False).items
    assert (answer % 2 == [[0], [1]]).all()


def test_learns_the_order_where_nothing_is_said_of_items() -> None:
    shop = chain(n_users=300)
    model = TwoTower(**TINY | {"epochs": 30, "batch": 128}).fit(shop)
    histories = shop.histories()
    last = histories.items[histories.indptr[1:] - 1]
    assert np.mean(model.top_k(histories, 1).items[:, 0] == (last + 1) % 12) > 0.9


def test_the_towers_in_onnx_give_the_same_vectors(tmp_path: Path) -> None:
    import onnxruntime

    shop = described(60).with_vectors(np.array(checkerboard().vectors))
    model = TwoTower(**TINY | {"epochs": 2}).fit(shop)
    model.save(tmp_path / "model")
    TwoTower.load(tmp_path / "model").export_onnx(tmp_path / "towers")
    facts = json.loads((tmp_path / "towers" / "towers.json").read_text())
    assert model.reader is not None
    assert facts["attributes"] == model.reader.attributes

    read = model.reader.read(shop, shop.vectors)
    items = onnxruntime.InferenceSession(tmp_path / "towers" / "item_tower.onnx")
    met = np.arange(20) < 18
    inputs = {
        "item": np.where(met, np.arange(20) + 1, 0),
        "tokens": read.tokens,
        "price": shop.item_table["price"].cast(pl.Float32).to_numpy(),
        "text": shop.vectors,
    }
    table = items.run(None, inputs)[0]
    np.testing.assert_allclose(table, model.table, atol=1e-5)

    asked = shop.histories([0, 1])
    days = (asked.at_s[:, None] - asked.time_s.reshape(2, 6)) / 86400
    users = onnxruntime.InferenceSession(tmp_path / "towers" / "user_tower.onnx")
    inputs = {
        "items": table[asked.items.reshape(2, 6)],
        "steps": np.tile(np.arange(5, -1, -1), (2, 1)),
        "days": days.astype(np.float32),
        "share": np.ones((2, 6), np.float32),
        "context": moment_of_asking(asked.at_s, timed=True),
    }
    wanted = users.run(None, inputs)[0]
    scores = facts["scale"] * wanted @ table.T
    np.testing.assert_allclose(scores[:, met], model.scores(asked)[:, met], rtol=1e-3, atol=1e-4)


def test_towers_are_exported_without_texts_too(tmp_path: Path) -> None:
    TwoTower(**TINY | {"epochs": 1}).fit(described(60)).export_onnx(tmp_path)
    assert (tmp_path / "item_tower.onnx").exists()
    with pytest.raises(NotReadyError, match="no trained towers"):
        TwoTower().export_onnx(tmp_path)


def test_answers_without_torch(tmp_path: Path) -> None:
    fitted().save(tmp_path)
    code = (
        "import sys; from pathlib import Path\n"
        "from intently.data import Histories; from intently.models.two_tower import TwoTower\n"
        f"model = TwoTower.load(Path({str(tmp_path)!r}))\n"
        "assert (model.top_k(Histories.of([[0, 6]]), 3).items % 2 == 0).all()\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_the_catalogue_says_becomes_numbers() -> None:
    shop = described(60)
    reader = ItemReader.of(shop, None, 8, 1.0)
    assert reader.attributes == [
        "brand=Balm & Co", "brand=Hose & Co", "category=Beauty", "category=Garden", "category=Lips",
        "category=Tools",
    ]  # fmt: skip
    read = reader.read(shop, None)
    assert read.tokens.shape == (20, MOST_TOKENS)
    assert read.tokens[0].tolist()[:4] == [1, 3, 5, 0]
    np.testing.assert_allclose(read.price[:, 0], np.where(np.arange(20) % 2, 1, -1), atol=1e-5)
    assert (read.price[:, 1] == 1).all()
    assert read.text.shape == (20, 0)


def test_an_unknown_price_is_neither_dear_nor_cheap() -> None:
    shop = described(60)
    prices = pl.Series([None, -1.0, *[2.0, 3.0] * 9])
    shop = replace(shop, item_table=shop.item_table.with_columns(price=prices))
    read = ItemReader.of(shop, None, 8, 1.0).read(shop, None)
    assert read.price[:2].tolist() == [[0, 0], [0, 0]]


def test_directions_of_a_small_catalogue_are_shrunk_and_a_large_one_is_whitened() -> None:
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(4000, 6)) * [5, 3, 1, 1, 0.5, 0.2]).astype(np.float32)
    middle, axes = directions(rows, 4)
    np.testing.assert_allclose(((rows - middle) @ axes).std(axis=0), 1, atol=0.02)
    middle, axes = directions(rows[:4], 4)
    spread = ((rows[:4] - middle) @ axes).std(axis=0)
    assert spread[0] < spread[-1]
    assert directions(rows[:1], 4)[1].size == 0


def test_a_past_is_pooled_by_recency_and_a_basket_is_one_moment() -> None:
    bags = Bags.of(np.zeros(4, np.int64), np.array([1.0, 1, 2, 3]), np.array([0, 1, 2, 3]), 1)
    past = look_back(bags, np.array([0, 0]), np.array([3, 0]), 50, np.zeros(0), None)
    table = np.eye(4, dtype=np.float32)
    half = {"recency.steps": np.log(0.5) * np.arange(50), "recency.slope": np.zeros(1)}
    np.testing.assert_allclose(pooled(past, table, half), [[0.125, 0.125, 0.5, 1], [0, 0, 0, 0]])
    np.testing.assert_allclose(latest(past, table), [[0, 0, 0, 1], [0, 0, 0, 0]])
    short = look_back(bags, np.array([0]), np.array([3]), 1, np.zeros(0), None)
    assert short.items.tolist() == [3]


def test_the_moment_of_asking_goes_round_the_day_and_the_week() -> None:
    day = 86400.0
    at = moment_of_asking(np.array([0.0, day / 2, 7 * day]), timed=True)
    np.testing.assert_allclose(at[0], at[2], atol=1e-6)
    np.testing.assert_allclose(at[1, :2], [0, -1], atol=1e-6)
    assert not moment_of_asking(np.array([5.0]), timed=False).any()


@pytest.mark.parametrize(
    "setting", ["d", "hidden", "max_length", "text_width", "batch", "epochs", "candidates"]
)
def test_counts_below_one_are_refused(setting: str) -> None:
    with pytest.raises(InputError, match=f"{setting} must be at least 1, got 0"):
        TwoTower(**{setting: 0})


def test_other_settings_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match=r"own_dropout must be in \[0, 1\), got 1.0"):
        TwoTower(own_dropout=1.0)
    with pytest.raises(InputError, match=r"new_item_cost must be in \[0, 1\), got 1"):
        TwoTower(new_item_cost=1)
    with pytest.raises(InputError, match="hard must not be negative, got -1"):
        TwoTower(hard=-1)
    with pytest.raises(InputError, match="weight_decay must not be negative, got -1"):
        TwoTower(weight_decay=-1)
