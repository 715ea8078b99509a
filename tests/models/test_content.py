"""Content answers from texts, and learns from behaviour which texts follow which."""

from __future__ import annotations

import numpy as np
import pytest

from intently.data import Dataset, Histories
from intently.errors import InputError
from intently.language.whitening import whitened
from intently.models.content import FILLER, Content, unit
from tiny_shops import chain, checkerboard


def test_items_that_nobody_met_are_answered_by_their_text() -> None:
    shop = checkerboard()  # items 18 and 19 are never met
    model = Content().fit(shop)
    assert 18 in model.top_k(Histories.of([[0, 2]]), 9, repeats=False).lists()[0]
    assert 19 not in model.top_k(Histories.of([[0, 2]]), 8, repeats=False).lists()[0]
    assert {item % 2 for item in model.similar(19, 4).lists()[0]} == {1}


def test_without_learning_the_score_is_the_cosine_of_the_weighted_mean() -> None:
    shop = checkerboard()
    model = Content(decay=0.5, learned=False).fit(shop)
    vectors = model.vectors.astype(np.float64)
    wanted = 0.5 * vectors[3] + vectors[4]
    expected = vectors @ (wanted / np.linalg.norm(wanted)) + FILLER * model.popularity
    np.testing.assert_allclose(model.scores(Histories.of([[3, 4]]))[0], expected, atol=1e-5)


def test_behaviour_bends_the_text_space() -> None:
    """On a circle with unrelated texts the cosine knows nothing, the map knows what comes next."""
    rng = np.random.default_rng(0)
    shop = chain(n_users=200, length=8)
    shop = shop.with_vectors(unit(rng.normal(size=(shop.n_items, 16)).astype(np.float32)))
    asked = Histories.of([[item] for item in range(shop.n_items)])
    following = (np.arange(shop.n_items) + 1) % shop.n_items
    learned = Content(decay=0.1, l2=1.0).fit(shop).top_k(asked, 1, repeats=False).items[:, 0]
    plain = Content(decay=0.1, learned=False).fit(shop).top_k(asked, 1, repeats=False).items[:, 0]
    assert (learned == following).mean() > 0.9
    assert (plain == following).mean() < 0.5


def test_a_strong_pull_gives_the_plain_cosine() -> None:
    shop = checkerboard()
    pulled = Content(l2=1e9).fit(shop).scores(shop.histories())
    np.testing.assert_allclose(pulled, Content(learned=False).fit(shop).scores(shop.histories()), atol=1e-3)


def test_whitening_makes_a_large_catalogue_round() -> None:
    rng = np.random.default_rng(0)
    skewed = rng.normal(size=(20_000, 6)) * np.array([4, 3, 1, 1, 0.5, 0.3]) + 5.0
    round_ = whitened(skewed.astype(np.float32))
    np.testing.assert_allclose(np.cov(round_.T), np.eye(6), atol=0.05)
    np.testing.assert_allclose(round_.mean(axis=0), 0.0, atol=1e-3)


def test_a_catalogue_smaller_than_the_vectors_keeps_its_neighbours() -> None:
    rng = np.random.default_rng(1)
    middles = rng.normal(size=(3, 64))
    rows = np.repeat(middles, 4, axis=0) + 0.3 * rng.normal(size=(12, 64))
    cosines = (near := unit(whitened(rows.astype(np.float32)))) @ near.T
    np.fill_diagonal(cosines, -1)
    assert (cosines.argmax(axis=1) // 4 == np.arange(12) // 4).all()


def test_items_without_text_stay_zero_and_in_the_middle() -> None:
    shop = checkerboard()
    vectors = shop.vectors.copy()
    vectors[5] = 0.0
    model = Content().fit(shop.with_vectors(vectors))
    assert (model.vectors[5] == 0).all()
    assert model.scores(Histories.of([[0]]))[0, 5] == pytest.approx(0.0, abs=2 * FILLER)
    silent = model.top_k(Histories.of([[5]]), 1, repeats=False)
    assert silent.items[0, 0] == int(np.argmax(np.where(np.arange(20) == 5, -1, model.popularity)))


def test_one_text_for_all_is_no_error() -> None:
    shop = checkerboard()
    same = np.tile(np.eye(1, 8, dtype=np.float32), (shop.n_items, 1))
    assert np.isfinite(Content().fit(shop.with_vectors(same)).scores(shop.histories())).all()


def test_a_shop_without_texts_is_refused_with_what_to_do() -> None:
    with pytest.raises(InputError, match="encode_catalogue"):
        Content().fit(checkerboard(vectors=False))


def test_a_shop_of_single_events_is_answered_by_the_plain_cosine() -> None:
    shop = Dataset.from_sequences([["a"], ["b"], ["c"]])
    shop = shop.with_vectors(unit(np.array([[1, 0], [0.9, 0.1], [0, 1]], np.float32)))
    assert Content().fit(shop).similar(0, 1).items[0, 0] == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"decay": 1.1}, "decay must be in"), ({"l2": -1.0}, "l2 must be above 0")],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Content(**settings)  # type: ignore[arg-type]
