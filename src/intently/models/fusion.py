"""Three ways to make one order of several models' pools, and how much each model has to say in it.

- ranks: 1 / (60 + rank) added up (reciprocal rank fusion; Cormack, Clarke and Buettcher, SIGIR 2009).
  Nothing is learned.
- weights: normalised scores added up with a weight a member, one set of weights for each third of the
  users by activity, found by coordinate ascent on NDCG@10.
- stack: boosted trees (LightGBM) with a listwise softmax loss (XE-NDCG; Bruch, WWW 2021) over every
  member's score and rank, how popular the item is and how active the user (stacking; Wolpert 1992).

Of an item that nobody has met most members know nothing, so that it would hardly ever be answered: such
items get a bonus on top, see `largest_bonus`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from intently.evaluate.metrics import ndcg
from intently.models.blend import RULE, search
from intently.models.pools import Answered, Pools
from intently.models.trees import predicted
from intently.schema import BoolArray, DoubleArray, FloatArray, LongArray

if TYPE_CHECKING:
    import lightgbm

WAYS: Final = ("ranks", "weights", "stack")

RANK_SHIFT: Final = 60.0
THIRDS: Final = (1 / 3, 2 / 3)
LEAST_USERS: Final = 100
"""Users with something right in their pool from which trees are grown; fewer teach them nothing."""

HALVINGS: Final = 12
"""Of the range in which the bonus of new items is looked for."""


@dataclass(frozen=True)
class Fusion:
    """A fitted way; `order` gives larger numbers to what is answered first."""

    way: str
    names: tuple[str, ...]  # members, in the order of the pools' scores
    edges: LongArray  # (2,) history lengths between the three groups of users
    weights: DoubleArray  # (3, members), of `weights`
    popularity: FloatArray  # (n_items,) log(1 + events)
    trees: lightgbm.Booster | None = None  # of `stack`
    bonus: float = 0.0  # of items with popularity 0

    def order(self, pools: Pools) -> FloatArray:
        """(users, width) float32, -inf where a place is empty."""
        there = pools.places >= 0
        if self.way == "ranks":
            out = (1.0 / (RANK_SHIFT + ranks(pools))).sum(axis=0)
        elif self.way == "weights":
            shares = self.weights[self._group(pools)]  # (users, members)
            out = np.einsum("um,muw->uw", shares, np.where(there, pools.scores, 0.0))
        else:
            out = np.zeros(there.shape)
            out[there] = predicted(self._booster(), features(pools, self.popularity)[there])
        if self.bonus:
            out = out + self.bonus * self.new(pools)
        return np.where(there, out, -np.inf).astype(np.float32)

    def new(self, pools: Pools) -> BoolArray:
        """(users, width): which places hold an item that nobody has met."""
        out: BoolArray = (self.popularity[np.maximum(pools.places, 0)] == 0) & (pools.places >= 0)
        return out

    def shares(self, known: Answered) -> dict[str, float]:
        """How much each member has to say: adds up to one.

        stack: mean size of its columns' TreeSHAP contributions on `known`. weights: mean over users.
        """
        if self.way == "stack":
            table = features(known.pools, self.popularity)[known.pools.places >= 0]
            few = table[:: max(1, len(table) // 5_000)]
            size = np.abs(np.asarray(self._booster().predict(few, pred_contrib=True, num_threads=1))).mean(0)
            own = size[: 2 * len(self.names)].reshape(len(self.names), 2).sum(axis=1)
        elif self.way == "weights":
            own = self.weights[self._group(known.pools)].mean(axis=0)
        else:
            own = np.ones(len(self.names))
        total = own.sum() or 1.0
        return {name: float(part / total) for name, part in zip(self.names, own, strict=True)}

    def _group(self, pools: Pools) -> LongArray:
        return np.searchsorted(self.edges, pools.lengths)

    def _booster(self) -> lightgbm.Booster:
        assert self.trees is not None  # a stack is never made without
        return self.trees


def fuse(
    way: str, names: tuple[str, ...], known: Answered, popularity: FloatArray, rounds: int, seed: int
) -> Fusion:
    """The fusion that `known` teaches; a stack of too few users becomes weights, see `LEAST_USERS`."""
    edges = (
        np.quantile(known.pools.lengths, THIRDS).astype(np.int64) if len(known.pools) else np.zeros(2, int)
    )
    start = np.array([RULE.get(name, 1.0) for name in names])
    weights = np.repeat(start[None, :], 3, axis=0)
    if way == "stack" and known.right.any(axis=1).sum() < LEAST_USERS:
        way = "weights"
    if way == "weights" and len(names) > 1:
        group = np.searchsorted(edges, known.pools.lengths)
        for number in range(3):
            rows = np.flatnonzero(group == number)
            if known.right[rows].any():
                part = known.select(rows)
                weights[number] = search(part.pools.scores, part.right, part.n_true, start)
    trees = grown(names, known, popularity, rounds, seed) if way == "stack" else None
    return Fusion(way, names, edges, weights, popularity, trees)


def grown(
    names: tuple[str, ...], known: Answered, popularity: FloatArray, rounds: int, seed: int
) -> lightgbm.Booster:
    """Trees that order each pool; users without anything right in theirs teach nothing and are left out."""
    import lightgbm

    rows = np.flatnonzero(known.right.any(axis=1))
    part = known.select(rows)
    there = part.pools.places >= 0
    table = features(part.pools, popularity)[there]
    columns = [f"{name}_{kind}" for name in names for kind in ("score", "rank")] + ["popularity", "activity"]
    train = lightgbm.Dataset(
        table, part.right[there].astype(np.int32), group=there.sum(axis=1), feature_name=columns
    )
    settings = {
        "objective": "rank_xendcg",
        "learning_rate": 0.05,
        "num_leaves": 15,
        "min_data_in_leaf": int(min(200, max(5, len(table) // 1000))),
        "seed": seed,
        "objective_seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
    return lightgbm.train(settings, train, rounds)


def features(pools: Pools, popularity: FloatArray) -> FloatArray:
    """(users, width, 2 * members + 2): each member's score and log rank, popularity, activity."""
    there = pools.places >= 0
    out = np.empty((*pools.places.shape, 2 * len(pools.scores) + 2), np.float32)
    for member, order in enumerate(ranks(pools)):
        out[..., 2 * member] = np.where(there & np.isfinite(pools.scores[member]), pools.scores[member], 0.0)
        out[..., 2 * member + 1] = np.log1p(order)
    out[..., -2] = popularity[np.maximum(pools.places, 0)]
    out[..., -1] = np.log1p(pools.lengths)[:, None]
    return out


def ranks(pools: Pools) -> FloatArray:
    """(members, users, width): 0 for the member's best item of the pool; empty places come last."""
    order = np.argsort(-pools.scores, axis=2, kind="stable")
    out = np.empty(pools.scores.shape, np.float32)
    places = np.broadcast_to(np.arange(pools.scores.shape[2], dtype=np.float32), pools.scores.shape)
    np.put_along_axis(out, order, places, axis=2)
    return out


def ndcg_of(fusion: Fusion, known: Answered) -> float:
    """Mean NDCG@10 of the fusion's order of the pools."""
    return _ndcg(fusion.order(known.pools), known)


def largest_bonus(fusion: Fusion, known: Answered, cost: float) -> float:
    """The largest bonus of items nobody has met that costs no more than the share `cost` of NDCG@10.

    Their places cost almost nothing until they push out what is right more often, and how many there
    should be no past can tell; so they get what a small loss buys.
    """
    plain = replace(fusion, bonus=0.0)
    new, order = plain.new(known.pools), plain.order(known.pools)
    if not new.any():
        return 0.0
    there = order[np.isfinite(order)]
    low, high = 0.0, float(there.max() - there.min())
    enough = (1.0 - cost) * _ndcg(order, known)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if _ndcg(order + np.where(new, np.float32(middle), np.float32(0.0)), known) >= enough:
            low = middle
        else:
            high = middle
    return low


def _ndcg(order: FloatArray, known: Answered) -> float:
    best = np.argsort(-order, axis=1, kind="stable")[:, :10]
    return float(np.nanmean(ndcg(np.take_along_axis(known.right, best, axis=1), known.n_true, 10)))
