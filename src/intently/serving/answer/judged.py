"""What the live model says of all items for one view, worked out no further than a list needs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from intently.models.ranking import Ranked
from intently.models.stateful import best_of
from intently.schema import BoolArray, DoubleArray, FloatArray, IntArray
from intently.serving.state.deeds import NOTHING
from intently.serving.state.model import Standing
from intently.serving.state.readings import Reading, Said


class Judged:
    """Scores of one view: the best of them, those of some items, or all.

    A model that carries a user from event to event names its `best` without laying out a score for every
    item. Any other is asked for all (`ask`) when somebody needs them. Neither names its best twice while
    nothing new comes: it is `held` in the reading, or in what was said. `chances`, of a model that gives
    probabilities, says them of dense ids that its scores leave out (models/two_stage.py).
    """

    def __init__(
        self,
        standing: Standing,
        ask: Callable[[], FloatArray],
        held: Reading | Said | None = None,
        best: Callable[[int], Ranked] | None = None,
        chances: Callable[[list[int]], FloatArray] | None = None,
    ) -> None:
        self._standing, self._ask, self._best, self._chances = standing, ask, best, chances
        self._held: Reading | Said = held or Said(0.0, NOTHING)
        self.anew = False  # whether the model had to be asked
        self._beyond = self._held.beyond if isinstance(self._held, Said) else {}

    @cached_property
    def all(self) -> FloatArray:
        """(n_items of the model,), -inf for what it never answers."""
        self.anew = True
        return self._ask()

    def best(self, most: int, allowed: BoolArray | None = None) -> tuple[IntArray, DoubleArray]:
        """(item numbers, finite scores) of the best, best first; ties by the smaller dense id. Kept: not to
        be changed.

        allowed: (n_items,) by item number; None: all items, those of the history too.
        """
        if allowed is not None:
            masked = np.where(allowed[self._standing.number], _finite(self.all), -np.inf)
            dense, scores = best_of(masked.astype(np.float32, copy=False), most)
            return self._standing.number[dense], scores.astype(np.float64)
        top = self._held.top
        if top is None or top[0] != most:
            found, values = self._first(most)
            top = self._held.top = (most, self._standing.number[found], values)
        return top[1], top[2]

    def _first(self, most: int) -> tuple[IntArray, DoubleArray]:
        """(dense ids, scores) of the best of all items."""
        if self._best is None:
            dense, scores = best_of(_finite(self.all), most)
            return dense, scores.astype(np.float64)
        self.anew = True
        ranked = self._best(most)
        found = ranked.items[0] >= 0
        return ranked.items[0][found], ranked.scores[0][found].astype(np.float64)

    def of(self, numbers: IntArray) -> DoubleArray:
        """Scores of these items, nan where the model has none."""
        out = np.full(len(numbers), np.nan)
        dense = self._standing.dense(numbers)
        known = dense >= 0
        out[known] = self.all[dense[known]]
        out[~np.isfinite(out)] = np.nan
        return out

    def beyond(self, dense: IntArray) -> DoubleArray:
        """The model's word on items that it leaves out of `all`, by dense id; -inf where it has none."""
        if self._chances is None or not len(dense):
            return np.full(len(dense), -np.inf)
        known = self._beyond
        wanted = [item for item in dict.fromkeys(dense.tolist()) if item not in known]
        if wanted:
            known |= dict(zip(wanted, self._chances(wanted).tolist(), strict=True))
        return np.array([known[item] for item in dense.tolist()], np.float64)


def _finite(scores: FloatArray) -> FloatArray:
    """The scores, -inf where they are not numbers."""
    if np.isnan(scores).any():
        return np.where(np.isnan(scores), np.float32(-np.inf), scores)
    return scores
