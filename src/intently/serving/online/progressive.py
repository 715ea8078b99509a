"""Is the online layer better than the model that stands still? Predicted first, judged when labels are known.

Progressive validation with label delay (Grzenda, Gomes & Bifet, Data Mining and Knowledge Discovery 2020):
both rank a list when it is asked for, what was met within the window decides later, and only then the layer
learns from it. A layer that is worse beyond chance is switched off; it goes on learning in the dark, and
comes back when it is better beyond chance.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from intently.schema import BoolArray, DoubleArray, LongArray

KEPT = 2000
"""Lists with a hit that the running figures are of."""

LEAST = 200
"""Lists before anything is decided."""

SURE = 2.58
"""Standard errors: 99 %."""

K = 10
_DISCOUNTS = 1.0 / np.log2(np.arange(2, K + 2))
_IDEAL = np.cumsum(_DISCOUNTS)


@dataclass(frozen=True, slots=True)
class Running:
    """A mean over the latest lists and its 99 % interval."""

    n: int
    mean: float
    low: float
    high: float

    @staticmethod
    def of(values: deque[float]) -> Running:
        """Of values from lists that are taken for independent: a user has one list at a time."""
        n = len(values)
        if not n:
            return Running(0, float("nan"), float("nan"), float("nan"))
        array = np.array(values)
        error = SURE * float(array.std(ddof=1)) / n**0.5 if n > 1 else float("inf")
        return Running(n, float(array.mean()), float(array.mean()) - error, float(array.mean()) + error)


class Progressive:
    """Running NDCG@10 and log loss of both, and whether the layer answers."""

    def __init__(self, kept: int = KEPT, least: int = LEAST) -> None:
        self.least = least
        self.frozen: deque[float] = deque(maxlen=kept)
        self.online: deque[float] = deque(maxlen=kept)
        self.gain: deque[float] = deque(maxlen=kept)
        self.loss_frozen: deque[float] = deque(maxlen=kept)
        self.loss_online: deque[float] = deque(maxlen=kept)
        self.active = True
        self.switches = 0

    def judge(self, order: LongArray, hit: BoolArray, log_odds: DoubleArray, plain: DoubleArray) -> None:
        """One list whose labels are known, its rows in the frozen model's order.

        order: the online order of the rows. log_odds, plain: of the layer, and of the frozen score alone.
        """
        self.loss_online.append(loss(log_odds, hit))
        self.loss_frozen.append(loss(plain, hit))
        if not hit.any():
            return
        self.frozen.append(gain(hit))
        self.online.append(gain(hit[order]))
        self.gain.append(self.online[-1] - self.frozen[-1])
        self._decide()

    def _decide(self) -> None:
        found = Running.of(self.gain)
        if found.n < self.least:
            return
        wanted = self.active
        if self.active and found.high < 0:
            wanted = False
        elif not self.active and found.low > 0:
            wanted = True
        if wanted != self.active:
            self.active = wanted
            self.switches += 1
            self.gain.clear()  # what comes next is judged by what comes next

    def trouble(self) -> str:
        """What `degraded` says; empty while the layer answers."""
        return "" if self.active else "the online layer was worse than the model and is switched off"

    def told(self) -> dict[str, Any]:
        """The running figures."""
        parts = ("frozen", "online", "gain", "loss_frozen", "loss_online")
        found = {name: Running.of(getattr(self, name)) for name in parts}
        return {
            "active": self.active,
            "switches": self.switches,
            "ndcg@10": {name: _json(found[name]) for name in ("frozen", "online", "gain")},
            "log_loss": {"frozen": _json(found["loss_frozen"]), "online": _json(found["loss_online"])},
        }


def gain(hit: BoolArray) -> float:
    """NDCG@10 of a list whose rows are right or not, among the rows that it has."""
    return float((_DISCOUNTS[: len(hit)] * hit[:K]).sum() / _IDEAL[min(int(hit.sum()), K) - 1])


def loss(log_odds: DoubleArray, hit: BoolArray) -> float:
    """Mean log loss of a list."""
    return float(np.mean(np.logaddexp(0.0, log_odds) - log_odds * hit))


def _json(found: Running) -> dict[str, float | int | None]:
    values = {"mean": found.mean, "low": found.low, "high": found.high}
    return {"lists": found.n} | {k: round(v, 6) if np.isfinite(v) else None for k, v in values.items()}
