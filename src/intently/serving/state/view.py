"""One request's view: the model it began with, and what the user did by now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from intently.data import Histories
from intently.schema import IntArray
from intently.serving.state.deeds import Deeds
from intently.serving.state.model import Standing

STEP_S: Final = 300.0
"""A model is asked as of whole steps of this length, so that what it said holds until the next one: it tells
ages in days."""


@dataclass(slots=True)  # not frozen: one is made for an answer, and nothing changes it
class View:
    """Who asks, and everything about them that an answer may use."""

    standing: Standing | None
    who: str  # the user's id, `session:` and the session's for a guest, "" for a stranger
    user: int  # the memory's number, -1 for a stranger
    deeds: Deeds  # positive events, those of this visit's context last
    visit: IntArray  # item numbers of the context, oldest first
    cart: IntArray  # item numbers that lie in the cart
    at_s: float
    unknown: int  # items of the context that nobody knows

    @property
    def asked_s(self) -> float:
        """As of when a model is asked: the last whole step, or the last event where that is later."""
        step_s, done_s = self.at_s // STEP_S * STEP_S, self.deeds.time_s
        return max(step_s, float(done_s[-1])) if len(done_s) else step_s

    def history(self, standing: Standing) -> Histories:
        """The batch of one that a model sees: items it knows, oldest first."""
        return one_history(self.deeds, standing, self.asked_s)


def one_history(done: Deeds, standing: Standing, at_s: float) -> Histories:
    """A batch of one: items that the model knows, oldest first."""
    items = standing.dense(done.items)
    seen = items >= 0
    kept = items[seen]
    return Histories(
        np.array([0, len(kept)], np.int64),
        kept,
        done.time_s[seen],
        done.events[seen],
        np.full(1, -1, np.int32),
        np.full(1, at_s, np.float64),
    )
