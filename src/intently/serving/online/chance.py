"""From the layer's log-odds, which are of the next hours, to the chance that the model promises.

That one is of the horizon. A logistic curve (Platt 1999) over the layer's log-odds, so that the order stays.
It is fitted to what happened within the horizon after lists of the past. While too little of that is known
it is a shift alone: to the mean of what the frozen model said of the same pairs, calibrated when trained.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from intently.models.calibration import platt, shift_to, sigmoid
from intently.schema import DoubleArray, IntArray

ROWS = 16
"""Rows of a list that are kept: the first half from its head, the rest drawn evenly behind it."""
LISTS = 400
AGAIN = 25
"""Lists after which the curve is fitted anew."""
LEAST_RIGHT = 50
"""Pairs that came true, below which what happened says too little."""

Happened = Callable[[int, IntArray, float], DoubleArray]
"""(user, item numbers, moment) -> 1 for each that the user met within the horizon after the moment."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Some pairs of one list."""

    user: int
    at_s: float
    numbers: IntArray
    table: DoubleArray
    chance: DoubleArray  # the frozen model's


class Curve:
    """Log-odds to probabilities; `weights` in `fit` are the layer's of now, as the curve must fit those."""

    def __init__(self, horizon_s: float) -> None:
        self.horizon_s = horizon_s
        self.slope, self.shift = 1.0, 0.0
        self._young: deque[Kept] = deque(maxlen=LISTS)
        self._known: deque[tuple[DoubleArray, DoubleArray]] = deque(maxlen=LISTS)
        self._lock = threading.Lock()
        self._since = 0
        self._every = 1  # of so many lists one is kept
        self._came = 0
        self._changed_s = 0.0

    def of(self, log_odds: DoubleArray) -> DoubleArray:
        """Probabilities of the horizon."""
        return sigmoid(self.slope * log_odds + self.shift)

    def keep(
        self, user: int, at_s: float, numbers: IntArray, table: DoubleArray, chance: DoubleArray
    ) -> None:
        """Remember some pairs of a list; of so few lists that they reach back over the whole horizon."""
        with self._lock:
            self._came += 1
            if self._came % self._every:
                return
            if len(self._young) == LISTS:
                self._young = deque(list(self._young)[::2], maxlen=LISTS)
                self._every, self._changed_s = self._every * 2, at_s
        n = len(numbers)
        head = np.arange(min(ROWS // 2, n))
        rows = np.unique(np.concatenate([head, np.linspace(0, n - 1, ROWS // 2).astype(np.int64)]))
        with self._lock:
            self._young.append(Kept(user, at_s, numbers[rows], table[rows], chance[rows]))

    def forget(self, user: int) -> None:
        """Drop this user's pairs whose outcome is waited for; those that are known have no user."""
        with self._lock:
            left = [one for one in self._young if one.user != user]
            self._young = deque(left, maxlen=LISTS)

    def fit(self, weights: DoubleArray, now_s: float, happened: Happened, *, force: bool = False) -> None:
        """Fit anew, once every AGAIN calls."""
        self._since += 1
        if self._since < AGAIN and not force:
            return
        self._since = 0
        with self._lock:
            while self._young and now_s - self._young[0].at_s > self.horizon_s:
                one = self._young.popleft()
                self._known.append((one.table, happened(one.user, one.numbers, one.at_s)))
            if self._every > 1 and len(self._young) < LISTS // 4 and now_s - self._changed_s > self.horizon_s:
                self._every, self._changed_s = self._every // 2, now_s
            young, known = list(self._young), list(self._known)
        if known and sum(float(labels.sum()) for _, labels in known) >= LEAST_RIGHT:
            tables, targets = zip(*known, strict=True)
            self.slope, self.shift = platt(np.concatenate(tables) @ weights, np.concatenate(targets))
        elif young:
            log_odds = np.concatenate([one.table for one in young]) @ weights
            mean = float(np.clip(np.concatenate([one.chance for one in young]).mean(), 1e-6, 1 - 1e-6))
            self.slope, self.shift = 1.0, shift_to(mean, log_odds)
