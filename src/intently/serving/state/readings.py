"""What the live model holds of each user, carried from event to event.

For a model that can (models/stateful.py) an answer needs no reading of the whole history: the state of the
latest answer is advanced by what came since. States belong to one version; a swap begins anew.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

from intently.models.stateful import Stateful
from intently.schema import DoubleArray, IntArray
from intently.serving.state.deeds import Deeds
from intently.serving.state.model import Standing
from intently.serving.state.view import View, one_history

MOST: Final = 5_000
"""States kept, those asked for last: 1 KB a moment of the window each, and 5 KB for its best."""


@dataclass(slots=True)
class Reading:
    """How far a state has read, the state, and the best that it named: they hold until something new comes.

    top: (how many were asked for, item numbers, scores), None until they were asked for.
    """

    read: IntArray
    state: Any
    top: tuple[int, IntArray, DoubleArray] | None = None


class Readings:
    """By user number."""

    def __init__(self) -> None:
        self._of: OrderedDict[int, Reading] = OrderedDict()
        self._version: Standing | None = None
        self._writing = threading.Lock()

    def of(self, view: View, standing: Standing, model: Stateful[Any]) -> Reading:
        """The model's state after all of the view's events."""
        done, n = view.deeds, len(view.deeds.items)
        settled = n - len(view.visit)
        reading = self._settled(view, done.part(0, settled), standing, model)
        if settled == n:
            return reading
        state = _advanced(model, reading.state, done.part(settled, n), standing)
        return Reading(done.items, state)  # counts for this answer, and is not kept

    def forget(self, user: int) -> None:
        """Drop what is held of a user."""
        with self._writing:
            self._of.pop(user, None)

    def _settled(self, view: View, done: Deeds, standing: Standing, model: Stateful[Any]) -> Reading:
        if self._version is not standing:
            with self._writing:
                self._version, self._of = standing, OrderedDict()
        found = self._of.get(view.user) if view.user >= 0 else None
        if found is not None:
            n = len(found.read)
            if n == len(done.items) and found.read.tobytes() == done.items.tobytes():
                return found
            if n < len(done.items) and found.read.tobytes() == done.items[:n].tobytes():  # nothing came late
                state = _advanced(model, found.state, done.part(n, len(done.items)), standing)
                return self._keep(view.user, Reading(done.items, state), standing)
        reading = Reading(done.items, model.begin(one_history(done, standing, view.at_s)))
        return self._keep(view.user, reading, standing) if view.user >= 0 else reading

    def _keep(self, user: int, reading: Reading, standing: Standing) -> Reading:
        with self._writing:
            if self._version is standing:
                self._of[user] = reading
                self._of.move_to_end(user)
                if len(self._of) > MOST:
                    self._of.popitem(last=False)
        return reading


def _advanced(model: Stateful[Any], state: Any, done: Deeds, standing: Standing) -> Any:
    items = standing.dense(done.items)
    seen = items >= 0
    if not seen.any():
        return state
    return model.advance(state, items[seen], done.time_s[seen], done.events[seen])
