"""Progress bars for anything over a second, drawn only when a person looks.

The library is silent; the command line calls `show()` once. Inside, code says

    with progress.track("encoding titles", total=n) as advance:
        advance(len(batch))

Training loops also say each epoch's figures with `epoch`; whoever is `listening` hears them: the record of
the run, or a search that gives up on settings that learn nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

Listener = Callable[[str, int, Mapping[str, float]], None]
"""Hears (which part is trained, "" for the model itself; number of the epoch from 1; its figures)."""

_shown = False
_listeners: list[Listener] = []
_parts: list[str] = []


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


@contextmanager
def listening(hear: Listener) -> Iterator[None]:
    """Let `hear` know of every epoch inside; what it raises ends the training."""
    _listeners.append(hear)
    try:
        yield
    finally:
        _listeners.remove(hear)


@contextmanager
def part(name: str) -> Iterator[None]:
    """Epochs inside belong to this part of a larger model: `boosted` trains its `sequence` like this."""
    _parts.append(name)
    try:
        yield
    finally:
        _parts.pop()


def epoch(number: int, figures: Mapping[str, float]) -> None:
    """Say what the epoch gave: "loss", and "validation" where something was held back (larger is better)."""
    for hear in list(_listeners):
        hear("/".join(_parts), number, figures)
