"""What the live model holds of each user, carried from event to event.

For a model that can (models/stateful.py) an answer needs no reading of the whole history: the state of the
latest answer is advanced by what came since. States belong to one version; a swap begins anew.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, Final

import numpy as np

from intently.models.stateful import Stateful
from intently.schema import IntArray
from intently.serving.state.deeds import Deeds
from intently.serving.state.model import Standing
from intently.serving.state.view import View, one_history

MOST: Final = 5_000
"""States kept, those asked for last: 1 KB a moment of the window each."""


class Readings:
    """By user number: how far the state has read, and the state."""

    def __init__(self) -> None:
        self._of: OrderedDict[int, tuple[IntArray, Any]] = OrderedDict()
        self._version: Standing | None = None
        self._writing = threading.Lock()

    def state(self, view: View, standing: Standing, model: Stateful[Any]) -> Any:
        """The model's state after all of the view's events."""
        done, n = view.deeds, len(view.deeds.items)
        settled = n - len(view.visit)
        state = self._state(view, done.part(0, settled), standing, model)
        if settled < n:  # counts for this answer, and is not kept
            state = _advanced(model, state, done.part(settled, n), standing)
        return state

    def forget(self, user: int) -> None:
        """Drop what is held of a user."""
        with self._writing:
            self._of.pop(user, None)

    def _state(self, view: View, done: Deeds, standing: Standing, model: Stateful[Any]) -> Any:
        if self._version is not standing:
            with self._writing:
                self._version, self._of = standing, OrderedDict()
        found = self._of.get(view.user) if view.user >= 0 else None
        if found is not None:
            read, state = found
            n = len(read)
            if n == len(done.items) and (read is done.items or np.array_equal(read, done.items)):
                return state
            if n < len(done.items) and np.array_equal(read, done.items[:n]):  # nothing came late
                state = _advanced(model, state, done.part(n, len(done.items)), standing)
                return self._keep(view.user, done.items, state, standing)
        state = model.begin(one_history(done, standing, view.at_s))
        return self._keep(view.user, done.items, state, standing) if view.user >= 0 else state

    def _keep(self, user: int, read: IntArray, state: Any, standing: Standing) -> Any:
        with self._writing:
            if self._version is standing:
                self._of[user] = (read, state)
                self._of.move_to_end(user)
                if len(self._of) > MOST:
                    self._of.popitem(last=False)
        return state


def _advanced(model: Stateful[Any], state: Any, done: Deeds, standing: Standing) -> Any:
    items = standing.dense(done.items)
    seen = items >= 0
    if not seen.any():
        return state
    return model.advance(state, items[seen], done.time_s[seen], done.events[seen])
