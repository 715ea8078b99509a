"""Events on disk before they are acknowledged, and in memory before the answer leaves.

One thread writes. While a commit is synced, the events of other requests gather and share the next one
(group commit). After each commit the memory reads on in the store from the row it knows, so that what
another process imports beside the service comes in by the same door, in the same order.
"""

from __future__ import annotations

import logging
import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass

from intently.errors import IntentlyError, NotReadyError
from intently.serving.state.memory import Memory
from intently.store import SqliteStore

log = logging.getLogger("intently.serving")

GROUP_EVENTS = 2000
MAX_WAITING = 2000
LOOK_S = 2.0

EventRow = dict[str, object]


@dataclass(frozen=True, slots=True)
class Submitted:
    """Events of one request and where their outcome goes: for each, whether it was new."""

    rows: list[EventRow]
    outcome: Future[list[bool]]


class Ledger:
    """The single writer of a service; `memory` holds all that is on disk."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        log_frame = store.events_since(0)
        self._row = int(log_frame["row"][-1]) if log_frame.height else 0
        self.memory = Memory(log_frame)
        self._queue: queue.Queue[Submitted | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._work, name="intently-ledger", daemon=True)
        self.trouble = ""

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, then end."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join(timeout=30)

    def submit(self, rows: list[EventRow]) -> Future[list[bool]]:
        """Queue typed rows (see store.EVENT_TYPES); raises NotReadyError when too many wait."""
        outcome: Future[list[bool]] = Future()
        try:
            self._queue.put_nowait(Submitted(rows, outcome))
        except queue.Full:
            raise NotReadyError("too many events wait to be written", hint="send them again soon") from None
        return outcome

    def _work(self) -> None:
        going = True
        while going:
            group: list[Submitted] = []
            try:
                first = self._queue.get(timeout=LOOK_S)
                going = self._gather(first, group)
            except queue.Empty:
                self._look()
            if group:
                self._write(group)

    def _gather(self, first: Submitted | None, group: list[Submitted]) -> bool:
        """Everything that waits, up to GROUP_EVENTS; False when it is time to end."""
        submitted, n = first, 0
        while submitted is not None:
            group.append(submitted)
            n += len(submitted.rows)
            if n >= GROUP_EVENTS:
                return True
            try:
                submitted = self._queue.get_nowait()
            except queue.Empty:
                return True
        return False

    def _write(self, group: list[Submitted]) -> None:
        """Store a group; if it is refused as a whole, each request alone, so that one harms no other."""
        try:
            fresh = set(self._store.add_events([row for one in group for row in one.rows]).fresh)
            self._read_on()
            self.trouble = ""
        except Exception as error:  # the writer must outlive whatever the disk does
            if len(group) > 1:
                for one in group:
                    self._write([one])
                return
            self._fail(group[0], error)
            return
        start = 0
        for one in group:
            one.outcome.set_result([start + place in fresh for place in range(len(one.rows))])
            start += len(one.rows)

    def _fail(self, one: Submitted, error: Exception) -> None:
        message = error.message if isinstance(error, IntentlyError) else type(error).__name__
        log.error("events could not be stored: %s", message)
        self.trouble = "events cannot be stored at the moment"
        hint = "they were not accepted: send them again"
        one.outcome.set_exception(NotReadyError(self.trouble, hint=hint))

    def _look(self) -> None:
        """Take in what another process stored."""
        try:
            if self._store.last_row() > self._row:
                self._read_on()
        except Exception as error:
            log.warning("the store could not be read: %s", type(error).__name__)

    def _read_on(self) -> None:
        frame = self._store.events_since(self._row)
        columns = ("user_id", "item_id", "event", "time_s", "session_id")
        for user_id, item_id, event, time_s, session_id in frame.select(columns).iter_rows():
            self.memory.add(user_id, item_id, event, time_s, session_id)
        if frame.height:
            self._row = int(frame["row"][-1])
