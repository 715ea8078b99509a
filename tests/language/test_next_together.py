"""Objectives next and together: what is asked, what is masked, what is learned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from kinds_shop import kinds_shop

from intently.data import Dataset
from intently.errors import InputError
from intently.language import next_text, together
from intently.language.contrast import STRENGTHS, Batch, Contrast, Contrasting, marks_and_choices
from intently.language.exact import LastLayer
from intently.language.questions import Questions, Split, split
from intently.language.ranking import best_decay, ranks, user_vectors
from intently.language.sentences import Sentences
from intently.schema import FloatArray, IntArray

SMALL = Contrasting(items=32, questions=256, negatives=256)


def test_no_training_question_shows_a_held_back_item_or_a_last_event() -> None:
    shop = kinds_shop()
    parts = split(shop)
    hidden = parts.cold | parts.held
    assert parts.cold.sum() == parts.held.sum() == 12
    assert not (parts.cold & parts.held).any()
    past = parts.train.past
    assert not hidden[parts.train.target].any()
    assert not hidden[past[past >= 0]].any()
    assert parts.held[parts.validation.target].all()
    shown = parts.validation.past
    assert not parts.cold[shown[shown >= 0]].any()
    last = shop.histories().items[shop.histories().indptr[1:] - 1]
    assert sorted(parts.test.target) == sorted(last)


def test_a_basket_is_no_past_of_its_own_items_but_goes_together() -> None:
    """Items of one basket are at most 2 apart, those of different weeks 8 or more."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    rows = [
        (f"u{user:02d}", f"i{(user + 10 * week + place) % 40:02d}", start + timedelta(days=7 * week))
        for user in range(40)
        for week in range(4)
        for place in range(3)
    ]
    table = pl.DataFrame({"item_id": [f"i{item:02d}" for item in range(40)]})
    events = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    shop = Dataset.from_frames(events, table)
    apart = split(shop).train
    assert _distance(apart.past[:, 0], apart.target) >= 8
    pairs = together.paired(split(shop, baskets=True).train, both=True)
    assert _distance(pairs.past[:, 0], pairs.target) <= 2
    found = set(zip(pairs.past[:, 0].tolist(), pairs.target.tolist(), strict=True))
    assert all((after, before) in found for before, after in found)


def _distance(some: IntArray, others: IntArray) -> int:
    """The smallest way round the circle of 40 items."""
    way = (some.astype(int) - others) % 40
    return int(np.minimum(way, 40 - way).min())


def test_a_past_is_weighted_by_moments_and_left_out_of_the_answers() -> None:
    vectors = np.eye(4, dtype=np.float32)
    questions = Questions(
        np.array([[0, 1, -1]], np.int32), np.array([[0, 1, 0]], np.int32), np.array([2], np.int32)
    )
    users = user_vectors(questions, vectors, 0.5)
    np.testing.assert_allclose(users, [[2 / 5**0.5, 1 / 5**0.5, 0, 0]], rtol=1e-6)
    assert ranks(users, vectors, questions).tolist() == [1]  # item 3 ties with it, 0 and 1 are the past
    assert ranks(users, vectors, questions, np.array([1, 2], np.int32)).tolist() == [0]


def test_items_of_equal_text_and_of_the_past_are_no_negatives(tiny: Path) -> None:
    """Item 0 is the past; 1 the answer, 2 has its text, 3 is the only true negative."""
    sentences = Sentences(["green tea", "black tea", "black tea", "red wine"], tiny, max_tokens=8)
    rows = Questions(
        np.array([[0]] * 4, np.int32), np.zeros((4, 1), np.int32), np.array([1, 1, 2, 3], np.int32)
    )
    none = np.zeros(4, bool)
    task = Contrast("next", sentences, Split(rows, rows, rows, none, none), Contrasting(hard=0))
    model = task.load(tiny)
    every = np.arange(4, dtype=np.int32)
    alone = np.array([0], np.int32)  # the question that 1 comes after 0
    nothing = np.zeros(0, np.int32)
    batch = Batch(every, nothing, alone, every, every, nothing)
    with torch.no_grad():
        got = float(task.loss(model.eval(), batch))
        v = sentences.encode(model, np.array([0, 1, 2], np.int32))  # three texts: 1 and 2 share one
    prior = np.log(np.array([2, 1]) / 4)
    logits = np.array([float(v[0] @ v[1]), float(v[0] @ v[2])]) / task.settings.temperature + prior
    assert got == pytest.approx(float(np.log(np.exp(logits - logits[0]).sum())), rel=1e-4)


def test_batches_are_the_same_for_the_same_epoch_and_cover_the_texts(tiny: Path) -> None:
    task = next_text.from_shop(kinds_shop(), tiny, SMALL, max_tokens=8)
    first, again, later = task.batches(0), task.batches(0), task.batches(1)
    assert all((a.fresh == b.fresh).all() for a, b in zip(first, again, strict=True))
    assert any((a.fresh != b.fresh).any() for a, b in zip(first, later, strict=True))
    fresh = np.concatenate([batch.fresh for batch in first])
    assert len(np.unique(fresh)) == len(fresh) >= 96 - SMALL.items


def test_what_ends_a_tuning_is_chosen_on_every_validation_question_and_marks_judge_a_few() -> None:
    questions = Questions(
        np.zeros((3000, 1), np.int32), np.zeros((3000, 1), np.int32), np.arange(3000, dtype=np.int32)
    )
    few, many = marks_and_choices(questions, 12_000, seed=0)
    assert len(few) == 1000
    assert sorted(many.target) == list(range(3000))
    assert len(np.unique(few.target)) == 1000
    assert len(marks_and_choices(questions, 100_000, seed=0)[1]) == 2000  # a large catalogue: fewer


def test_a_tuning_ends_with_the_layer_that_finds_most_and_its_folder_keeps_it(
    tiny: Path, tmp_path: Path
) -> None:
    task = next_text.from_shop(kinds_shop(), tiny, SMALL, max_tokens=8)
    model = task.load(tiny)
    task.batches(0)  # whitens
    kept = task.sentences.last
    task.finish(model)
    task.save(model, tmp_path)
    chosen = task.by_item(task.sentences.matrix(model))
    figure = best_decay(chosen, task.choosing, 10)[1]
    task.sentences.last = LastLayer(None)
    plain = task.sentences.matrix(model)
    others = [kept, *task.layers(plain)]
    assert len(others) == len(STRENGTHS) + 2
    assert figure == pytest.approx(
        max(best_decay(v, task.choosing, 10)[1] for v in _bent(task, plain, others))
    )
    again = task.by_item(task.sentences.matrix(task.load(tmp_path)))
    np.testing.assert_allclose(again, chosen, atol=1e-5)


def _bent(task: Contrast, plain: FloatArray, layers: list[LastLayer]) -> list[FloatArray]:
    with torch.no_grad():
        return [task.by_item(layer(torch.from_numpy(plain)).numpy()) for layer in layers]


def test_together_asks_one_thing_after_another(tiny: Path) -> None:
    task = together.from_shop(kinds_shop(), tiny, SMALL, max_tokens=8)
    assert task.train.past.shape[1] == task.parts.test.past.shape[1] == 1
    model = task.load(tiny)
    assert set(task.measure(model)) == {"all", "warm", "cold"}
    assert 0 <= task.evaluate(model)["recall@10"] <= 1


def test_a_shop_without_texts_or_with_one_event_a_user_is_refused(tiny: Path) -> None:
    lonely = Dataset.from_sequences([[f"i{user}"] for user in range(30)])
    with pytest.raises(InputError, match="questions for train: too few"):
        next_text.from_shop(lonely, tiny)
    wordless = Dataset.from_sequences([[f"i{(user + k) % 20}" for k in range(5)] for user in range(30)])
    with pytest.raises(InputError, match="no training question has texts"):
        next_text.from_shop(wordless, tiny)
    with pytest.raises(InputError, match="temperature must be above 0"):
        Contrasting(temperature=0.0)
