"""Progress bars for anything over a second, drawn only when a person looks.

The library is silent; the command line calls `show()` once. Inside, code says

    with progress.track("encoding titles", total=n) as advance:
        advance(len(batch))
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_shown = False


def show(on: bool = True) -> None:
    """Turn bars on (the command line does) or off."""
    global _shown
    _shown = on


def shown() -> bool:
    """Whether bars are on."""
    return _shown


@contextmanager
def track(label: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
    """Yield `advance(n)`; draws on stderr, and only on a terminal, with the time left."""
    if not (_shown and sys.stderr.isatty()):
        yield lambda _n: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(label, total=total)
        yield lambda n: bars.advance(task, n)


def note(message: str) -> None:
    """One line on stderr about a finished step; silent in the library."""
    if _shown:
        sys.stderr.write(message + "\n")
        sys.stderr.flush()
