"""What this user meets most often: the strong baseline wherever people buy again.

Counting a user's own past beats most published next-basket models (Li et al., TOIS 2023, "A next
basket recommendation reality check"; TIFU-kNN, Hu et al., SIGIR 2020, adds neighbours to it). We
differ: only the personal part, decayed by real days, with what is popular lately behind it.
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np
from scipy import sparse

from intently.data import Dataset, Histories
from intently.errors import InputError
from intently.evaluate.metrics import hits, ndcg
from intently.models.base import Recommender, State
from intently.models.popular import share_of_best
from intently.models.space import Float, Space
from intently.models.validation import last_days
from intently.schema import FloatArray, IntArray

HALF_LIVES: Final = (14.0, 28.0, 60.0, 90.0, 180.0, 365.0)
"""Tried on validation when `half_life_days` is None."""

USUAL: Final = 90.0

TIE: Final = 1e-3
"""Relative lift of the most popular item: orders what was met equally often."""

LEAST: Final = 1e-9
FILLER: Final = 1e-12
"""A met item scores at least LEAST, an item never met at most FILLER."""


class Repeat(Recommender):
    """Sum over a user's moments with an item of 0.5 ** (age / half_life_days).

    Several lines of one item at one moment count once. Items the user never met come behind all
    that were, in order of decayed popularity. Where the data has only an order and no times, a step
    back counts as a day. Met items are answered unless the caller says otherwise.
    """

    name = "repeat"
    SPACE: ClassVar[Space] = {"half_life_days": Float(3.0, 1_000.0, log=True)}

    def __init__(self, half_life_days: float | None = USUAL) -> None:
        """half_life_days: above 0; None: the best of HALF_LIVES on the last 28 days of the data."""
        super().__init__()
        if half_life_days is not None and not half_life_days > 0:
            raise InputError(f"half_life_days must be above 0, got {half_life_days}", field="half_life_days")
        self.half_life_days = half_life_days
        self.chosen_days = half_life_days or USUAL
        self.timed = True
        self.popularity = np.zeros(0, np.float32)  # (n_items,), 0 to 1

    def _fit(self, dataset: Dataset) -> None:
        self.repeats = True
        self.timed = dataset.timed
        self.chosen_days = self.half_life_days or self._choose(dataset)
        self.popularity = share_of_best(dataset)

    def _choose(self, dataset: Dataset) -> float:
        """The half-life with the best NDCG@10 for what was bought in the last part of the data."""
        case = last_days(dataset)
        if case is None:
            return USUAL
        self.popularity = share_of_best(case.train)
        values = []
        for days in HALF_LIVES:
            listed = _first(self._personal(case.histories, days), 10)
            found = hits(listed, case.indptr, case.truth)
            values.append(float(ndcg(found, case.n_true, 10).mean()))
        return HALF_LIVES[int(np.argmax(values))]

    def _personal(self, histories: Histories, half_life_days: float) -> sparse.csr_matrix:
        """Sparse (batch, n_items): what each user met, worth at least LEAST."""
        met = moments_met(histories, len(self.popularity), half_life_days, timed=self.timed)
        met.data = np.maximum(met.data, LEAST) * (1 + TIE * self.popularity[met.indices])
        return met

    def _scores(self, histories: Histories) -> FloatArray:
        out = np.repeat(FILLER * self.popularity[None, :], len(histories), axis=0)
        met = self._personal(histories, self.chosen_days)
        out[np.repeat(np.arange(len(histories)), np.diff(met.indptr)), met.indices] = met.data
        return out

    def _state(self) -> State:
        return {
            "popularity": self.popularity,
            "chosen_days": np.array([self.chosen_days], np.float64),
            "timed": np.array([self.timed], np.uint8),
        }

    def _restore(self, state: State) -> None:
        self.popularity = state["popularity"]
        self.chosen_days = float(state["chosen_days"][0])
        self.timed = bool(state["timed"][0])


def moments_met(
    histories: Histories, n_items: int, half_life_days: float, *, timed: bool = True
) -> sparse.csr_matrix:
    """Sparse (batch, n_items): sum over each user's moments with an item of 0.5 ** (age / half_life_days).

    Several lines of one item at one moment count once; without real times a step back is a day.
    """
    rows, items = histories.rows, histories.items
    order = np.lexsort((histories.time_s, items, rows))
    same = np.ones(max(len(items) - 1, 0), bool)
    for column in (rows[order], items[order], histories.time_s[order]):
        same &= column[1:] == column[:-1]
    moments = order[np.concatenate([[True], ~same])] if len(order) else order
    age = histories.age_days if timed else histories.steps_back.astype(np.float32)
    weights = 0.5 ** (age[moments] / half_life_days)
    met = sparse.csr_matrix((weights, (rows[moments], items[moments])), shape=(len(histories), n_items))
    met.sum_duplicates()
    return met


def _first(weights: sparse.csr_matrix, k: int) -> IntArray:
    """Column numbers of the `k` largest entries of each sparse row, -1 where there are fewer."""
    rows = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
    order = np.lexsort((weights.indices, -weights.data, rows))
    place = np.arange(len(rows)) - weights.indptr[rows]  # rows stay where they are
    out = np.full((weights.shape[0], k), -1, np.int32)
    front = place < k
    out[rows[front], place[front]] = weights.indices[order][front]
    return out
