"""Ids of answers: when, and something that nobody guesses."""

from __future__ import annotations

import secrets
import time
from typing import Final

PREFIX: Final = "rec_"
AT_ONCE: Final = 256
_DRAWN: Final[list[str]] = []  # parts that no id has yet; one list's `pop` is safe in many threads


def new_id() -> str:
    """Of an answer: 12 hexadecimal digits of milliseconds since 1970, then 16 drawn at random.

    Ids sort by time, so that the log is pruned by them; the random part keeps them from being guessed. It is
    drawn for many ids at once, as asking the system costs as much as a tenth of an answer.
    """
    try:
        drawn = _DRAWN.pop()
    except IndexError:
        text = secrets.token_hex(8 * AT_ONCE)
        drawn, *more = (text[at : at + 16] for at in range(0, len(text), 16))
        _DRAWN.extend(more)
    return f"{PREFIX}{time.time_ns() // 1_000_000:012x}{drawn}"


def key_of(name: str) -> bytes | None:
    """The 14 bytes of an id, None for anything else.

    >>> key_of("rec_0193ABC4D5E60011223344556677"), key_of("rec_x"), key_of("")
    (None, None, None)
    >>> key_of("rec_0193abc4d5e60011223344556677").hex()
    '0193abc4d5e60011223344556677'
    """
    text = name.removeprefix(PREFIX)
    if len(text) != 28 or not name.startswith(PREFIX) or text.lower() != text:
        return None
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None


def key_at(wall_s: float) -> bytes:
    """The smallest key of a moment."""
    return int(max(wall_s, 0.0) * 1000).to_bytes(6, "big")


def moment_of(key: bytes) -> float:
    """Seconds since 1970, by the clock of the machine that answered."""
    return int.from_bytes(key[:6], "big") / 1000
