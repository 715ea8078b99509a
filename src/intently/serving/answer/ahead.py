"""Lists that are worked out before anybody asks: of the users who were here last, while nobody is waiting.

A model that carries users from event to event names the same best until something new comes, so what it
names of everyone who may come next can be ready after a start and after a swap of models. Any other model
is asked as of the minute: what it said would be old before it was needed.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from intently.serving.answer.candidates import POOL, judge
from intently.serving.state.engine import Engine
from intently.serving.state.model import Standing

LOOK_S: Final = 2.0
AGAIN_S: Final = 300.0
"""After so long users are looked through again: of some, events came in."""

MOST_S: Final = 60.0
"""What one look through may take: of a million items a list takes 25 ms, and those here last come first."""

QUIET_S: Final = 0.01
"""Without a list or an event for so long nobody is waiting."""

log = logging.getLogger("intently.serving")


class Ahead:
    """A thread that asks the live model about up to `most` users, one after the other."""

    def __init__(self, engine: Engine, most: int) -> None:
        self._engine, self._most = engine, most
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="intently-ahead", daemon=True)
        self._ended: tuple[Standing | None, float] = (None, 0.0)

    def start(self) -> None:
        """Begin, unless nobody is to be asked about."""
        if self._most:
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _work(self) -> None:
        while not self._stop.wait(LOOK_S):
            standing, (known, ended) = self._engine.live.current, self._ended
            fresh = standing is not known or time.monotonic() - ended > AGAIN_S
            if standing is None or standing.stateful is None or not fresh:
                continue
            try:
                self._read(standing)
            except Exception:  # whoever asks for the list is told; here nobody waits for it
                log.exception("a list that nobody asked for yet")
            self._ended = (standing, time.monotonic())

    def _read(self, standing: Standing) -> None:
        engine, seen, spent_s = self._engine, (-1, -1), 0.0
        for user_id in engine.memory.latest(self._most):
            while seen != (seen := self._came()):
                self._stop.wait(QUIET_S)
            if self._stop.is_set() or engine.live.current is not standing:
                return
            if spent_s > MOST_S or engine.readings.full:
                return
            began = time.perf_counter()
            if self.name(user_id):
                spent_s += time.perf_counter() - began

    def _came(self) -> tuple[int, int]:
        """How many lists and events came so far."""
        return self._engine.pace.lists, self._engine.ledger.row

    def name(self, user_id: str) -> bool:
        """The best for a user; False when they are there already."""
        engine, view = self._engine, self._engine.ask(user_id)
        if view.standing is None or view.user < 0 or engine.readings.holds(view, view.standing):
            return False
        carried, judged = engine.readings.carries(view.user), judge(engine, view)
        if judged is not None:
            judged.best(POOL)
        if not carried:
            engine.readings.rest(view.user)
        if engine.memory.users.get(user_id) < 0:  # erased meanwhile
            engine.readings.forget(view.user)
        return True
