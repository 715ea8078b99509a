"""Texts and pictures in one vector: what two items share of either counts."""

from __future__ import annotations

import numpy as np

from intently.nn.inference import unit
from intently.senses.joined import LEAST, SHARE, Joined


def seen_of(n: int, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).random((n, 1280)).astype(np.float32))


def test_the_product_of_two_is_the_weighted_cosine_of_texts_and_pictures() -> None:
    seen = seen_of(40)
    texts = unit(np.random.default_rng(1).normal(size=(40, 12)).astype(np.float32))
    joined = Joined.learned(seen)
    assert joined is not None
    vectors = joined.vectors(texts, seen)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    centred = unit(seen - seen.mean(axis=0))  # 39 directions hold all of 40 pictures
    expected = (1 - SHARE) * texts @ texts.T + SHARE * centred @ centred.T
    np.testing.assert_allclose(vectors @ vectors.T, expected, atol=1e-4)


def test_an_item_with_one_of_the_two_gives_it_all_its_length() -> None:
    seen, texts = seen_of(30), np.zeros((30, 4), np.float32)
    texts[:20, 0] = 1.0
    seen[[0, 25]] = 0.0  # a text alone; nothing
    joined = Joined.learned(seen)
    assert joined is not None
    vectors = joined.vectors(texts, seen)
    lengths = np.linalg.norm(vectors, axis=1)
    assert lengths[25] == 0.0
    np.testing.assert_allclose(np.delete(lengths, 25), 1.0, rtol=1e-5)
    assert vectors[0, 0] == 1.0
    np.testing.assert_allclose(vectors[1, 0], np.sqrt(1 - SHARE), rtol=1e-5)
    assert not vectors[26, :4].any()
    alone = joined.vectors(np.zeros((1, 0), np.float32), seen[26:27])  # a shop without texts
    np.testing.assert_allclose(alone[0], vectors[26, 4:], rtol=1e-5)


def test_few_pictures_teach_nothing() -> None:
    assert Joined.learned(seen_of(LEAST - 1)) is None
    assert Joined.learned(np.zeros((100, 1280), np.float32)) is None
    same = np.repeat(seen_of(1), 50, axis=0)
    joined = Joined.learned(same)
    assert joined is None or np.isfinite(joined.vectors(np.zeros((50, 2), np.float32), same)).all()
