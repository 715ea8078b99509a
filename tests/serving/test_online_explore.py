"""Exploration: true propensities, good new items found, bad ones dropped, decisions made again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from intently.config import load_settings
from intently.data import Dataset
from intently.serving.answer.recommend import recommend
from intently.serving.online.bandit import KEEP, Explorer, best_of
from intently.serving.shapes.answers import RecommendationRequest
from intently.serving.state.engine import Engine

DRAWS = 6_000


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def explorer(outcomes: dict[int, tuple[int, int]], share: float = 1.0) -> Explorer:
    """Arms with (shown, met) so far."""
    made = Explorer(share, window_s=60.0)
    made.restore(
        {("" if item == KEEP else str(item)): [*row] for item, row in outcomes.items()}, {"3": 3, "5": 5}
    )
    return made


def test_the_chance_to_be_best_is_what_drawing_from_the_posteriors_gives() -> None:
    beta = np.array([[2.0, 30.0], [5.0, 60.0], [1.0, 9.0], [80.0, 900.0]])
    drawn = np.random.default_rng(0).beta(beta[:, 0], beta[:, 1], (200_000, 4)).argmax(axis=1)
    frequency = np.bincount(drawn, minlength=4) / len(drawn)
    assert best_of(beta) == pytest.approx(frequency, abs=0.005)
    assert best_of(beta).sum() == pytest.approx(1.0)


def test_propensities_are_the_frequencies_of_what_is_drawn() -> None:
    made = explorer({3: (40, 6), 5: (10, 0), KEEP: (100, 12)}, share=0.5)
    pool, free = ints(3, 5), np.array([True, True])
    counts: dict[tuple[int, int], int] = {}
    chances: dict[tuple[int, int], float] = {}
    for request in range(DRAWS):
        first, second = made.draw(pool, free, f"rec_{request}", slots=2)
        for key, drawn in (((0, first.item), first), ((first.item + 10, second.item), second)):
            counts[key] = counts.get(key, 0) + 1
            assert chances.setdefault(key, drawn.propensity) == drawn.propensity
    for (given, item), chance in chances.items():
        n = DRAWS if given == 0 else counts[0, given - 10]
        assert counts[given, item] / n == pytest.approx(
            chance, abs=4 * (chance * (1 - chance) / n) ** 0.5 + 1e-9
        )
    assert (3 + 10, 3) not in counts  # an item stands once in a list


def test_the_same_seed_draws_the_same_and_barred_items_never_come() -> None:
    made = explorer({3: (0, 0)})
    both, barred = np.array([True, True]), np.array([False, True])
    once = [made.draw(ints(3, 5), both, f"rec_{i}", 2) for i in range(200)]
    again = [made.draw(ints(3, 5), both, f"rec_{i}", 2) for i in range(200)]
    assert once == again
    assert {drawn.item for row in once for drawn in row} == {3, 5, KEEP}
    for i in range(200):
        (drawn,) = made.draw(ints(3, 5), barred, f"rec_{i}", 1)
        assert drawn.item != 3
    assert made.draw(ints(), np.zeros(0, bool), "rec", 1)[0].propensity == 1.0


def simulate(rates: dict[int, float], n: int, seed: int) -> tuple[Explorer, list[int]]:
    """`n` showings of one slot; each arm is met with its rate. Items are 100, 101, ..."""
    made, random = Explorer(1.0, window_s=60.0), np.random.default_rng(seed)
    pool = np.array([item for item in rates if item != KEEP], np.int32)
    free, shown = np.ones(len(pool), bool), []
    for user in range(n):
        (drawn,) = made.draw(pool, free, f"{seed}-{user}", 1)
        stood = 7 if drawn.item == KEEP else drawn.item
        made.shown(user, drawn.item, stood, at_s=float(user))
        if random.random() < rates[drawn.item]:
            made.met(user, stood, user + 1.0)
        shown.append(drawn.item)
    return made, shown


@pytest.mark.parametrize("seed", range(3))
def test_a_good_new_item_is_found_and_bad_ones_are_dropped_within_1500_showings(seed: int) -> None:
    rates = {KEEP: 0.05, 100: 0.12, **{100 + bad: 0.01 for bad in range(1, 10)}}
    _, shown = simulate(rates, 2500, seed)
    late = np.array(shown[1500:])
    assert (late == 100).mean() > 0.8
    assert np.isin(late, np.arange(101, 110)).mean() < 0.1


def test_when_nothing_new_is_good_the_list_is_left_alone() -> None:
    _, shown = simulate({KEEP: 0.15, **{100 + bad: 0.01 for bad in range(8)}}, 2000, seed=0)
    assert (np.array(shown[1500:]) == KEEP).mean() > 0.95


def test_an_outcome_counts_once_and_only_within_the_window() -> None:
    made = Explorer(1.0, window_s=60.0)
    made.shown(1, 100, 100, at_s=0.0)
    made.shown(2, 100, 100, at_s=0.0)
    made.shown(3, 100, 100, at_s=0.0)
    made.met(1, 100, 30.0)
    made.met(1, 100, 31.0)
    made.met(2, 100, 61.0)
    made.forget(3)
    made.met(3, 100, 5.0)
    names = ["x"] * 101
    assert made.told(names) == [{"item_id": "x", "shown": 3, "met": 1, "best": 0.0}]


def test_a_new_item_is_shown_with_its_chance_and_its_outcome_survives_a_restart(
    simple_home: Path, shop: Dataset
) -> None:
    (simple_home / "intently.toml").write_text("explore_share = 0.8\nexplore_slots = 2\n")
    settings = load_settings(simple_home / "intently.toml", home=simple_home)
    engine = Engine(settings)
    engine.start()
    names = [shop.users[user] for user in range(30)]
    plain = recommend(engine, RecommendationRequest(user_id=names[0], n=6))
    assert {item.propensity for item in plain.items} == {1.0}  # nothing is new
    number = engine.catalogue.put("fresh", {"title": "Something new", "category": "Things"})
    sources, chances = [], []
    for name in names:
        answer = recommend(engine, RecommendationRequest(user_id=name, n=6))
        assert len({item.item_id for item in answer.items}) == 6
        assert [item.propensity for item in answer.items[:4]] == [1.0] * 4
        sources += [item.source for item in answer.items if item.item_id == "fresh"]
        chances += [item.propensity for item in answer.items if item.item_id == "fresh"]
        barred = recommend(engine, RecommendationRequest(user_id=name, n=6, exclude_ids=["fresh"]))
        assert "fresh" not in [item.item_id for item in barred.items]
    assert set(sources) == {"explore"}
    assert len(sources) > 5
    assert all(0 < chance < 0.8 for chance in chances)
    user = engine.memory.users.get(names[0])
    engine.online.explorer.shown(user, number, number, engine.clock.now())
    engine.online.observe(user, number, 1, engine.clock.now() + 1.0)
    before = {row["item_id"]: row["shown"] for row in engine.online.told()["explored"]}
    assert next(row["met"] for row in engine.online.told()["explored"] if row["item_id"] == "fresh") == 1
    engine.close()
    engine = Engine(settings)
    after = {row["item_id"]: row["shown"] for row in engine.online.told()["explored"]}
    engine.start()
    engine.close()
    assert after[None] == before[None]
