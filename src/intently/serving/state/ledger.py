"""Events on disk before they are acknowledged, and in memory before the answer leaves.

One thread writes, another takes what was written into the memory, straight from the rows, and then tells
those who wait: while a commit is synced, the events of other requests gather and share the next one (group
commit), and those of the one before are counted. What another process imports beside the service is read
from the store, and comes in by the same door, in the order of arrival.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import compress
from typing import Final, NamedTuple

import numpy as np

from intently.errors import IntentlyError, NotReadyError, StoreFullError
from intently.serving.state.memory import Memory
from intently.store import Appended, EventRow, EventStore
from intently.store.base import SEARCH
from intently.store.identity import micros

log = logging.getLogger("intently.serving")

GROUP_EVENTS: Final = 2000
MAX_WAITING: Final = 50_000
LOOK_S: Final = 2.0

COMPANY: Final = 8
TURN_S: Final = 0.0005
MOST_TURNS: Final = 8
"""Where so many requests shared a commit, the next one waits while more keep coming, for a few turns: a
commit costs as much for one event as for a hundred, and who came together waited for the commit before."""

Outcome = list[bool] | IntentlyError
"""For each event whether it was new, or why none of them could be stored."""

Told = Callable[[Outcome], None]


class Submitted(NamedTuple):
    """Events of one request, who is told what became of them, and on which event loop (None: right here)."""

    rows: Sequence[EventRow]
    told: Told
    loop: AbstractEventLoop | None


class Stored(NamedTuple):
    """What one commit wrote."""

    group: list[Submitted]
    rows: Sequence[EventRow]
    done: Appended

    def outcomes(self) -> list[tuple[Submitted, Outcome]]:
        """What became of each request's events."""
        out: list[tuple[Submitted, Outcome]] = []
        start = 0
        for one in self.group:
            end = start + len(one.rows)
            out.append((one, self.done.fresh[start:end]))
            start = end
        return out


class Look:
    """Stands in the queue where another service is known to have stored something."""


LOOK: Final = Look()


class Ledger:
    """The single writer of a service, and who keeps its memory; `memory` holds all that is on disk."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        log_frame = store.events_since(0)
        self._row = int(log_frame["row"][-1]) if log_frame.height else 0
        self.memory = Memory(log_frame)
        self._queue: queue.SimpleQueue[Submitted | None] = queue.SimpleQueue()
        self._stored: queue.SimpleQueue[Stored | threading.Event | Look | None] = queue.SimpleQueue()
        self._handing = threading.Lock()  # held from a commit until its rows are in `_stored`
        self._counting = threading.Lock()
        self._waiting = 0
        self._company = 0  # requests that shared the last commit
        self._threads = [
            threading.Thread(target=work, name=f"intently-{name}", daemon=True)
            for name, work in (("ledger", self._work), ("memory", self._keep_up))
        ]
        self.trouble = ""
        self.afterwards: Callable[[], None] = _nothing  # called when those of a commit have been told
        self._others = 0  # the last row that another service is known to have stored
        self.wrote: Callable[[int], None] = _nobody  # told of the last row of each commit

    @property
    def row(self) -> int:
        """The last row of the store that the memory holds; while it reads on, it may hold a few more."""
        return self._row

    def start(self) -> None:
        """Begin to write."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Write what waits, then end."""
        if self._threads[0].is_alive():
            self._queue.put(None)
            for thread in self._threads:
                thread.join(timeout=30)

    def catch_up(self) -> None:
        """Return when all that was written by now is in the memory."""
        if self._threads[1].is_alive():
            reached = threading.Event()
            with self._handing:  # else it might overtake what is on its way
                self._stored.put(reached)
            reached.wait(timeout=30)

    def look(self, row: int) -> None:
        """Another service stored events up to this row: they come into the memory soon."""
        with self._counting:
            coming, self._others = self._others > self._row, max(self._others, row)
        if not coming:
            self._stored.put(LOOK)

    def submit(self, rows: Sequence[EventRow]) -> Future[list[bool]]:
        """Queue checked rows (see store.EventRow); raises NotReadyError when too many wait."""
        outcome: Future[list[bool]] = Future()

        def told(what: Outcome) -> None:
            if isinstance(what, IntentlyError):
                outcome.set_exception(what)
            else:
                outcome.set_result(what)

        self.hand_over(rows, told)
        return outcome

    def hand_over(self, rows: Sequence[EventRow], told: Told, loop: AbstractEventLoop | None = None) -> None:
        """As submit; `told` is called on `loop`, which is woken once for all that a commit holds."""
        with self._counting:
            if self._waiting + len(rows) > MAX_WAITING:
                raise NotReadyError("too many events wait to be written", hint="send them again soon")
            self._waiting += len(rows)
        self._queue.put(Submitted(rows, told, loop))

    def _work(self) -> None:
        going = True
        while going:
            self._settle()
            group: list[Submitted] = []
            going = self._gather(self._queue.get(), group)
            if group:
                self._company = len(group)
                self._write(group)
        self._stored.put(None)

    def _settle(self) -> None:
        """Let the store get ahead while nothing waits."""
        try:
            while self._queue.empty() and self._store.settle():
                pass
        except Exception:  # what is wrong with the disk shows, and is told, when events come
            log.exception("the store could not read ahead")

    def _keep_up(self) -> None:
        """What was written into the memory, in the order in which it was written."""
        while True:
            try:
                stored = self._stored.get(timeout=LOOK_S)
            except queue.Empty:
                self._look_if_idle()
                continue
            if stored is None:
                return
            if isinstance(stored, threading.Event):
                stored.set()
                continue
            if isinstance(stored, Look):
                self._take_others()
                continue
            try:
                self._remember(stored.rows, stored.done)
            except Exception:  # they are on disk, and are read from there with the next ones
                log.exception("events could not be taken into the memory")
            self._wait_no_more(len(stored.rows))
            _tell(stored.outcomes())
            self.afterwards()

    def _take_others(self) -> None:
        """What another service stored, once no own rows are on their way here."""
        with self._handing:
            if self._stored.empty():
                self._look(until=self._others + 1)
                self.afterwards()
                return
        self._stored.put(LOOK)

    def _look_if_idle(self) -> None:
        """Look for rows of others, unless own ones are on their way here: those would be counted twice."""
        if self._handing.acquire(blocking=False):
            try:
                if self._stored.empty():
                    self._look()
            finally:
                self._handing.release()

    def _gather(self, first: Submitted | None, group: list[Submitted]) -> bool:
        """Everything that waits, up to GROUP_EVENTS; False when it is time to end."""
        if self._company >= COMPANY:
            self._let_come()
        submitted, n = first, 0
        while submitted is not None:
            group.append(submitted)
            n += len(submitted.rows)
            if n >= GROUP_EVENTS:
                break
            try:
                submitted = self._queue.get_nowait()
            except queue.Empty:
                break
        return submitted is not None

    def _wait_no_more(self, n: int) -> None:
        with self._counting:
            self._waiting -= n

    def _let_come(self) -> None:
        """Wait while more keep coming."""
        came = -1
        for _ in range(MOST_TURNS):
            if self._queue.qsize() <= came:
                return
            came = self._queue.qsize()
            time.sleep(TURN_S)

    def _write(self, group: list[Submitted]) -> None:
        """Store a group; if it is refused as a whole, each request alone, so that one harms no other."""
        rows = group[0].rows if len(group) == 1 else [row for one in group for row in one.rows]
        try:
            with self._handing:
                done = self._store.append(rows)
                self._stored.put(Stored(group, rows, done))
            self.wrote(done.first_row - 1 + sum(done.fresh))
            self.trouble = ""
        except Exception as error:  # the writer must outlive whatever the disk does
            if len(group) > 1:
                for one in group:
                    self._write([one])
            else:
                self._wait_no_more(len(rows))
                _tell([(group[0], self._failure(error))])

    def _remember(self, rows: Sequence[EventRow], done: Appended) -> None:
        """Take the new rows into the memory, after what others stored before them."""
        self._row = min(self._row, done.first_row - 1)  # numbers of erased rows are given again
        if done.first_row != self._row + 1 and not self._look(until=done.first_row):
            return  # they are on disk, and will be read from there
        kept = rows if all(done.fresh) else list(compress(rows, done.fresh))
        columns = tuple(zip(*kept, strict=True))
        if kept and SEARCH in "\n".join(columns[1]):
            columns = tuple(zip(*(row for row in kept if not row[1].startswith(SEARCH)), strict=True))
        if columns:
            moments = (micros(np.array(columns[3], np.float64)) / 1e6).tolist()  # as the store has them
            self.memory.add_all(columns[0], columns[1], columns[2], moments, columns[7])
        self._row = done.first_row - 1 + len(kept)

    def _failure(self, error: Exception) -> IntentlyError:
        message = error.message if isinstance(error, IntentlyError) else type(error).__name__
        log.error("events could not be stored: %s", message)
        self.trouble = "events cannot be stored at the moment"
        hint = "they were not accepted: send them again"
        if isinstance(error, StoreFullError):
            self.trouble = "events cannot be stored: the disk is full"
            return StoreFullError(self.trouble, hint=hint)
        return NotReadyError(self.trouble, hint=hint)

    def _look(self, until: int | None = None) -> bool:
        """Take in what another process stored, up to a row; False when the store could not be read."""
        try:
            last = self._store.last_row() if until is None else until - 1
            if last > self._row:
                self._read_on(until)
                self._row = max(self._row, last)
        except Exception as error:
            log.warning("the store could not be read: %s", type(error).__name__)
            return False
        return True

    def _read_on(self, until: int | None) -> None:
        frame = self._store.events_since(self._row)
        if until is not None:
            frame = frame.filter(frame["row"] < until)
        if frame.height:
            columns = ("user_id", "item_id", "event", "time_s", "session_id")
            self.memory.add_all(*(frame[name].to_list() for name in columns))
            self._row = frame["row"][-1]


def _nothing() -> None:
    """Nobody has anything to do afterwards."""


def _nobody(_row: int) -> None:
    """Nobody else is there to be told."""


def _tell(outcomes: list[tuple[Submitted, Outcome]]) -> None:
    """Tell those who wait; each event loop is woken once."""
    by_loop: dict[AbstractEventLoop, list[tuple[Told, Outcome]]] = {}
    for one, outcome in outcomes:
        if one.loop is None:
            one.told(outcome)
        else:
            by_loop.setdefault(one.loop, []).append((one.told, outcome))
    for loop, waiting in by_loop.items():
        try:
            loop.call_soon_threadsafe(_tell_all, waiting)
        except RuntimeError:  # the loop was closed: nobody is there to be told
            log.warning("%d requests ended before they could be answered", len(waiting))


def _tell_all(waiting: list[tuple[Told, Outcome]]) -> None:
    for told, outcome in waiting:
        told(outcome)
