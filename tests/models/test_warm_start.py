"""A training may start from an earlier model: known items keep their place, new ones begin near their own."""

from __future__ import annotations

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
from intently.models.warm import LEARNED, beside
from intently.nn.next_item import INITIAL
from intently.nn.packing import Bags

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


def test_a_warm_start_needs_few_epochs_and_knows_what_was_known() -> None:
    shop = with_texts(circle())
    earlier = Sequence(**SMALL, epochs=20).fit(shop)
    again = Sequence(**SMALL, epochs=8).fit(shop, Start.same_items(earlier))
    assert len(again.curve) == 3
    fresh = Sequence(**SMALL, epochs=1).fit(shop)
    assert again.curve[0, 0] < 0.5 * fresh.curve[0, 0]
    histories = shop.histories()
    assert (again.top_k(histories, 1).items == earlier.top_k(histories, 1).items).mean() > 0.9


def test_what_the_earlier_model_has_seen_chooses_no_epoch() -> None:
    shop = circle(n_users=600)
    earlier = Sequence(**SMALL, epochs=8).fit(shop)
    assert not np.isnan(earlier.curve[:, 1]).any()
    again = Sequence(**SMALL, epochs=24).fit(shop, Start.same_items(earlier))
    assert len(again.curve) == 5
    assert np.isnan(again.curve[:, 1]).all()


@pytest.mark.parametrize("texts", [False, True])
def test_before_any_step_directions_are_those_learned_and_lengths_are_fresh(
    texts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = with_texts(circle()) if texts else circle()
    earlier = Sequence(**SMALL, epochs=6).fit(shop)
    monkeypatch.setattr("intently.nn.training.train", lambda *_: [])
    again = Sequence(**SMALL, epochs=6).fit(shop, Start.same_items(earlier))
    np.testing.assert_allclose(again.table, earlier.table, atol=1e-4)
    np.testing.assert_allclose(again.scale, earlier.scale, rtol=1e-5)
    assert again.norms.mean() == pytest.approx(INITIAL * SMALL["d"] ** 0.5, rel=1e-4)
    assert earlier.norms.mean() > 1.5 * again.norms.mean()
    fresh = Sequence(**SMALL, epochs=6).fit(shop)  # as it begins
    for name, value in again.weights.items():
        mixed = LEARNED * earlier.weights[name] + (1 - LEARNED) * fresh.weights[name]
        np.testing.assert_allclose(value, mixed, rtol=1e-4, atol=1e-6)


def test_what_is_new_is_learned_and_what_is_old_is_kept() -> None:
    walk = [[f"i{(at + s) % N_ITEMS:02}" for s in range(8)] for at in range(N_ITEMS)] * 10
    old = Dataset.from_sequences(walk)
    # a later day: whoever stands at i07 jumps to i20, which nobody did before; the others walk on
    onward = {f"i{at:02}": f"i{(at + 1) % N_ITEMS:02}" for at in range(N_ITEMS)} | {"i07": "i20"}
    shop = Dataset.from_sequences([[*one, onward[one[-1]]] for one in walk])
    earlier = Sequence(**SMALL, epochs=24).fit(old)
    again = Sequence(**SMALL, epochs=24).fit(shop, Start.same_items(earlier))
    at = [row for row, one in enumerate(walk) if one[-1] == "i07"]
    asked = old.histories(np.array(at))
    jumped = int(shop.items.index("i20"))
    rank = (again.scores(asked)[0] > again.scores(asked)[0, jumped]).sum()
    before = (earlier.scores(asked)[0] > earlier.scores(asked)[0, jumped]).sum()
    assert rank < before
    others = old.histories(np.array([row for row in range(N_ITEMS) if row not in at]))
    right = (again.top_k(others, 1).items == earlier.top_k(others, 1).items).mean()
    assert right > 0.9


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
    assert len(again.members["sequence"].curve) == 3
