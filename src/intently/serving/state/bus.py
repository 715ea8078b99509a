"""What several services of one shop tell each other; `Alone` is a service that has nobody to tell.

Events, items and users are in the store that all of them write to. What goes over the bus is what else one
of them has to know of the others at once: that there is something new in the store, who was erased, what was
shown to whom. Nothing on it has to survive: who missed something reads the store again.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from intently.config import Settings
from intently.errors import ConfigError

Hear = Callable[[str, Any], None]
"""Takes in a message of another service: its kind, and what it says (whatever JSON can hold)."""


class Bus(Protocol):
    """Names of kept things are of our own making: letters, digits, colons."""

    @property
    def alone(self) -> bool:
        """Whether there is nobody to tell, so that nothing need be put into words."""
        ...

    @property
    def trouble(self) -> str:
        """What is wrong, '' when all is well."""
        ...

    @property
    def secret(self) -> bytes:
        """Signs what one service gives out and another gets back."""
        ...

    def start(self, hear: Hear, missed: Callable[[], None], tick: Callable[[], None]) -> None:
        """Begin to listen. missed: called when messages may have been lost. tick: now and then."""
        ...

    def stop(self) -> None:
        """Send what waits, then end."""
        ...

    def tell(self, kind: str, said: Any) -> None:
        """Hand a message over; never waits, never raises."""
        ...

    def gather(self, kind: str, said: Any) -> None:
        """As tell, but it may wait a moment for others of its kind, and they are heard as one list."""
        ...

    def flush(self) -> None:
        """On return, what was gathered and kept before is with the server."""
        ...

    def tell_now(self, kind: str, said: Any) -> bool:
        """Whether every other service has taken the message in, waiting a few seconds for it at most."""
        ...

    def changing(self) -> AbstractContextManager[None]:
        """No other service changes items or users meanwhile, and what they changed before is known here."""
        ...

    def keep(self, name: str, make: Callable[[], bytes], hold_s: float) -> None:
        """Keep something where all can find it; never waits, `make` runs on another thread."""
        ...

    def find(self, name: str) -> bytes | None:
        """What one of the services kept, None when nothing is found."""
        ...

    def of_others(self, name: str) -> dict[str, bytes]:
        """What the other services that run now keep under `name`, a colon and their own name."""
        ...

    @property
    def name(self) -> str:
        """This service's among the others."""
        ...

    def forget(self, people: list[str], names: list[str], but: str) -> None:
        """Delete what was said lately of these people, but for one kind of message, and all that is kept
        under names that begin so."""
        ...

    def claim(self, name: str, hold_s: float) -> bool:
        """Whether this service alone may do something named so, until `release` or for so long."""
        ...

    def release(self, name: str) -> None:
        """Somebody else may do it now."""
        ...


class Alone:
    """The only service of its shop."""

    alone = True
    trouble = ""
    name = ""

    def __init__(self) -> None:
        self.secret = secrets.token_bytes(32)
        self._changing = threading.Lock()

    def start(self, hear: Hear, missed: Callable[[], None], tick: Callable[[], None]) -> None:
        """Nobody is heard."""

    def stop(self) -> None:
        """Nothing runs."""

    def tell(self, kind: str, said: Any) -> None:
        """Nobody is told."""

    def gather(self, kind: str, said: Any) -> None:
        """Nobody is told."""

    def flush(self) -> None:
        """Nothing waits."""

    def tell_now(self, kind: str, said: Any) -> bool:
        """There is no other."""
        return True

    @contextmanager
    def changing(self) -> Iterator[None]:
        """One change at a time."""
        with self._changing:
            yield

    def keep(self, name: str, make: Callable[[], bytes], hold_s: float) -> None:
        """Who made it has it."""

    def find(self, name: str) -> bytes | None:
        """Nothing but one's own."""
        return None

    def of_others(self, name: str) -> dict[str, bytes]:
        """There are none."""
        return {}

    def forget(self, people: list[str], names: list[str], but: str) -> None:
        """Nothing was said."""

    def claim(self, name: str, hold_s: float) -> bool:
        """Nobody else wants it."""
        return True

    def release(self, name: str) -> None:
        """Nobody waits."""


def open_bus(settings: Settings) -> Bus:
    """The bus that the settings name. Raises ConfigError, StoreError when it cannot be reached."""
    if not settings.redis:
        if settings.workers > 1:
            hint = 'redis = "redis://127.0.0.1:6379/0"'
            raise ConfigError(
                "several workers need `redis` to hear of each other", hint=hint, field="workers"
            )
        return Alone()
    if not settings.store:
        hint = 'store = "postgresql://..."; one service with a file needs no redis'
        raise ConfigError(
            "`redis` needs a store that several services may write to", hint=hint, field="store"
        )
    from intently.serving.state.redis_bus import RedisBus

    return RedisBus(settings.redis, settings.store)
