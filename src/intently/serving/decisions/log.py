"""Decisions handed over on the request's thread, written by another one.

`keep` puts a reference into a queue and returns: an answer never waits for the log. The writing thread takes
what has gathered a few times a second and commits it at once. When the queue is full, because the disk does
not keep up, a decision is counted as lost and the answers say `degraded`; when the process is killed, what
had not been written (the last fraction of a second) is lost, and the file is whole.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final

from intently.errors import StoreError
from intently.serving.decisions.file import DecisionFile, Reader
from intently.serving.decisions.ids import key_at, key_of
from intently.serving.decisions.record import Decision, Logged

MOST_WAITING: Final = 4096
"""Decisions that may wait: about 30 MB of arrays."""
EVERY_S: Final = 0.2
AT_ONCE: Final = 512
PRUNE_S: Final = 60.0
RECENT_S: Final = 60.0
DAY_S: Final = 86_400.0
log = logging.getLogger("intently.serving")

Order = tuple[Callable[[DecisionFile], object], "Future[object]"]


class DecisionLog:
    """The log of one service.

    path: of the file, beside the store. ids: of every item number, a list that only grows. row: the last row
    of the event store now. days, most_mb: what is older or more is deleted, oldest first; 0 days keep none.
    """

    def __init__(
        self,
        path: Path,
        ids: Sequence[str],
        row: int,
        days: float,
        most_mb: float,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.path, self.days, self.most_mb = path, days, most_mb
        self.reader = Reader(path)
        self.kept = self.lost = 0
        self.bytes = 0
        self._ids, self._row, self._wall = ids, row, wall
        self._waiting: deque[Decision] = deque()
        self._orders: deque[Order] = deque()
        self._wake = threading.Event()
        self._stopped = False
        self._lost_s = 0.0
        self._trouble = ""
        self._damaged = False
        self._thread = threading.Thread(target=self._work, name="intently-decisions", daemon=True)

    @property
    def on(self) -> bool:
        """Whether decisions are kept at all."""
        return self.days > 0

    @property
    def trouble(self) -> str:
        """What is wrong, '' when all is well."""
        if self._trouble:
            return self._trouble
        if self.lost and self._wall() - self._lost_s < RECENT_S:
            return f"{self.lost} decisions were not kept: the log does not keep up with the answers"
        return ""

    def start(self) -> None:
        """Begin to write; a log that was turned off still deletes what it has."""
        if self.on or self.path.exists():
            self._thread.start()

    def stop(self) -> None:
        """Write what waits, then end."""
        self._stopped = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    # -- on the request's thread ----------------------------------------------------------------

    def keep(self, decision: Decision) -> None:
        """Hand over; never waits, never raises. The arrays must not be changed afterwards."""
        if not self.on or not self._thread.is_alive():
            return
        if len(self._waiting) >= MOST_WAITING:
            self.lost += 1
            self._lost_s = self._wall()
            return
        self._waiting.append(decision)
        if len(self._waiting) == AT_ONCE:
            self._wake.set()

    # -- on other threads -----------------------------------------------------------------------

    def find(self, name: str) -> list[Logged]:
        """Every page of an answer, by start; [] when it is not kept. What waits is written first."""
        if key_of(name) is None or not self.on:
            return []
        self.flush()
        return self.reader.find(name)

    def flush(self, timeout_s: float = 10.0) -> None:
        """Return once everything handed over before is in the file, or cannot be written."""
        self._order(lambda _file: None, timeout_s)

    def erase(self, names: Sequence[str], timeout_s: float = 30.0) -> int:
        """Delete every decision of these people (ids as in View.who) for good; how many there were."""
        done = self._order(lambda file: file.erase(names), timeout_s)
        return done if isinstance(done, int) else 0

    def _order(self, order: Callable[[DecisionFile], object], timeout_s: float) -> object:
        """Have it done by the writing thread, after all that was handed over."""
        if not self._thread.is_alive():
            return None
        outcome: Future[object] = Future()
        self._orders.append((order, outcome))
        self._wake.set()
        try:
            return outcome.result(timeout_s)
        except TimeoutError:
            raise StoreError("the decision log does not answer", hint="ask again soon") from None

    # -- the writing thread ---------------------------------------------------------------------

    def _work(self) -> None:
        file, pruned_s = None, 0.0
        while True:
            self._wake.wait(EVERY_S)
            self._wake.clear()
            ending = self._stopped  # looked at before the queue: what came until then is written
            orders = [self._orders.popleft() for _ in range(len(self._orders))]
            file = file or self._opened()
            for _ in range(0, len(self._waiting), AT_ONCE):
                self._write(file)
            for order, outcome in orders:
                _done(order, outcome, file)
            if file is not None and self._wall() - pruned_s >= PRUNE_S:
                pruned_s = self._wall()
                self._prune(file)
            if file is not None and self._damaged:
                file.close()
                file = None
                self._move_aside()
            if ending:
                break
        if file is not None:
            file.close()

    def _opened(self) -> DecisionFile | None:
        """The file; one that is damaged is moved aside, and a new one is begun."""
        for _ in range(2):
            try:
                file = DecisionFile(self.path, self._row, self._wall())
            except StoreError as error:
                self._fail(error)
                if not self._damaged:
                    return None
                self._move_aside()
            else:
                self.bytes = file.size()
                return file
        return None

    def _move_aside(self) -> None:
        """Keep a damaged file under another name."""
        self._damaged = False
        aside = self.path.with_name(f"{self.path.name}.damaged-{int(self._wall())}")
        try:
            self.path.rename(aside)
            for part in ("-wal", "-shm"):
                self.path.with_name(self.path.name + part).unlink(missing_ok=True)
            log.warning("the decision log was damaged: it is kept as %s, and a new one is begun", aside.name)
        except OSError as error:
            log.warning("the decision log cannot be moved aside: %s", error.strerror)

    def _write(self, file: DecisionFile | None) -> None:
        """One commit of what waits; if it cannot be made, each alone, so that one harms no other."""
        group = [self._waiting.popleft() for _ in range(min(len(self._waiting), AT_ONCE))]
        if file is not None and self._added(file, group):
            return
        for decision in group:
            if file is None or self._trouble or not self._added(file, [decision]):
                self.lost += 1
                self._lost_s = self._wall()

    def _added(self, file: DecisionFile, group: Sequence[Decision]) -> bool:
        try:
            file.add(group, self._ids, self._wall())
        except StoreError as error:
            self._fail(error)
            return False
        except Exception:  # the writing thread must outlive whatever it is given
            log.exception("a decision cannot be written")
            return False
        self.kept += len(group)
        self._trouble = ""
        return True

    def _fail(self, error: StoreError) -> None:
        log.error("decisions could not be written: %s", error.message)
        self._trouble = "decisions cannot be written at the moment"
        self._damaged |= any(word in error.message for word in ("malformed", "not a database"))

    def _prune(self, file: DecisionFile) -> None:
        now_s = self._wall()
        try:
            file.prune(key_at(now_s - self.days * DAY_S), int(self.most_mb * 1e6), now_s)
            self.bytes = file.size()
        except StoreError as error:
            self._fail(error)


def _done(
    order: Callable[[DecisionFile], object], outcome: Future[object], file: DecisionFile | None
) -> None:
    if file is None:
        outcome.set_exception(
            StoreError("the decision log cannot be opened", hint="the service's log says why")
        )
        return
    try:
        outcome.set_result(order(file))
    except Exception as error:
        outcome.set_exception(error)
