"""What the shop's customers met lately: the baseline everything must beat."""

from __future__ import annotations

import numpy as np

from intently.data import Dataset, Histories
from intently.data.histories import DAY_S
from intently.errors import InputError
from intently.models.base import Recommender, State
from intently.schema import EVENT_CODES, POSITIVE, FloatArray


class Popular(Recommender):
    """Count of positive events an item, each worth 0.5 ** (age / half_life_days).

    Ages are counted from the end of the data. Where the data has only an order and no times,
    every event counts one.
    """

    name = "popular"

    def __init__(self, half_life_days: float = 28.0) -> None:
        super().__init__()
        if not half_life_days > 0:
            raise InputError(f"half_life_days must be above 0, got {half_life_days}")
        self.half_life_days = half_life_days
        self.counts = np.zeros(0, np.float32)

    def _fit(self, dataset: Dataset) -> None:
        codes = [EVENT_CODES[name] for name in POSITIVE]
        events = dataset.events.filter(dataset.events["event"].is_in(codes))
        weights = np.ones(events.height)
        if dataset.timed:
            age_days = (dataset.end_s - events["time_s"].to_numpy()) / DAY_S
            weights = 0.5 ** (age_days / self.half_life_days)
        self.counts = np.bincount(
            events["item"].to_numpy(), weights=weights, minlength=dataset.n_items
        ).astype(np.float32)

    def _scores(self, histories: Histories) -> FloatArray:
        return np.repeat(self.counts[None, :], len(histories), axis=0)

    def _state(self) -> State:
        return {"counts": self.counts}

    def _restore(self, state: State) -> None:
        self.counts = state["counts"]


def share_of_best(dataset: Dataset) -> FloatArray:
    """(n_items,) decayed popularity as a share of the most popular item's: 0 to 1.

    What other models put behind their own evidence, so that every item has a score and a stranger
    gets the popular ones.
    """
    counts = Popular().fit(dataset).counts
    share: FloatArray = counts / np.maximum(counts.max(initial=0.0), np.float32(1e-30))
    return share
