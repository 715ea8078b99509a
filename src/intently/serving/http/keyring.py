"""The live keys of a running service: judges what a request shows.

The file is looked at again when a request comes and the last look is LOOK_S ago, so that a key made or
revoked by the command line counts within that time, without a restart. While it cannot be read, the keys
known so far stay; when it is gone, none does.
"""

from __future__ import annotations

import hmac
import logging
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, cast

from intently.errors import ConfigError
from intently.serving.http.keys import DAY_S, Kept, Key, KeyBook, day, digest
from intently.serving.http.tokens import Shown, named, taken_apart
from intently.serving.shapes.caller import Caller, Scope

LOOK_S: Final = 0.5
MAX_SHOWN: Final = 2048
MAX_KNOWN: Final = 10_000
OWN: Final = "INTENTLY_KEY"
Ill = Literal["wrong", "over"]
"""A guess, or what was right once: expired, revoked, or no key to be shown."""

log = logging.getLogger("intently.serving")


class KeyRing:
    """own: the key of the environment, '' for none; it is an admin key that no file holds."""

    def __init__(self, home: Path, own: str = "", now: Callable[[], float] = time.time) -> None:
        self._book = KeyBook(home)
        self._now = now
        self._own = own.encode()
        self._seen: tuple[int, int, int] | None = (-1, -1, -1)  # nothing looked at yet
        self._looked_s = 0.0
        self._kept = self._book.read()
        self._candidates: list[tuple[Key | None, bytes]] = []
        self._signers: dict[str, tuple[Key, bytes]] = {}
        self._noted: set[str] = set()
        self._noted_day = 0
        self._known: dict[bytes, tuple[Caller, float]] = {}
        self._writing = threading.Lock()
        self.look()

    @property
    def empty(self) -> bool:
        """Whether nothing could ever be shown that is right."""
        return not self._candidates

    def has_admin(self) -> bool:
        """Whether some live key may do everything."""
        now_s = self._now()
        return bool(self._own) or any(
            k.scope == "admin" and k.state(now_s) == "live" for k in self._kept.keys
        )

    def find(self, shown: bytes) -> Caller | Ill:
        """Who shows this key or session token, or why it opens nothing."""
        now_s = self._now()
        if not 0.0 <= now_s - self._looked_s < LOOK_S:
            self.look()
        if len(shown) > MAX_SHOWN:
            return "wrong"
        known = self._known.get(shown)
        if known is not None and now_s < known[1]:
            return known[0]
        found = self._judged(shown, now_s)
        if found == "wrong" and self.look():  # a key that was made a moment ago is no guess
            found = self._judged(shown, now_s)
        return found

    def _judged(self, shown: bytes, now_s: float) -> Caller | Ill:
        token = taken_apart(shown)
        return self._holder(shown, now_s) if token is None else self._visitor(shown, token, now_s)

    def _holder(self, shown: bytes, now_s: float) -> Caller | Ill:
        """Every candidate is compared, in a time that says nothing about which was near."""
        given, found, own = digest(self._kept.salt, shown), None, False
        for key, kept in self._candidates:
            if hmac.compare_digest(given, kept):
                found, own = key, key is None
        if own:
            return self._keep(shown, Caller(OWN, "admin"), math.inf)
        if found is None:
            return "wrong"
        if found.scope == "browser" or found.state(now_s) != "live":
            return "over"  # a browser key signs tokens; shown itself it opens nothing
        self._note(found, now_s)
        caller = Caller(found.id, cast(Scope, found.scope))
        return self._keep(shown, caller, math.inf if found.expires_s is None else found.expires_s)

    def _visitor(self, shown: bytes, token: Shown, now_s: float) -> Caller | Ill:
        """The session and user of a token that a live browser key signed; known from then on."""
        key, secret = self._signers.get(token.key_id, (None, self._kept.salt))
        if not token.signed_by(secret) or key is None:
            return "wrong"
        who = named(token.payload, now_s)
        if who is None or key.state(now_s) != "live":
            return "over"
        self._note(key, now_s)
        found = Caller(key.id, "browser", who.user_id, who.session_id)
        return self._keep(shown, found, min(who.expires_s, key.expires_s or who.expires_s))

    def _keep(self, shown: bytes, found: Caller, until_s: float) -> Caller:
        """Remember what was right, until the file changes, so that it is not worked out again.

        The look-up is by a hash that only this process knows, and bytes are compared only where all 64 bits
        of it agree: how long it takes says nothing of what would be right.
        """
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[shown] = (found, until_s)
        return found

    def look(self) -> bool:
        """Read the file if it changed since the last look, and say whether it did; never raises."""
        self._looked_s = self._now()
        try:
            stat = self._book.path.stat()
            seen = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        except OSError:
            seen = None
        if seen == self._seen:
            return False
        try:
            self._kept = self._book.read() if seen else Kept(self._kept.salt)
        except ConfigError as error:
            log.warning("%s; the keys known so far stay", error.message)
        self._seen = seen
        self._known.clear()
        self._candidates = [(key, bytes.fromhex(key.digest)) for key in self._kept.keys]
        self._signers = {key.id: (key, bytes.fromhex(key.signs)) for key in self._kept.keys if key.signs}
        if self._own:
            self._candidates.append((None, digest(self._kept.salt, self._own)))
        return True

    def _note(self, key: Key, now_s: float) -> None:
        """Once a day and key: a thread writes that it is in use."""
        if key.id in self._noted and self._noted_day == now_s // DAY_S:
            return
        if self._noted_day != now_s // DAY_S:
            self._noted_day = int(now_s // DAY_S)
            self._noted.clear()
        self._noted.add(key.id)
        if key.used != (today := day(now_s)):
            threading.Thread(target=self._write, args=({key.id: today},), daemon=True).start()

    def _write(self, days: dict[str, str]) -> None:
        with self._writing:
            try:
                self._book.used(days)
            except (OSError, ConfigError) as error:
                log.warning("the day a key was used could not be noted: %s", type(error).__name__)
