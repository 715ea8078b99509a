"""Ids of answers: when, and something that nobody guesses."""

from __future__ import annotations

import secrets
import threading
import time
from typing import Final

PREFIX: Final = "rec_"
AT_ONCE: Final = 256
RANDOM: Final = 13
"""Hexadecimal digits: 52 bits that nobody guesses."""
_DRAWN: Final[list[str]] = []  # parts that no id has yet
_LAST: Final = [0]  # when the last id was made
_MAKING: Final = threading.Lock()


def new_id() -> str:
    """Of an answer: 15 hexadecimal digits of 1/4096 milliseconds since 1970, then 13 drawn at random.

    Ids of one process sort in the order in which they were made, also those of one millisecond (RFC 9562,
    6.2, method 3): the log is pruned by them, and a replay knows what was shown before. The random part is
    drawn for many ids at once, as asking the system costs as much as a tenth of an answer.
    """
    with _MAKING:
        if not _DRAWN:
            text = secrets.token_hex(RANDOM * AT_ONCE)
            _DRAWN.extend(text[at : at + RANDOM] for at in range(0, len(text), RANDOM))
        _LAST[0] = max(_LAST[0] + 1, time.time_ns() * 4096 // 1_000_000)
        return f"{PREFIX}{_LAST[0]:015x}{_DRAWN.pop()}"


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
