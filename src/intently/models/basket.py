"""Next basket: a user's habits, the item's standing in the shop and what neighbours meet, weighed together.

TIFU-kNN (Hu et al., SIGIR 2020) blends a user's item frequencies with those of near users; models of repeat
consumption (Anderson et al., WWW 2014; Bhagat et al., KDD 2018, "Buy It Again") add the time since the last
purchase against the usual gap. We differ: all of it, and how popular an item is now against before, enters
one linear score of logarithms (features/habits.py), whose few dozen weights are learned from the shop's own
past so that what was bought stands first (listwise.py). So little to learn needs few users. Boosted trees on
the plain numbers add what no sum of logarithms can say; the two scores are added up.

Learning asks the past what a live request will ask: at several moments, only users who came back within the
horizon, candidates and facts as of the moment, gains by how many baskets an item was in.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
from scipy import sparse

from intently import progress
from intently.data import Dataset, Histories
from intently.data.histories import DAY_S
from intently.errors import InputError
from intently.features import HABITS, PAIR_FEATURES, ItemFacts, habits, pair_features
from intently.models.base import Recommender, State
from intently.models.listwise import listwise
from intently.models.neighbours import Neighbours, rows_of, strongest, values_at
from intently.models.popular import share_of_best
from intently.models.repeat import moments_met
from intently.models.space import Float, Int, Space
from intently.schema import EVENT_CODES, BoolArray, DoubleArray, FloatArray, IntArray, LongArray

if TYPE_CHECKING:
    import lightgbm

Part = tuple[FloatArray, FloatArray, FloatArray, LongArray]
"""Plain numbers, habits and gains of pairs, and the first pair of each user."""

USUAL: Final = {"met": 3.0, "decayed_90d": 1.0, "pop_28d": 0.25, "near": 0.25, "rare": 0.25}
"""Weights where the past is too short to learn them: own habits first, then what is near and popular."""

LEAST_BACK: Final = 50
"""Users who came back, over all moments, below which nothing is learned."""

TREE_PAIRS: Final = 20_000
"""Pairs below which trees would learn them by heart."""

N_OWN: Final = 100
"""Of what a user met, the most that can be answered."""

LEAST, FILLER = 1e-9, 1e-12
"""A candidate scores at least LEAST, any other item at most FILLER."""


class Basket(Recommender):
    """Scores are shares, adding up to one: how much of the user's next purchases each candidate will be.

    horizon_days: how far ahead a purchase counts. cuts: moments of the past to learn from, half
    a horizon apart. half_life_days, neighbours: of what a user is like, and how many near ones count.
    n_new: unmet candidates from either kind of neighbour and from what is popular. l2: penalty on the
    weights. rounds: trees, 0 for none. max_rows: pairs to learn from; above it users are drawn at random.

    After `fit`: `weights` (HABITS,), `learned` (whether the past was long enough for them), `trees`.
    """

    name = "basket"
    SPACE: ClassVar[Space] = {
        "half_life_days": Float(14.0, 365.0, log=True),
        "neighbours": Int(10, 300, log=True),
        "n_new": Int(5, 60, log=True),
        "l2": Float(1e-5, 0.1, log=True),
    }

    def __init__(
        self,
        horizon_days: float = 28.0,
        cuts: int = 8,
        half_life_days: float = 90.0,
        neighbours: int = 50,
        n_new: int = 20,
        l2: float = 1e-3,
        rounds: int = 120,
        max_rows: int = 800_000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, days in (("horizon", horizon_days), ("half_life", half_life_days)):
            if not days > 0:
                raise InputError(f"{name}_days must be above 0, got {days}", field=f"{name}_days")
        for name, count in (("cuts", cuts), ("neighbours", neighbours), ("n_new", n_new)):
            if count < 1:
                raise InputError(f"{name} must be at least 1, got {count}", field=name)
        self.horizon_days, self.cuts = horizon_days, cuts
        self.half_life_days, self.neighbours, self.n_new = half_life_days, neighbours, n_new
        if rounds < 0:
            raise InputError(f"rounds must be 0 or more, got {rounds}", field="rounds")
        self.l2, self.rounds, self.max_rows, self.seed = l2, rounds, max_rows, seed
        self.weights = _usual()
        self.learned = False
        self.trees: lightgbm.Booster | None = None
        self.timed = True

    # -- learning ------------------------------------------------------------------------------

    def _fit(self, dataset: Dataset) -> None:
        self.timed = dataset.timed
        self.weights, self.learned, self.trees = _usual(), False, None
        parts = self._past(dataset) if dataset.timed else []
        if sum(len(part[3]) for part in parts) >= LEAST_BACK:
            self._learn(parts)
        self.refresh(dataset)

    def _learn(self, parts: list[Part]) -> None:
        offsets = np.cumsum([0, *(len(part[2]) for part in parts)])
        starts = np.concatenate([part[3] + offset for part, offset in zip(parts, offsets, strict=False)])
        gains = np.concatenate([part[2] for part in parts])
        if self.rounds and len(gains) >= TREE_PAIRS:
            self.trees = _trees([part[0] for part in parts], gains > 0, self.rounds, self.seed)
        table = np.concatenate([part[1] for part in parts])
        parts.clear()
        self.weights, self.learned = listwise(table, gains, starts, self.l2), True

    def refresh(self, dataset: Dataset) -> None:
        """Bring what is known of items and users to the end of `dataset`; the weights stay as learned."""
        if dataset.n_items != self.n_items:
            raise InputError(f"refresh needs the fitted shop's {self.n_items} items, got {dataset.n_items}")
        self._know(dataset)
        self.popularity = share_of_best(dataset)

    def _know(self, past: Dataset) -> None:
        self.facts = ItemFacts.of(past)
        everyone = self._timed(past.histories())
        self.near = Neighbours.of(everyone, self.n_items, self.half_life_days, self.neighbours, self.seed)
        self.popular = np.argsort(-self.facts.facts[:, 0], kind="stable")[: self.n_new].astype(np.int32)

    def _past(self, dataset: Dataset) -> list[Part]:
        """A part as of each moment that has a horizon before it."""
        latest = dataset.end_s - self.horizon_days * DAY_S
        moments = [latest - cut * self.horizon_days / 2 * DAY_S for cut in range(self.cuts)]
        moments = [at_s for at_s in moments if at_s - dataset.start_s >= self.horizon_days * DAY_S]
        parts = []
        with progress.track("looking back", total=len(moments)) as advance:
            for number, at_s in enumerate(moments):
                part = self._part(dataset, at_s, self.max_rows // len(moments), number)
                parts += [part] if part else []
                advance(1)
        return parts

    def _part(self, dataset: Dataset, at_s: float, most: int, number: int) -> Part | None:
        past = dataset.as_of(at_s)
        bought = _baskets(dataset.since(at_s).as_of(at_s + self.horizon_days * DAY_S), dataset.target)
        everyone = past.histories(at=at_s)
        back = np.flatnonzero((everyone.lengths > 0) & (np.diff(bought.indptr) > 0))
        if len(back) == 0:
            return None
        pairs = len(back) * (3 * self.n_new + float(np.minimum(everyone.lengths[back], N_OWN).mean()))
        drawn = np.random.default_rng([self.seed, number]).permutation(back)
        drawn = np.sort(drawn[: max(int(len(back) * min(1.0, most / pairs)), 1)])
        self._know(past)
        found: list[tuple[FloatArray, FloatArray, FloatArray, LongArray]] = []
        for batch in everyone.select(drawn).batches(256):
            rows, items, plain, told = self._pairs(batch)
            gain = values_at(bought, batch.users[rows].astype(np.int64), items)
            some = np.bincount(rows, weights=gain, minlength=len(batch)) > 0
            kept = some[rows]
            found.append((plain[kept], told[kept], gain[kept], np.bincount(rows, minlength=len(batch))[some]))
        plain, told, gains, size = (np.concatenate(column) for column in zip(*found, strict=True))
        starts = np.concatenate([[0], np.cumsum(size)[:-1]]).astype(np.int64)
        return (plain, told, gains, starts) if len(size) else None

    # -- answering -----------------------------------------------------------------------------

    def _timed(self, histories: Histories) -> Histories:
        """As given; where the data has only an order, a step back is a day."""
        if self.timed:
            return histories
        ends = np.repeat(histories.at_s, histories.lengths)
        return replace(histories, time_s=ends - (histories.steps_back + 1.0) * DAY_S)

    def _pairs(self, histories: Histories) -> tuple[LongArray, IntArray, FloatArray, FloatArray]:
        """(rows, items, plain numbers, habits) of each history's candidates, by row."""
        n_items = self.n_items
        own = moments_met(histories, n_items, self.half_life_days)
        own.sort_indices()
        met = rows_of(own) * n_items + own.indices
        keys = [_keys(strongest(own, N_OWN))]
        near = self.near.met(histories)
        for table in near:
            unmet = table.copy()
            unmet.data[np.isin(_keys(table), met)] = 0.0
            unmet.eliminate_zeros()
            keys.append(_keys(strongest(unmet, self.n_new)))
        every = np.arange(len(histories), dtype=np.int64)[:, None] * n_items
        keys.append((every + self.popular[None, :]).ravel())
        merged = np.unique(np.concatenate(keys))
        rows, items = merged // n_items, (merged % n_items).astype(np.int32)
        by_all, by_rare = (values_at(table, rows, items) for table in near)
        plain = pair_features(histories, rows, items, self.facts)
        told = habits(plain, by_all, by_rare)
        return rows, items, np.column_stack([plain, by_all, by_rare]), told

    def _scores(self, histories: Histories) -> FloatArray:
        out = np.repeat(np.float32(FILLER) * self.popularity[None, :], len(histories), axis=0)
        if len(histories) == 0:
            return out
        rows, items, plain, told = self._pairs(self._timed(histories))
        raw = told.astype(np.float64) @ self.weights
        if self.trees is not None:
            raw += np.asarray(self.trees.predict(plain, raw_score=True, num_threads=1))
        starts = np.searchsorted(rows, np.arange(len(histories)))
        raw = np.exp(raw - np.maximum.reduceat(raw, starts)[rows])
        raw /= np.add.reduceat(raw, starts)[rows]
        out[rows, items] = np.maximum(raw, 0.0) + LEAST
        return out

    # -- keeping -------------------------------------------------------------------------------

    def _state(self) -> State:
        trees = self.trees.model_to_string() if self.trees else ""
        return {
            "trees": np.frombuffer(trees.encode(), np.uint8),
            "weights": self.weights,
            "learned": np.array([self.learned, self.timed], np.uint8),
            "popularity": self.popularity,
            "popular": self.popular,
            "facts": self.facts.facts,
            "levels": self.facts.levels,
            "level_sizes": np.array(self.facts.level_sizes, np.int64),
            **self.near.state(),
        }

    def _restore(self, state: State) -> None:
        self.weights, self.popularity = state["weights"], state["popularity"]
        self.learned, self.timed = (bool(value) for value in state["learned"])
        self.popular = state["popular"]
        text = state["trees"].tobytes().decode()
        self.trees = None
        if text:
            import lightgbm

            self.trees = lightgbm.Booster(model_str=text)
        sizes = tuple(int(size) for size in state["level_sizes"])
        self.facts = ItemFacts(state["facts"], state["levels"], sizes)
        self.near = Neighbours.restored(state, self.n_items, self.half_life_days, self.neighbours)


def _trees(tables: list[FloatArray], bought: BoolArray, rounds: int, seed: int) -> lightgbm.Booster:
    """Trees of P(bought), given that the user came back."""
    import lightgbm

    settings = {
        "objective": "binary",
        "learning_rate": 0.05,
        "num_leaves": 15,
        "min_data_in_leaf": 100,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
    names = [*PAIR_FEATURES, "near", "rare"]
    table = lightgbm.Dataset(tables, bought.astype(np.float32), feature_name=names)
    return lightgbm.train(settings, table, rounds)


def _usual() -> DoubleArray:
    return np.array([USUAL.get(name, 0.0) for name in HABITS])


def _keys(table: sparse.csr_matrix) -> LongArray:
    """row * columns + column of each stored entry."""
    return np.asarray(rows_of(table) * table.shape[1] + table.indices, np.int64)


def _baskets(future: Dataset, target: str) -> sparse.csr_matrix:
    """Sparse (users, n_items): in how many moments of `future` each user met each item by `target`."""
    events = future.events.filter(future.events["event"] == EVENT_CODES[target])
    met = events.select("user", "item", "time_s").unique()
    parts = (np.ones(met.height, np.float32), (met["user"].to_numpy(), met["item"].to_numpy()))
    out = sparse.csr_matrix(parts, shape=(future.n_users, future.n_items))
    out.sum_duplicates()
    out.sort_indices()
    return out
