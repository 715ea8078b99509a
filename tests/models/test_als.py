"""Als solves the least squares that its docstring states, and a user's part of it from the history alone."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from intently.data import Dataset, Histories
from intently.errors import InputError, MissingExtraError
from intently.models.als import Als
from tiny_shops import checkerboard

TINY = {"d": 8, "iterations": 5}


def loss(model: Als, users: np.ndarray, shop: Dataset) -> float:
    """The objective of the docstring, in float64."""
    known = model._confidence(shop.histories()).toarray().astype(np.float64)
    wanted, weight = known > 0, np.where(known > 0, known, 1.0)
    items = model.factors.astype(np.float64)
    errors = weight * (wanted - users @ items.T) ** 2
    return float(errors.sum() + model.l2 * ((users**2).sum() + (items**2).sum()))


def test_a_user_is_the_least_of_the_objective() -> None:
    shop = checkerboard(n_users=12)
    model = Als(l2=2.0, alpha=3.0, decay=0.7, **TINY).fit(shop)
    users = model._users(shop.histories()).astype(np.float64)
    best = loss(model, users, shop)
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert loss(model, users + rng.normal(0, 0.02, users.shape), shop) > best


def test_another_round_brings_the_items_closer_to_the_least() -> None:
    shop = checkerboard(n_users=12)
    models = [Als(d=8, l2=2.0, iterations=n).fit(shop) for n in (1, 3, 15)]
    losses = [loss(model, model._users(shop.histories()), shop) for model in models]
    assert losses[0] > losses[1] > losses[2]


def test_what_was_met_lately_weighs_more() -> None:
    model = Als(alpha=10.0, decay=0.5, **TINY).fit(checkerboard())
    weights = model._confidence(Histories.of([[3, 5, 7, 5]]))[0].toarray()[0]
    assert weights[[3, 5, 7]].tolist() == pytest.approx([1.25, 12.5, 5.0])


def test_answering_needs_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = checkerboard()
    model = Als(**TINY).fit(shop)
    model.save(tmp_path)
    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    answer = Als.load(tmp_path).top_k(shop.histories(), 3)
    np.testing.assert_array_equal(answer.items, model.top_k(shop.histories(), 3).items)
    with pytest.raises(MissingExtraError, match="this needs implicit, which is not installed") as refusal:
        Als(**TINY).fit(shop)
    assert refusal.value.hint == "pip install 'intently[als]'"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"d": 0}, "d must be at least 1, got 0"),
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
        ({"l2": 0.0}, "l2 must be above 0"),
        ({"alpha": float("inf")}, "alpha must be above 0, got inf"),
        ({"decay": 1.5}, "decay must be in"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Als(**settings)  # type: ignore[arg-type]
