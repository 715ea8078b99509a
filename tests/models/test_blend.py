"""Blend adds up what its members say, each in its own measure."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intently.data import Dataset, Histories
from intently.errors import ArtifactError, InputError
from intently.models.blend import RULE, Blend, search
from intently.models.pools import normalised
from tiny_shops import chain, checkerboard, weekly_basket

NONE = Histories.of([[], []])


def test_a_row_is_divided_by_the_mean_of_its_largest_scores() -> None:
    scores = np.zeros((2, 40), np.float32)  # 40 items: the two largest count
    scores[0, :3] = [6, 2, 1]
    scores[1, :3] = [3, 3, 3]
    out = normalised(scores, NONE, met_count=True, logits=False)
    np.testing.assert_allclose(out[:, :3], [[1.5, 0.5, 0.25], [1, 1, 1]])
    assert (scores[0, :3] == [6, 2, 1]).all()


def test_what_was_met_does_not_count_where_it_cannot_come_back() -> None:
    scores = np.zeros((1, 40), np.float32)
    scores[0, :3] = [10, 2, 2]
    met = Histories.of([[0]])
    assert normalised(scores, met, met_count=False, logits=False)[0, 1] == 1.0
    assert normalised(scores, met, met_count=True, logits=False)[0, 1] == pytest.approx(1 / 3)


def test_never_recommended_items_get_the_least_score() -> None:
    scores = np.array([[4.0, -np.inf, 1.0], [-np.inf] * 3], np.float32)
    out = normalised(scores, NONE, met_count=True, logits=False)
    np.testing.assert_allclose(out, [[1.0, 0.25, 0.25], [0, 0, 0]])


def test_logits_become_chances_first() -> None:
    scores = np.log(np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]], np.float32)) - 7
    out = normalised(scores, NONE, met_count=True, logits=True)
    np.testing.assert_allclose(out, [[1, 0.6, 0.4], [0.125, 0.125, 1]], rtol=1e-5)


def test_the_search_finds_the_member_that_is_right() -> None:
    rng = np.random.default_rng(0)
    right = rng.random((200, 30)) < 0.1
    right[:, 0] = True
    noise = rng.random((200, 30)).astype(np.float32)
    told = right + 0.3 * rng.random((200, 30)).astype(np.float32)
    chosen = search(np.stack([noise, told.astype(np.float32)]), right, right.sum(axis=1), np.ones(2))
    assert chosen[1] == 1.0
    assert chosen[0] < 0.3


def test_members_are_what_the_shop_allows() -> None:
    quick = checkerboard(n_users=20)
    assert list(Blend().fit(quick).members) == ["content", "covisit", "linear"]
    assert list(Blend().fit(checkerboard(n_users=20, vectors=False)).members) == ["covisit", "linear"]
    assert list(Blend().fit(weekly_basket(weeks=6)).members) == ["covisit", "linear", "repeat"]


def test_the_rule_and_given_weights_are_taken_as_they_are() -> None:
    shop = checkerboard(n_users=20)
    assert Blend(["linear", "popular"]).fit(shop).shares.tolist() == [RULE["linear"], 1.0]
    given = Blend(["linear", "popular"], weights={"linear": 2.0}).fit(shop)
    assert given.shares.tolist() == [2.0, 0.0]
    np.testing.assert_allclose(
        given.top_k(shop.histories(), 5).items, given.members["linear"].top_k(shop.histories(), 5).items
    )


def test_chosen_weights_keep_who_knows_the_order() -> None:
    shop = chain(n_users=150)
    model = Blend({"linear": {"l2": 1.0}, "popular": {}}, weights=None).fit(shop)
    asked = Histories.of([[4, 5]])
    assert model.top_k(asked, 1, repeats=False).items[0, 0] == 6


def test_chosen_weights_on_a_grocery_keep_the_staples() -> None:
    shop = weekly_basket()
    model = Blend(["repeat", "popular"], weights=None).fit(shop)
    answer = model.top_k(shop.histories(), 2).lists()
    for user, row in zip(shop.users.ids, answer, strict=True):
        number = int(user[1:]) % 8
        assert {shop.items[i] for i in row} == {f"i{number:03d}", f"i{8 + number:03d}"}


def test_weights_are_the_rule_where_nothing_can_be_held_back() -> None:
    shop = Dataset.from_sequences([["a"], ["b"]])
    assert Blend(["linear", "covisit"], weights=None).fit(shop).shares.tolist() == [0.5, 1.0]


def test_a_folder_that_lost_a_member_is_refused(tmp_path: Path) -> None:
    Blend(["covisit", "popular"]).fit(checkerboard(n_users=20)).save(tmp_path)
    shutil.rmtree(tmp_path / "members" / "popular")
    with pytest.raises(ArtifactError, match="1 members, expected 2"):
        Blend.load(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"models": []}, "at least one member"),
        ({"models": "linear"}, "at least one member"),
        ({"weights": "equal"}, "weights must be 'rule'"),
        ({"weights": {"linear": -1.0}}, "must be 0 or more, got -1"),
        ({"weights": {"linear": float("nan")}}, "must be 0 or more, got nan"),
        ({"weights": {"linear": 0.0}}, "at least one weight must be above 0"),
        ({"models": ["linear"], "weights": {"covisit": 1.0}}, "no member; members: linear"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Blend(**settings)


def test_an_unknown_member_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="did you mean 'linear'"):
        Blend(["linea"]).fit(checkerboard(n_users=20))
