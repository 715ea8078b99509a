"""Which text of an item is read, and what its vector promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from intently.data import Dataset
from intently.language import TextEncoder, catalogue_text, encode_catalogue


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vectors")


def shop(**columns: list[object]) -> Dataset:
    n = len(next(iter(columns.values())))
    names = [f"i{row:03d}" for row in range(n)]
    events = pl.DataFrame({"user_id": ["u"], "item_id": names[:1], "timestamp": [1]})
    return Dataset.from_frames(events, pl.DataFrame({"item_id": names, **columns}))


def test_text_is_title_category_brand_and_start_of_description() -> None:
    dataset = shop(
        title=["Green tea"], category=["Drinks"], brand=["Lotus"], description=["word " * 500], price=[2.5]
    )
    text = catalogue_text(dataset)[0]
    assert text.startswith("Green tea, Drinks, Lotus, word word")
    assert len(text) < 250


def test_text_never_says_null_or_the_same_thing_twice() -> None:
    dataset = shop(
        title=["Lotus green tea", None, "nan", "  a \n\t b  "],
        brand=["LOTUS", "null", "None", None],
        category=["tea", None, "", "c"],
    )
    assert catalogue_text(dataset) == ["Lotus green tea", "", "", "a b, c"]


def test_a_part_counts_as_said_by_its_words_not_by_its_letters() -> None:
    dataset = shop(
        title=["Salsa (salads / dips)", "steam iron", "立顿绿茶"],
        category=["Salads/Dips", "Tea", "绿茶"],
        brand=[None, "Iron", "立顿"],
    )
    assert catalogue_text(dataset) == ["Salsa (salads / dips)", "steam iron, Tea", "立顿绿茶"]


def test_text_of_lists_numbers_and_missing_columns() -> None:
    assert catalogue_text(shop(category=[["Food", "Tea"], None])) == ["Food Tea", ""]
    assert catalogue_text(shop(title=[1984, 7])) == ["1984", "7"]
    assert catalogue_text(shop(colour=["red"])) == [""]


def test_vectors_are_unit_and_zero_without_text(cache: Path) -> None:
    dataset = shop(title=["green tea", "black tea", "garden hose", None, "  ", "green tea"])
    vectors = encode_catalogue(dataset, cache=cache).vectors
    assert vectors is not None
    assert vectors.shape == (6, 384)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1, 0, 0, 1], abs=1e-5)
    assert (vectors[0] == vectors[5]).all()
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.3


def test_a_shop_without_any_text_gets_zero_vectors(cache: Path) -> None:
    vectors = encode_catalogue(shop(colour=["red", "blue"]), cache=cache).vectors
    assert vectors is not None
    assert vectors.shape == (2, 384)
    assert not vectors.any()


def test_an_encoder_of_ones_own_can_be_given(cache: Path) -> None:
    encoder = TextEncoder(speed="exact")
    dataset = shop(title=["green tea"])
    one = encode_catalogue(dataset, encoder, cache=cache).vectors
    two = encode_catalogue(dataset, encoder.with_cache(cache)).vectors
    assert one is not None
    assert (one == two).all()
