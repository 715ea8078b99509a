"""What was served lately: so that pages go on where they stood, and nothing is shown twice too soon.

Kept in memory only, apart from what users did: a restart forgets it, and says so (410) to an old cursor.
What other services of the shop showed is noted here too.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from intently.errors import GoneError, InputError
from intently.schema import ByteArray, DoubleArray, IntArray
from intently.serving.shapes.answers import Arm

MOST_USERS: Final = 50_000
MOST_LISTS: Final = 50  # of one user
MOST_PAGES: Final = 5_000
PAGE_S: Final = 1800.0
_SIGNATURE: Final = 16


class Served:
    """By user id: the latest lists and when they were shown; the longest unasked user goes first."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, deque[tuple[float, IntArray]]] = OrderedDict()
        self._writing = threading.Lock()

    def note(self, who: str, numbers: IntArray, at_s: float) -> None:
        """A list was shown."""
        with self._writing:
            lists = self._of.setdefault(who, deque(maxlen=MOST_LISTS))
            self._of.move_to_end(who)
            lists.append((at_s, numbers))
            if len(self._of) > MOST_USERS:
                self._of.popitem(last=False)

    def forget(self, who: str) -> None:
        """Drop what was shown to a user."""
        with self._writing:
            self._of.pop(who, None)

    def since(self, who: str, from_s: float) -> IntArray:
        """Item numbers shown from then on, one entry each time."""
        shown = [numbers for at_s, numbers in list(self._of.get(who, ())) if at_s >= from_s]
        return np.concatenate(shown) if shown else np.zeros(0, np.int32)


@dataclass(slots=True)
class Page:
    """The whole order of one answer, of which pages are slices."""

    who: str
    made_s: float
    numbers: IntArray
    scores: DoubleArray
    sources: ByteArray
    propensity: DoubleArray
    arm: Arm | None = None  # of the experiment that the order was made in


class Pages:
    """Orders of the latest answers, and the signed cursors into them.

    secret: signs them; services that know it go on with each other's. elsewhere: finds what another made,
    by answer and who asked.
    """

    def __init__(self, secret: bytes) -> None:
        self._of: OrderedDict[str, Page] = OrderedDict()
        self._writing = threading.Lock()
        self._secret = secret
        self.elsewhere: Callable[[str, str], Page | None] = lambda _name, _who: None

    def keep(self, name: str, page: Page) -> None:
        """`name` is the id of the answer."""
        with self._writing:
            self._of[name] = page
            if len(self._of) > MOST_PAGES:
                self._of.popitem(last=False)

    def forget(self, who: str) -> None:
        """Drop a user's lists."""
        with self._writing:
            for name in [name for name, page in self._of.items() if page.who == who]:
                del self._of[name]

    def cursor(self, name: str, start: int) -> str:
        """A token that only services of this shop can make."""
        return f"{name}.{start}.{self._sign(name, start)}"

    def at(self, cursor: str, who: str, now_s: float) -> tuple[str, Page, int]:
        """(answer, its page, where to go on); InputError for a strange cursor, GoneError for an old one."""
        name, _, rest = cursor.partition(".")
        start, _, signature = rest.partition(".")
        given = int(start) if start.isascii() and start.isdigit() and len(start) < 6 else -1
        if given < 0 or not hmac.compare_digest(signature.encode(), self._sign(name, given).encode()):
            raise InputError("the cursor was not made by this service", field="cursor", hint=_AGAIN)
        page = self._of.get(name) or self.elsewhere(name, who)
        if page is None or now_s - page.made_s > PAGE_S:
            raise GoneError("the cursor is too old", field="cursor", hint=_AGAIN)
        if page.who != who:
            raise InputError("the cursor belongs to another user", field="cursor", hint=_AGAIN)
        return name, page, given

    def _sign(self, name: str, start: int) -> str:
        said = f"{name}.{start}".encode("utf-8", "replace")
        return hashlib.blake2b(said, digest_size=_SIGNATURE // 2, key=self._secret).hexdigest()


_AGAIN: Final = "ask without cursor for a new list; cursors hold for half an hour and until a restart"
