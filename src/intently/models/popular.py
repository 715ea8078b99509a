"""What the shop's customers met lately: the baseline everything must beat."""

from __future__ import annotations

from typing import Final

import numpy as np

from intently.data import Dataset, Histories
from intently.data.histories import DAY_S
from intently.errors import InputError
from intently.models.base import Recommender, State
from intently.schema import EVENT_CODES, POSITIVE, DoubleArray, FloatArray

HALF_LIFE_DAYS: Final = 28.0


class Popular(Recommender):
    """Count of positive events an item, each worth 0.5 ** (age / half_life_days).

    Ages are counted from the end of the data. Where the data has only an order and no times,
    every event counts one.
    """

    name = "popular"

    def __init__(self, half_life_days: float = HALF_LIFE_DAYS) -> None:
        super().__init__()
        if not half_life_days > 0:
            raise InputError(f"half_life_days must be above 0, got {half_life_days}")
        self.half_life_days = half_life_days
        self.counts = np.zeros(0, np.float32)

    def _fit(self, dataset: Dataset) -> None:
        codes = [EVENT_CODES[name] for name in POSITIVE]
        events = dataset.events.filter(dataset.events["event"].is_in(codes))
        end_s = dataset.end_s if dataset.timed else float("nan")
        weights = decayed(events["time_s"].to_numpy(), end_s, self.half_life_days)
        self.counts = np.bincount(
            events["item"].to_numpy(), weights=weights, minlength=dataset.n_items
        ).astype(np.float32)

    def _scores(self, histories: Histories) -> FloatArray:
        return np.repeat(self.counts[None, :], len(histories), axis=0)

    def _state(self) -> State:
        return {"counts": self.counts}

    def _restore(self, state: State) -> None:
        self.counts = state["counts"]


def decayed(time_s: DoubleArray, end_s: float, half_life_days: float = HALF_LIFE_DAYS) -> DoubleArray:
    """What each event is worth at `end_s`; nan for `end_s` says that there are no times: one each.

    >>> decayed(np.array([0.0, 28 * 86400.0]), end_s=28 * 86400.0).tolist()
    [0.5, 1.0]
    """
    if np.isnan(end_s):
        return np.ones(len(time_s))
    weights: DoubleArray = 0.5 ** ((end_s - time_s) / DAY_S / half_life_days)
    return weights


def share_of_best(dataset: Dataset) -> FloatArray:
    """(n_items,) decayed popularity as a share of the most popular item's: 0 to 1.

    What other models put behind their own evidence, so that every item has a score and a stranger
    gets the popular ones.
    """
    counts = Popular().fit(dataset).counts
    share: FloatArray = counts / np.maximum(counts.max(initial=0.0), np.float32(1e-30))
    return share
