"""Counts beside those who write: what has gathered is counted in a thread of its own.

Whole arrays are counted largely without the interpreter's lock, so that events go on being written and
remembered meanwhile. Who brings them faster than they are counted is held back a little at a time: a long
stop when too many wait would hold up all requests at once.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from intently.serving.online.counters import GATHER, Counters

BEHIND: Final = 4 * GATHER
"""Events that may wait before who brings more is held back."""

HOLD_S: Final = 0.008
"""How long, where just more than that wait; in proportion where more do."""

log = logging.getLogger("intently.serving")


class Counting:
    """Counts what has gathered in `counters`; `brought` says that something came."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._much = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="intently-counting", daemon=True)

    def start(self) -> None:
        """Begin to count."""
        self._thread.start()

    def stop(self) -> None:
        """End; what still waits is counted by the next service, from the log."""
        if self._thread.is_alive():
            self._ending = True
            self._much.set()
            self._thread.join(timeout=30)

    def brought(self) -> None:
        """Called by who brings events, after each group of them."""
        waiting = self._counters.waiting
        if waiting >= GATHER:
            self._much.set()
        if waiting > BEHIND and self._thread.is_alive():
            time.sleep(HOLD_S * waiting / BEHIND)

    def _run(self) -> None:
        while True:
            self._much.wait()
            self._much.clear()
            if self._ending:
                return
            try:
                self._counters.settle()
            except Exception:
                log.exception("events were stored and remembered, but not counted")
