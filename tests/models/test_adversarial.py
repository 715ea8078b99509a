"""The generator and its discriminator: they learn an order, stay stable, and answer without torch."""

from __future__ import annotations

import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from intently.data import Dataset, Histories
from intently.errors import InputError
from intently.models.adversarial import Adversarial, held_back, moments_opened, prefixes
from tiny_shops import chain, checkerboard, weekly_basket


def small(**settings: float) -> Adversarial:
    return Adversarial(d=16, judge_d=8, epochs=20, learning_rate=0.02, **settings)  # type: ignore[arg-type]


@lru_cache(maxsize=1)
def walks() -> Dataset:
    return chain()


@lru_cache(maxsize=1)
def fitted() -> Adversarial:
    return small().fit(walks())


def first_right(model: Adversarial) -> float:
    """Share of walks whose next step comes first."""
    histories = walks().histories()
    last = histories.items[histories.indptr[1:] - 1]
    best = model.top_k(histories, 1, repeats=False).items[:, 0]
    return float((best == (last + 1) % walks().n_items).mean())


@pytest.mark.parametrize("settings", [{}, {"adversarial": 0.0, "verdict": 0.0}, {"verdict": 0.0}])
def test_finds_the_next_step_of_a_walk_with_and_without_a_game(settings: dict[str, float]) -> None:
    assert first_right(small(**settings).fit(walks()) if settings else fitted()) > 0.95


@pytest.mark.parametrize("adversarial", [1.0, 10.0])
def test_a_game_that_weighs_much_does_not_break_the_training(adversarial: float) -> None:
    model = small(adversarial=adversarial, verdict=1.0).fit(walks())
    assert np.isfinite(model.curve[:, 0]).all()
    assert first_right(model) > 0.8


def test_without_a_game_there_is_no_discriminator() -> None:
    alone = small(adversarial=0.0, verdict=0.0).fit(walks())
    assert not [name for name in alone.weights if name.startswith("judge.")]
    assert [name for name in fitted().weights if name.startswith("judge.")]


def test_an_order_counts() -> None:
    two = fitted().top_k(Histories.of([[3, 4, 5], [5, 4, 3]]), 1, repeats=False).items[:, 0]
    assert two[0] == 6


def test_products_of_one_basket_share_a_moment() -> None:
    histories = weekly_basket(n_users=2, weeks=2).histories()
    assert moments_opened(histories).tolist() == [0, 0, 0, 3, 3, 3, 6, 6, 6, 9, 9, 9]


def test_the_held_back_events_are_last_ones_and_are_not_shown() -> None:
    histories = checkerboard(n_users=600).histories()
    able = np.flatnonzero(
        np.arange(len(histories.items)) > np.repeat(histories.indptr[:-1], histories.lengths)
    )
    held = held_back(histories, able, np.random.default_rng(0))
    assert len(held) == 60
    assert set(held) <= set(histories.indptr[1:] - 1)
    shown = prefixes(histories.select([0, 1]), np.array([2, 0]))
    assert shown.lengths.tolist() == [2, 0]
    assert shown.items.tolist() == histories.items[:2].tolist()
    few = checkerboard().histories().select(range(10))
    assert len(held_back(few, np.arange(60), np.random.default_rng(0))) == 0


def test_a_catalogue_above_the_candidates_is_sampled() -> None:
    assert first_right(small(candidates=8).fit(walks())) > 0.8


def test_a_stranger_gets_what_is_popular() -> None:
    model = small().fit(checkerboard())
    counts = np.bincount(checkerboard().histories().items, minlength=20)
    best = model.top_k(Histories.of([[]]), 3).items[0]
    assert sorted(counts[best]) == sorted(counts)[-3:]
    assert (np.argsort(model.scores(Histories.of([[0]]))[0])[:2] >= 18).all()  # what nobody met


def test_a_shop_where_nobody_comes_twice_is_popularity() -> None:
    once = Dataset.from_sequences([["a"], ["b"], ["a"]])
    model = small().fit(once)
    assert not model.weights
    assert model.top_k(Histories.of([[1]]), 1, repeats=True).items[0, 0] == 0


def test_answers_without_torch(tmp_path: Path) -> None:
    fitted().save(tmp_path)
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from intently.data import Histories\n"
        "from intently.models.adversarial import Adversarial\n"
        f"model = Adversarial.load(Path({str(tmp_path)!r}))\n"
        "print(*model.top_k(Histories.of([[0, 1, 2]]), 3).items[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    wanted = fitted().top_k(Histories.of([[0, 1, 2]]), 3).items[0]
    assert done.stdout.split() == [str(item) for item in wanted]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"d": 0}, "d must be at least 1, got 0"),
        ({"candidates": 0}, "candidates must be at least 1"),
        ({"adversarial": -1.0}, "adversarial must not be negative"),
        ({"verdict": float("nan")}, "verdict must not be negative"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(settings: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Adversarial(**settings)  # type: ignore[arg-type]
