"""A training may start from an earlier model: known items keep their place, new ones begin near their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from intently.data import Dataset, IdMap
from intently.models.ensemble import Ensemble
from intently.models.popular import Popular
from intently.models.sequence import Sequence
from intently.models.start import Start
from intently.models.warm import beside
from intently.nn.packing import Bags, Packed

SMALL = {"d": 16, "blocks": 1, "batch_tokens": 256, "learning_rate": 0.02}
N_ITEMS = 30


def circle(n_users: int = 150, seed: int = 0) -> Dataset:
    """Everyone walks around one circle of items."""
    random = np.random.default_rng(seed)
    starts = random.integers(0, N_ITEMS, n_users)
    return Dataset.from_sequences([[f"i{(at + s) % N_ITEMS:02}" for s in range(8)] for at in starts])


def with_texts(shop: Dataset) -> Dataset:
    return shop.with_vectors(np.random.default_rng(1).standard_normal((shop.n_items, 12)).astype(np.float32))


def without_item(shop: Dataset, item: int) -> Dataset:
    return replace(shop, events=shop.events.filter(pl.col("item") != item))


def test_a_warm_start_needs_an_eighth_of_the_epochs_and_knows_what_was_known() -> None:
    shop = with_texts(circle())
    earlier = Sequence(**SMALL, epochs=20).fit(shop)
    again = Sequence(**SMALL, epochs=8).fit(shop, Start.same_items(earlier))
    assert len(again.curve) == 1
    fresh = Sequence(**SMALL, epochs=1).fit(shop)
    assert again.curve[0, 0] < 0.5 * fresh.curve[0, 0]
    histories = shop.histories()
    assert (again.top_k(histories, 1).items == earlier.top_k(histories, 1).items).mean() > 0.9


def test_what_the_earlier_model_has_seen_chooses_no_epoch() -> None:
    shop = circle(n_users=600)
    earlier = Sequence(**SMALL, epochs=8).fit(shop)
    assert not np.isnan(earlier.curve[:, 1]).any()
    again = Sequence(**SMALL, epochs=24).fit(shop, Start.same_items(earlier))
    assert len(again.curve) == 3
    assert np.isnan(again.curve[:, 1]).all()


@pytest.mark.parametrize("texts", [False, True])
def test_before_any_step_the_network_is_the_earlier_one(texts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = with_texts(circle()) if texts else circle()
    earlier = Sequence(**SMALL, epochs=6).fit(shop)
    monkeypatch.setattr("intently.nn.training.train", lambda *_: [])
    again = Sequence(**SMALL, epochs=6).fit(shop, Start.same_items(earlier))
    np.testing.assert_allclose(again.table, earlier.table, atol=1e-4)
    np.testing.assert_allclose(again.scale, earlier.scale, rtol=1e-5)
    np.testing.assert_array_equal(again.weights["norm.weight"], earlier.weights["norm.weight"])


def test_what_is_new_is_learned_and_what_is_old_is_kept() -> None:
    walk = [[f"i{(at + s) % N_ITEMS:02}" for s in range(8)] for at in range(N_ITEMS)] * 10
    old = Dataset.from_sequences(walk)
    # a later day: whoever stands at i07 jumps to i20, which nobody did before; the others walk on
    onward = {f"i{at:02}": f"i{(at + 1) % N_ITEMS:02}" for at in range(N_ITEMS)} | {"i07": "i20"}
    longer = [[*one, onward[one[-1]]] for one in walk]
    shop = Dataset.from_sequences(longer)
    earlier = Sequence(**SMALL, epochs=24).fit(old)
    assert float(earlier.until[0]) < shop.end_s
    again = Sequence(**SMALL, epochs=24).fit(shop, Start.same_items(earlier, new="last"))
    assert len(again.curve) == 6
    at = [row for row, one in enumerate(walk) if one[-1] == "i07"]
    asked = old.histories(np.array(at))
    jumped = int(shop.items.index("i20"))
    rank = (again.scores(asked)[0] > again.scores(asked)[0, jumped]).sum()
    before = (earlier.scores(asked)[0] > earlier.scores(asked)[0, jumped]).sum()
    assert rank < before
    others = old.histories(np.array([row for row in range(N_ITEMS) if row not in at]))
    right = (again.top_k(others, 1).items == earlier.top_k(others, 1).items).mean()
    assert right > 0.9


def test_the_loss_asks_for_what_is_new_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = circle()
    earlier = Sequence(**SMALL, epochs=2).fit(shop)
    monkeypatch.setattr("intently.models.sequence.OLD_SHARE", 0.0)
    asked: list[int] = []

    def count(
        _net: object, batches: Callable[[], Iterable[tuple[Packed, Packed]]], *_: object
    ) -> list[object]:
        asked.extend(int(targets.asked.sum()) for _, targets in batches() if targets.asked is not None)
        return []

    monkeypatch.setattr("intently.nn.training.train", count)
    Sequence(**SMALL).fit(shop, Start.same_items(earlier, new="last"))
    assert sum(asked) == shop.n_users
    asked.clear()
    Sequence(**SMALL).fit(shop, Start.same_items(earlier))
    assert asked == []


def test_a_model_that_does_not_say_how_far_it_learned_knows_nothing_new(tmp_path: Path) -> None:
    shop = circle()
    earlier = Sequence(**SMALL, epochs=8).fit(shop)
    assert earlier.until[0] == pytest.approx(shop.end_s)
    earlier.until = np.full(1, np.inf)  # as models of before have it
    again = Sequence(**SMALL, epochs=8).fit(shop, Start.same_items(earlier, new="later"))
    whole = Sequence(**SMALL, epochs=8).fit(shop, Start.same_items(earlier))
    np.testing.assert_array_equal(again.table, whole.table)


def test_items_are_found_again_by_their_outside_ids() -> None:
    start = Start.of(Popular(), IdMap(["b", "a"]), IdMap(["a", "new", "b"]))
    assert start.place.tolist() == [1, -1, 0]


def test_a_new_item_without_text_begins_among_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = circle()
    earlier = Sequence(**SMALL, epochs=10).fit(without_item(shop, 5))
    monkeypatch.setattr("intently.nn.training.train", lambda *_: [])
    again = Sequence(**SMALL, epochs=10).fit(shop, Start.same_items(earlier))
    closeness = again.table @ again.table[5]
    closeness[5] = -1
    assert set(np.argsort(-closeness)[:2]) == {4, 6}


def test_neighbours_are_those_of_the_same_sequence() -> None:
    bags = Bags.of(np.array([0, 0, 1, 1]), np.array([0.0, 1, 0, 1]), np.array([0, 3, 1, 2]), 2)
    known = np.array([True, True, True, False])
    mean, found = beside(bags, known, np.eye(4, dtype=np.float32))
    assert found.tolist() == [3]
    np.testing.assert_allclose(mean[3], [1, 0, 0, 0])


def test_another_shape_starts_afresh() -> None:
    shop = circle()
    earlier = Sequence(**SMALL, epochs=2).fit(shop)
    wider = Sequence(**{**SMALL, "d": 32}, epochs=4).fit(shop, Start.same_items(earlier))
    assert len(wider.curve) == 4


def test_the_start_is_forgotten_after_fit_and_survives_saving(tmp_path: Path) -> None:
    shop = with_texts(circle())
    earlier = Sequence(**SMALL, epochs=8).fit(shop)
    earlier.save(tmp_path)
    kept = Sequence.load(tmp_path)
    from_kept = Sequence(**SMALL, epochs=4).fit(shop, Start.same_items(kept))
    from_fitted = Sequence(**SMALL, epochs=4).fit(shop, Start.same_items(earlier))
    np.testing.assert_array_equal(from_kept.table, from_fitted.table)
    cold = from_kept.fit(shop)
    np.testing.assert_array_equal(cold.table, Sequence(**SMALL, epochs=4).fit(shop).table)


def test_an_ensemble_that_starts_from_one_keeps_its_fusion() -> None:
    shop = circle()
    members = {"covisit": {}, "sequence": {**SMALL, "epochs": 8}}
    earlier = Ensemble(members).fit(shop)
    again = Ensemble(members).fit(shop, Start.same_items(earlier))
    assert again.way_taken == earlier.way_taken
    assert again.shares == earlier.shares
    assert again.fused.trees is earlier.fused.trees
    assert len(again.members["sequence"].curve) == 1
