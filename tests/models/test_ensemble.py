"""The ensemble fuses its members in the way that ranks best, and says how much each has to say."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from intently.data import Dataset, Histories
from intently.errors import ArtifactError, InputError
from intently.evaluate import leave_one_out
from intently.evaluate.metrics import hits, ndcg
from intently.models.ensemble import Ensemble
from intently.models.fusion import Fusion, features, fuse, largest_bonus, ndcg_of, ranks
from intently.models.pools import Answered, Pools
from intently.schema import FloatArray
from tiny_shops import checkerboard

N_ITEMS = 60
MEMBERS = {"linear": {"l2": 1.0}, "covisit": {}, "popular": {}}


@lru_cache(maxsize=1)
def walks(n_users: int = 400) -> Dataset:
    """Everyone walks in steps of 1 or 7 on a circle, now and then to a random place."""
    random = np.random.default_rng(3)
    sequences = []
    for _ in range(n_users):
        at, line = int(random.integers(N_ITEMS)), []
        for _ in range(int(random.integers(4, 12))):
            line.append(f"i{at}")
            jump = int(random.integers(N_ITEMS)) if random.random() < 0.2 else int(random.choice([1, 1, 7]))
            at = (at + jump) % N_ITEMS
        sequences.append(line)
    return Dataset.from_sequences(sequences)


def pools(scores: FloatArray, lengths: list[int]) -> Pools:
    """Pools whose place j is item j; scores: (members, users, width)."""
    users, width = scores.shape[1:]
    return Pools(np.tile(np.arange(width, dtype=np.int32), (users, 1)), scores, np.array(lengths))


def known(n_users: int = 300, width: int = 12, seed: int = 0) -> Answered:
    """The first member is right about short histories, the second about long ones."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, width, n_users)
    lengths = np.where(np.arange(n_users) % 2, 2, 20)
    scores = random.random((2, n_users, width)).astype(np.float32)
    scores[np.where(lengths == 2, 0, 1), np.arange(n_users), truth] += 0.6
    right = np.arange(width)[None, :] == truth[:, None]
    return Answered(pools(scores, lengths.tolist()), right, np.ones(n_users, np.int64))


def test_ranks_are_added_up_as_reciprocals() -> None:
    scores = np.array([[[3.0, 2.0, 1.0]], [[1.0, 3.0, 2.0]]], np.float32)
    assert ranks(pools(scores, [1])).tolist() == [[[0, 1, 2]], [[2, 0, 1]]]
    fusion = Fusion("ranks", ("a", "b"), np.zeros(2, np.int64), np.ones((3, 2)), np.zeros(3, np.float32))
    expected = [1 / 60 + 1 / 62, 1 / 61 + 1 / 60, 1 / 62 + 1 / 61]
    np.testing.assert_allclose(fusion.order(pools(scores, [1]))[0], expected, rtol=1e-6)


def test_weights_differ_by_how_active_the_user_is() -> None:
    fusion = fuse("weights", ("a", "b"), known(), np.zeros(12, np.float32), 50, 0)
    assert fusion.weights[0, 0] > fusion.weights[0, 1]
    assert fusion.weights[1, 0] < fusion.weights[1, 1]


def test_a_stack_knows_which_member_to_trust_and_shares_add_up() -> None:
    learned = known()
    fusion = fuse("stack", ("a", "b"), learned, np.zeros(12, np.float32), 60, 0)
    assert fusion.way == "stack"
    fresh = known(seed=1)
    order = np.argsort(-fusion.order(fresh.pools), axis=1)[:, :1]
    right = np.take_along_axis(fresh.right, order, axis=1).mean()
    alone = np.take_along_axis(fresh.right, fresh.pools.scores[0].argmax(1)[:, None], axis=1).mean()
    assert right > 1.2 * alone
    shares = fusion.shares(learned)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert min(shares.values()) > 0.3


def test_too_few_users_grow_no_trees() -> None:
    few = known(20)
    assert fuse("stack", ("a", "b"), few, np.zeros(12, np.float32), 60, 0).way == "weights"


def test_an_empty_place_is_never_first() -> None:
    scores = np.array([[[1.0, -np.inf]]], np.float32)
    table = Pools(np.array([[4, -1]], np.int32), scores, np.array([3]))
    assert np.isfinite(features(table, np.zeros(5, np.float32))).all()
    fusion = Fusion("ranks", ("a",), np.zeros(2, np.int64), np.ones((3, 1)), np.zeros(5, np.float32))
    assert fusion.order(table)[0, 1] == -np.inf


def test_the_fused_order_beats_each_member() -> None:
    case = leave_one_out(walks())
    figures = {}
    for way in ("auto", "stack"):
        model = Ensemble(MEMBERS, way=way).fit(case.train)
        found = hits(model.top_k(case.histories, 10, repeats=False).items, case.indptr, case.truth)
        figures[way] = float(ndcg(found, case.n_true, 10).mean())
    for name, member in model.members.items():
        found = hits(member.top_k(case.histories, 10, repeats=False).items, case.indptr, case.truth)
        assert figures["stack"] >= 0.97 * float(ndcg(found, case.n_true, 10).mean()), name
    assert figures["auto"] >= 0.97 * figures["stack"]


def test_auto_takes_the_way_that_judged_best_and_keeps_the_figures(tmp_path: Path) -> None:
    model = Ensemble(MEMBERS).fit(walks())
    assert set(model.judged) == {"ranks", "weights", "stack"}
    assert model.way_taken == max(model.judged, key=model.judged.__getitem__)
    model.save(tmp_path)
    again = Ensemble.load(tmp_path)
    assert again.way_taken == model.way_taken
    assert again.judged == model.judged
    assert again.shares == model.shares
    assert sum(again.shares.values()) == pytest.approx(1.0)


def test_items_outside_the_pools_follow_behind() -> None:
    model = Ensemble(MEMBERS, way="ranks").fit(walks())
    scores = model.scores(Histories.of([[0, 1, 2]]))[0]
    assert np.isfinite(scores).all()
    assert scores.min() < -900 or (scores > -900).all()


def test_the_bonus_of_new_items_is_the_largest_that_a_small_loss_buys() -> None:
    """Half the users want the item that nobody met, which stands last; half what stands first."""
    learned = known(400, seed=2)
    right = np.zeros_like(learned.right)
    right[::2, 11] = right[1::2, 0] = True
    scores = np.tile(np.linspace(1.0, 0.0, 12, dtype=np.float32), (2, 400, 1))
    scores += np.random.default_rng(0).normal(0, 0.2, scores.shape).astype(np.float32)
    case = Answered(Pools(learned.pools.places, scores, learned.pools.lengths), right, learned.n_true)
    popularity = np.where(np.arange(12) == 11, 0, 3).astype(np.float32)
    plain = Fusion("weights", ("a", "b"), np.zeros(2, np.int64), np.ones((3, 2)), popularity)
    bonus = largest_bonus(plain, case, cost=0.05)
    assert bonus > 0.5
    enough = 0.95 * ndcg_of(plain, case)
    assert ndcg_of(replace(plain, bonus=bonus), case) >= enough
    lifted = replace(plain, bonus=0.3).order(case.pools) - plain.order(case.pools)
    np.testing.assert_allclose(lifted[:, 11], 0.3, atol=1e-6)
    assert (lifted[:, :11] == 0).all()
    right[:] = False
    right[:, 0] = True  # nobody wants it: what it may cost is all it gets
    bonus = largest_bonus(plain, case, cost=0.05)
    enough = 0.95 * ndcg_of(plain, case)
    assert ndcg_of(replace(plain, bonus=bonus), case) >= enough
    assert ndcg_of(replace(plain, bonus=bonus + 0.2), case) < enough
    everything_met = replace(plain, popularity=np.ones(12, np.float32))
    assert largest_bonus(everything_met, case, cost=0.05) == 0


def test_items_that_nobody_met_are_answered_by_their_texts(tmp_path: Path) -> None:
    new = (18, 19)  # of the checkerboard, one of either side
    shop = checkerboard(n_users=600)
    asked = Histories.of([[0, 6, 10], [1, 7, 11]])
    members = {"linear": {"l2": 1.0}, "covisit": {}, "content": {}}
    model = Ensemble(members).fit(shop)
    assert model.fused.bonus > 0
    scores = model.scores(asked)[:, new]
    assert scores[0, 0] > scores[0, 1]
    assert scores[1, 1] > scores[1, 0]
    model.save(tmp_path)
    np.testing.assert_array_equal(Ensemble.load(tmp_path).scores(asked)[:, new], scores)
    assert Ensemble(members, new_item_cost=0.0).fit(shop).fused.bonus == 0
    without_texts = checkerboard(n_users=600, vectors=False)
    assert Ensemble(["linear", "covisit"]).fit(without_texts).fused.bonus == 0


def test_a_missing_member_is_refused(tmp_path: Path) -> None:
    Ensemble(MEMBERS, way="ranks").fit(walks()).save(tmp_path)
    for path in (tmp_path / "members" / "popular").iterdir():
        path.unlink()
    (tmp_path / "members" / "popular").rmdir()
    with pytest.raises(ArtifactError, match="has 2 members, expected 3"):
        Ensemble.load(tmp_path)


def test_unknown_ways_and_no_trees_are_refused() -> None:
    with pytest.raises(InputError, match="way must be auto, ranks, weights, stack, got 'magic'"):
        Ensemble(way="magic")
    with pytest.raises(InputError, match="rounds must be at least 1"):
        Ensemble(rounds=0)
    with pytest.raises(InputError, match="new_item_cost must be at least 0 and below 1, got 1"):
        Ensemble(new_item_cost=1.0)
