"""What the shop says of its users, read from the store when it is first asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, Final

from intently.store import EventStore

MOST: Final = 20_000


class Profiles:
    """Attributes by user id; those asked for last are kept."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._of: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._writing = threading.Lock()

    def of(self, user_id: str) -> dict[str, Any]:
        """{} for a stranger."""
        known = self._of.get(user_id)
        if known is not None:
            return known
        found = dict(self._store.user(user_id) or {})
        with self._writing:
            self._of[user_id] = found
            if len(self._of) > MOST:
                self._of.popitem(last=False)
        return found

    def changed_all(self) -> None:
        """Read everyone again."""
        with self._writing:
            self._of.clear()

    def changed(self, user_id: str) -> None:
        """Read again the next time."""
        with self._writing:
            self._of.pop(user_id, None)
