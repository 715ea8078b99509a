"""Keys, and the file in the shop's home that holds what is needed to recognise them.

A key is shown once, when it is made. HOME/keys.json keeps its HMAC-SHA256 under a random salt of the
file: a key has 192 random bits, so nothing slower is needed to keep it from being guessed. For a browser
key the file also keeps what its session tokens are signed with (see tokens.py), which is derived from it.
Every change is written aside, synced and renamed, under a lock, so that the service and the command line
may change it at the same time.
"""

from __future__ import annotations

import fcntl
import hmac
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from intently.errors import ConfigError, InputError
from intently.serving.http.tokens import signing_secret

MADE_SCOPES: Final = ("browser", "server", "admin")
MAX_LIVE: Final = 100
MAX_ENDED: Final = 100
MAX_DAYS: Final = 3650
DAY_S: Final = 86400.0
LAYOUT: Final = 1
_ID_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"


@dataclass(frozen=True, slots=True)
class Key:
    """What is kept of a key; times are seconds since 1970, `used` is the day it was last shown."""

    id: str
    scope: str
    digest: str = field(repr=False)
    signs: str = field(repr=False)  # browser keys only: hex of what signs their tokens
    created_s: float
    expires_s: float | None
    revoked_s: float | None = None
    used: str = ""

    def state(self, now_s: float) -> str:
        """live | expired | revoked."""
        if self.revoked_s is not None:
            return "revoked"
        return "live" if self.expires_s is None or now_s < self.expires_s else "expired"


@dataclass(frozen=True, slots=True)
class Kept:
    """The file's content."""

    salt: bytes = field(repr=False)
    keys: tuple[Key, ...] = ()


class KeyBook:
    """The keys of one shop's home; raises ConfigError when their file is damaged."""

    def __init__(self, home: Path) -> None:
        self.path = home / "keys.json"

    def read(self) -> Kept:
        """Everything kept; a fresh salt and no keys where there is no file."""
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return Kept(secrets.token_bytes(32))
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be read: {error.strerror}") from error
        try:
            held = orjson.loads(text)
            if held["layout"] != LAYOUT:
                raise ValueError("of another layout")
            return Kept(bytes.fromhex(held["salt"]), tuple(_checked(one) for one in held["keys"]))
        except (ValueError, KeyError, TypeError):
            hint = "restore it from a copy; or remove it, then every key must be made anew"
            raise ConfigError(f"{self.path} is damaged", hint=hint) from None

    def make(self, scope: str, days: float, now_s: float) -> tuple[str, Key]:
        """A new key, to be shown once, and what is kept of it; days 0: it does not expire."""
        if scope not in MADE_SCOPES:
            raise InputError(f"scope is {scope!r}; allowed: {', '.join(MADE_SCOPES)}", field="scope")
        if not 0 <= days <= MAX_DAYS:
            raise InputError(f"days is {days:g}; allowed: 0 to {MAX_DAYS}", field="days")
        ident = "".join(secrets.choice(_ID_LETTERS) for _ in range(8))
        text = f"intently_{scope}_{ident}_{secrets.token_urlsafe(24)}"
        expires_s = now_s + days * DAY_S if days else None
        signs = signing_secret(text).hex() if scope == "browser" else ""

        def add(kept: Kept) -> Kept:
            if sum(key.state(now_s) == "live" for key in kept.keys) >= MAX_LIVE:
                raise InputError(f"{MAX_LIVE} keys are live already", hint="revoke those not used any more")
            made = Key(ident, scope, digest(kept.salt, text.encode()).hex(), signs, now_s, expires_s)
            ended = [key for key in kept.keys if key.state(now_s) != "live"][:-MAX_ENDED]
            return replace(kept, keys=(*(key for key in kept.keys if key not in ended), made))

        return text, self._change(add).keys[-1]

    def revoke(self, ident: str, now_s: float) -> Key:
        """End a key at once."""
        return self._put(ident, lambda key: key if key.revoked_s else replace(key, revoked_s=now_s))

    def rotate(self, ident: str, days: float, overlap_days: float, now_s: float) -> tuple[str, Key]:
        """A new key of the same scope; the old one goes on for `overlap_days`, then expires."""
        old = next((key for key in self.read().keys if key.id == ident), None)
        if old is None or old.state(now_s) != "live":
            raise InputError(f"no live key has the id {ident[:40]!r}", hint="`intently keys list` shows them")
        if not 0 <= overlap_days <= MAX_DAYS:
            raise InputError(f"overlap is {overlap_days:g} days; allowed: 0 to {MAX_DAYS}", field="overlap")
        made = self.make(old.scope, days, now_s)
        end_s = now_s + overlap_days * DAY_S
        self._put(ident, lambda key: replace(key, expires_s=min(end_s, key.expires_s or end_s)))
        return made

    def used(self, days: dict[str, str]) -> None:
        """Note the days on which keys were last shown."""
        self._change(
            lambda kept: replace(
                kept, keys=tuple(replace(key, used=days.get(key.id, key.used)) for key in kept.keys)
            )
        )

    def _put(self, ident: str, change: Callable[[Key], Key]) -> Key:
        def put(kept: Kept) -> Kept:
            if not any(key.id == ident for key in kept.keys):
                hint = "`intently keys list` shows them"
                raise InputError(f"no key has the id {ident[:40]!r}", hint=hint, field="id")
            return replace(kept, keys=tuple(change(key) if key.id == ident else key for key in kept.keys))

        return next(key for key in self._change(put).keys if key.id == ident)

    def _change(self, change: Callable[[Kept], Kept]) -> Kept:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked():
            kept = change(self.read())
            held = {"layout": LAYOUT, "salt": kept.salt.hex(), "keys": [asdict(key) for key in kept.keys]}
            aside = self.path.with_suffix(".new")
            handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(orjson.dumps(held, option=orjson.OPT_INDENT_2))
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, self.path)
        return kept

    @contextmanager
    def _locked(self) -> Iterator[None]:
        handle = os.open(self.path.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def digest(salt: bytes, shown: bytes) -> bytes:
    """What is kept and compared in place of a key."""
    return hmac.digest(salt, shown, "sha256")


def day(now_s: float) -> str:
    """The UTC day of a moment.

    >>> day(0.0)
    '1970-01-01'
    """
    return datetime.fromtimestamp(now_s, UTC).date().isoformat()


def _checked(held: dict[str, Any]) -> Key:
    key = Key(**held)
    if key.scope not in MADE_SCOPES or len(bytes.fromhex(key.digest)) != 32:
        raise ValueError("not a key")
    if (key.scope == "browser") != (len(bytes.fromhex(key.signs)) == 32):
        raise ValueError("not a key")
    moments = (key.created_s, *(s for s in (key.expires_s, key.revoked_s) if s is not None))
    if not all(isinstance(s, int | float) for s in moments) or not isinstance(key.id, str):
        raise ValueError("not a key")
    return key
