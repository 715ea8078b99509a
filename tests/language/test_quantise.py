"""Whole-number graphs: what they promise, with the real English model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from intently.language import TextEncoder
from intently.language.quantise import WEIGHT_MAX, round_columns

TITLES = [
    "Ice, crushed / cubed (frozen ice), store brand, 22 lb",
    "Apple sauce (fruit, shelf stable), store brand, 50 oz",
    "OPI Nail Lacquer, Simmer and Shimmer, 0.5-Fluid Ounce",
    "Specialty cookies (cookies / cones), 14 oz",
    "Shampoo for coloured hair",
    "garden hose, 25 m",
    "Dog food, dry, chicken and rice",
    "tea",
]


def test_rounded_columns_are_within_half_a_step() -> None:
    weights = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    weights[:, 3] = 0
    whole, scale = round_columns(weights)
    assert np.abs(whole).max() == WEIGHT_MAX
    assert (np.abs(whole * scale - weights) <= scale / 2 + 1e-6).all()


def test_two_products_never_overflow_sixteen_bits() -> None:
    assert np.iinfo(np.int16).max >= 2 * 255 * WEIGHT_MAX


def test_the_english_model_keeps_its_meaning_in_int8(tmp_path: Path) -> None:
    exact = TextEncoder(speed="exact", cache=tmp_path).encode(TITLES)
    fast = TextEncoder(speed="fast", cache=tmp_path).encode(TITLES)
    assert (exact * fast).sum(axis=1).min() > 0.99
    others = exact @ exact.T - 2 * np.eye(len(TITLES))
    assert (np.argmax(fast @ fast.T - 2 * np.eye(len(TITLES)), axis=1) == others.argmax(axis=1)).all()


def test_the_tokens_are_those_of_transformers(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    encoder = TextEncoder(cache=tmp_path)
    theirs = AutoTokenizer.from_pretrained(encoder.folder.path, local_files_only=True)
    texts = [*TITLES, "Crème brûlée 🍮 CAFÉ", "绿茶 100g", "x" * 300]
    assert [e.ids for e in encoder._tokenizer.encode_batch(texts)] == theirs(texts)["input_ids"]
