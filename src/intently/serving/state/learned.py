"""What the online layer asks of the memory, the live model and the catalogue, tied together.

The layer itself (serving/online) knows numbers and arrays alone.
"""

from __future__ import annotations

import time
from typing import Final

import numpy as np

from intently.config import Settings
from intently.models.ranking import top_k
from intently.schema import EVENT_CODES, DoubleArray, IntArray
from intently.serving.online.features import Facts, Question
from intently.serving.online.online import LOOK, Online
from intently.serving.online.visits import LOOK_BACK
from intently.serving.state.catalogue import Catalogue
from intently.serving.state.memory import Memory
from intently.serving.state.model import LiveModel
from intently.serving.state.view import one_history

DAY_S: Final = 86_400.0
FACTS_S: Final = 30.0
"""Categories and prices are read again at most so often: they are hints to the layer, not the answer's."""


class Learned:
    """Makes the `Online` of a shop, filled from the log, and answers what it asks."""

    def __init__(self, settings: Settings, memory: Memory, live: LiveModel, catalogue: Catalogue) -> None:
        self._memory, self._live, self._catalogue = memory, live, catalogue
        self._facts, self._facts_version, self._facts_at = Facts.unknown(0), -1, -FACTS_S
        target, window_s = settings.target or "purchase", settings.attribution_hours * 3600.0
        horizon_s = settings.horizon_days * DAY_S
        self.online = Online(
            settings.home / "online",
            EVENT_CODES[target],
            window_s,
            horizon_s,
            settings.online,
            settings.explore_share,
        )
        self.online.read(memory.items.ids)
        self.online.observe_log(*memory.log())
        self.online.sample, self.online.happened = self.sample, self.happened
        self.online.facts = self.facts
        memory.watch = self.online.observe_all

    def aim(self) -> None:
        """Learn the event that the live model predicts."""
        standing = self._live.current
        if standing is not None:
            named = str(standing.fact("target", ""))
            self.online.target = EVENT_CODES.get(named, self.online.target)
            self.online.curve.horizon_s = float(standing.fact("horizon_days", 28.0)) * DAY_S

    def sample(self, user: int, time_s: float) -> Question | None:
        """The live model's list for a user as of just before a moment."""
        standing = self._live.current
        if standing is None:
            return None
        done = self._memory.of(self._memory.users.ids[user])
        done = done.part(0, int(np.searchsorted(done.time_s, time_s)))
        scores = standing.model.scores(one_history(done, standing, time_s))[0]
        found = top_k(scores[None], LOOK)
        dense = found.items[0][found.items[0] >= 0]
        numbers, values = standing.number[dense], found.scores[0][: len(dense)].astype(np.float64)
        calibrated = standing.calibrated is not None
        latest = done.items[-LOOK_BACK:]
        return Question(done.items, done.time_s, time_s, latest, numbers, values, calibrated)

    def happened(self, user: int, numbers: IntArray, at_s: float) -> DoubleArray:
        """1 for each item that the user met by the target event within the horizon after a moment."""
        done = self._memory.of(self._memory.users.ids[user])
        until_s = at_s + self.online.curve.horizon_s
        after = (done.time_s > at_s) & (done.time_s <= until_s) & (done.events == self.online.target)
        return np.isin(numbers, done.items[after]).astype(np.float64)

    def facts(self) -> Facts:
        """Category codes and prices of the catalogue."""
        now, catalogue = time.monotonic(), self._catalogue
        if self._facts_version != catalogue.version and now - self._facts_at >= FACTS_S:
            self._facts_version, self._facts_at = catalogue.version, now
            self._facts = _facts(list(catalogue.categories), list(catalogue.prices))
        return self._facts


def _facts(categories: list[str], prices: list[float | None]) -> Facts:
    codes = {name: code for code, name in enumerate(sorted({name for name in categories if name}))}
    n = min(len(categories), len(prices))
    return Facts(
        np.array([codes.get(name, -1) for name in categories[:n]], np.int32),
        np.array([price if price is not None and price > 0 else 0.0 for price in prices[:n]], np.float32),
    )
