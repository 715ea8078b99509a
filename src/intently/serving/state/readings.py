"""What the live model holds of each user, carried from event to event, or said of them last.

For a model that can (models/stateful.py) an answer needs no reading of the whole history: the state of the
latest answer is advanced by what came since. Of users beyond those states, and of those whom nobody asked
for yet (answer/ahead.py), the best alone are kept. Any other model reads the history anew when something
came, or when the step of time that it was asked in is over (view.STEP_S). All belong to one version; a swap
begins anew.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final

from intently.models.stateful import Stateful
from intently.schema import DoubleArray, FloatArray, IntArray
from intently.serving.state.deeds import Deeds
from intently.serving.state.model import Standing
from intently.serving.state.view import View, one_history

MOST: Final = 5_000
"""States kept, those asked for last: 1 KB a moment of the window each, and 5 KB for its best."""

MOST_NAMED: Final = 20_000
"""Users whose best alone are kept, where no more are to be made ready: 4 KB each."""

MOST_SCORES: Final = 16_000_000
"""Scores kept of models that read anew, 64 MB: of the users asked for last, the others keep their best."""

STRANGER: Final = -1
"""Who did nothing yet: the model says the same to everyone of them."""


@dataclass(slots=True)
class Reading:
    """How far a state has read, the state, and the best that it named: they hold until something new comes.

    state: None where the best alone were kept; see Readings.state. top: (how many were asked for, item
    numbers, scores), None until they were asked for.
    """

    read: IntArray
    state: Any
    top: tuple[int, IntArray, DoubleArray] | None = None


@dataclass(slots=True)
class Said:
    """What a model that reads histories anew said of one: as of when, of which events.

    scores: (n_items,), None before they are asked for, and when others took their room. top: as of Reading.
    beyond: dense id -> chance of items that were asked for although the scores leave them out.
    """

    asked_s: float
    done: Deeds
    scores: FloatArray | None = None
    top: tuple[int, IntArray, DoubleArray] | None = None
    beyond: dict[int, float] = field(default_factory=dict)

    def holds(self, asked_s: float, done: Deeds) -> bool:
        """Whether the same is asked again."""
        return self.asked_s == asked_s and self.done.same(done)


class Readings:
    """By user number. most_named: users whose best alone are kept."""

    def __init__(self, most_named: int = MOST_NAMED) -> None:
        self._most_named = most_named
        self._of: OrderedDict[int, Reading] = OrderedDict()
        self._named: OrderedDict[int, Reading] = OrderedDict()  # without states
        self._said: OrderedDict[int, Said] = OrderedDict()
        self._whole: OrderedDict[int, Said] = OrderedDict()  # those of them that hold scores
        self._version: Standing | None = None
        self._writing = threading.Lock()

    def of(self, view: View, standing: Standing, model: Stateful[Any]) -> Reading:
        """What the model holds after all of the view's events."""
        done, n = view.deeds, len(view.deeds.items)
        settled = n - len(view.visit)
        early = done.part(0, settled)
        reading = self._settled(view, early, standing, model)
        if settled == n:
            return reading
        before = self._state(reading, view, early, standing, model)
        state = _advanced(model, before, done.part(settled, n), standing)
        return Reading(done.items, state)  # counts for this answer, and is not kept

    def state(self, reading: Reading, view: View, standing: Standing, model: Stateful[Any]) -> Any:
        """The state of a view's reading, which is read now where its best alone were kept."""
        return self._state(reading, view, view.deeds, standing, model)

    def holds(self, view: View, standing: Standing, whole: bool = False) -> bool:
        """Whether the best after the view's events are here, and if `whole` what gives every item's score."""
        self._of_version(standing)
        user = _kept_as(view)
        if user is None:
            return False
        if standing.stateful is None:
            said = self._said.get(user)
            if said is None or not said.holds(view.asked_s, view.deeds):
                return False
            return said.scores is not None or (said.top is not None and not whole)
        found = self._of.get(user) or self._named.get(user)
        if found is None or not _same(found, view.deeds):
            return False
        return found.top is not None and not (whole and found.state is None)

    def carries(self, user: int) -> bool:
        """Whether a state of this user is kept."""
        return user in self._of

    @property
    def full(self) -> bool:
        """Whether the best of one more user would take another one's room."""
        return len(self._named) >= self._most_named

    def rest(self, user: int) -> None:
        """Of this user, whom nobody asked for, keep the best alone; the first to go where room is needed."""
        with self._writing:
            self._name(user, self._of.pop(user, None))
            if user in self._named:
                self._named.move_to_end(user, last=False)

    def said(self, view: View, standing: Standing) -> Said:
        """What the model said, or is about to say, of all of the view's events; see `keep`."""
        self._of_version(standing)
        user, done = _kept_as(view), view.deeds
        found = None if user is None else self._said.get(user)
        if user is not None and found is not None and found.holds(view.asked_s, done):
            with self._writing:  # those asked for last stay
                for held in (self._said, self._whole):
                    if held.get(user) is found:
                        held.move_to_end(user)
            return found
        said = Said(view.asked_s, done)
        if user is not None:
            with self._writing:
                if self._version is standing:
                    self._said[user] = said
                    self._said.move_to_end(user)
                    self._whole.pop(user, None)
                    if len(self._said) > MOST:
                        self._whole.pop(self._said.popitem(last=False)[0], None)
        return said

    def keep(self, view: View, standing: Standing, said: Said, scores: FloatArray) -> None:
        """Keep the scores of a user who was asked for last, in place of those asked for longest ago."""
        user = _kept_as(view)
        with self._writing:
            if user is None or self._version is not standing or self._said.get(user) is not said:
                return
            said.scores = scores
            self._whole[user] = said
            self._whole.move_to_end(user)
            while len(self._whole) * len(scores) > MOST_SCORES and len(self._whole) > 1:
                self._whole.popitem(last=False)[1].scores = None

    def forget(self, user: int) -> None:
        """Drop what is held of a user."""
        with self._writing:
            for held in (self._of, self._named, self._said, self._whole):
                held.pop(user, None)

    def _of_version(self, standing: Standing) -> None:
        if self._version is not standing:
            with self._writing:
                self._version, self._of, self._named = standing, OrderedDict(), OrderedDict()
                self._said, self._whole = OrderedDict(), OrderedDict()

    def _settled(self, view: View, done: Deeds, standing: Standing, model: Stateful[Any]) -> Reading:
        self._of_version(standing)
        found = self._of.get(view.user) if view.user >= 0 else None
        if found is not None:
            n = len(found.read)
            if _same(found, done):
                return found
            if n < len(done.items) and found.read.tobytes() == done.items[:n].tobytes():  # nothing came late
                state = _advanced(model, found.state, done.part(n, len(done.items)), standing)
                return self._keep(view.user, Reading(done.items, state), standing)
        named = self._named.get(view.user) if view.user >= 0 else None
        if named is not None and _same(named, done):
            return named
        reading = Reading(done.items, model.begin(one_history(done, standing, view.asked_s)))
        return self._keep(view.user, reading, standing) if view.user >= 0 else reading

    def _state(
        self, reading: Reading, view: View, done: Deeds, standing: Standing, model: Stateful[Any]
    ) -> Any:
        if reading.state is None:
            reading.state = model.begin(one_history(done, standing, view.asked_s))
            self._keep(view.user, reading, standing)
        return reading.state

    def _keep(self, user: int, reading: Reading, standing: Standing) -> Reading:
        with self._writing:
            if self._version is standing:
                self._named.pop(user, None)
                self._of[user] = reading
                self._of.move_to_end(user)
                if len(self._of) > MOST:
                    self._name(*self._of.popitem(last=False))
        return reading

    def _name(self, user: int, reading: Reading | None) -> None:
        if reading is None or reading.top is None:
            return
        self._named[user] = Reading(reading.read, None, reading.top)
        self._named.move_to_end(user)
        if len(self._named) > self._most_named:
            self._named.popitem(last=False)


def _same(reading: Reading, done: Deeds) -> bool:
    """Whether it has read these events and no others."""
    return len(reading.read) == len(done.items) and reading.read.tobytes() == done.items.tobytes()


def _kept_as(view: View) -> int | None:
    """By which number the view's list is kept; None where a visit's items, which nobody stored, are in it."""
    if len(view.visit):
        return None
    return view.user if view.user >= 0 else None if len(view.deeds.items) else STRANGER


def _advanced(model: Stateful[Any], state: Any, done: Deeds, standing: Standing) -> Any:
    items = standing.dense(done.items)
    seen = items >= 0
    if not seen.any():
        return state
    return model.advance(state, items[seen], done.time_s[seen], done.events[seen])
