"""What a training run says of itself while it runs, for the page and for whoever waits.

`training.json` in the shop's folder holds {done, of, step, pid}; the service shows it while the process
lives, and it is removed at the end, however the end comes.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from intently import progress


class Steps:
    """Counts named steps, prints how long each took, and writes the file for the page."""

    def __init__(self, path: Path | None, of: int) -> None:
        self.path, self.of, self.done = path, of, 0
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """One step; its wall seconds land in `seconds`."""
        self._write({"done": self.done, "of": self.of, "step": name, "pid": os.getpid()})
        began = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - began, 2)
        self.done += 1
        progress.note(f"[{self.done}/{self.of}] {name}: {self.seconds[name]:.1f} s")

    def close(self) -> None:
        """Remove the file."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _write(self, said: dict[str, Any]) -> None:
        if self.path is None:
            return
        aside = self.path.with_suffix(".part")
        aside.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps(said), encoding="utf-8")
        aside.replace(self.path)
