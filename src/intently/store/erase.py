"""A user taken out of the file for good."""

from __future__ import annotations

import secrets
import sqlite3
from typing import Final

ERASED: Final = "erased:"
"""What the ids of erased users begin with."""


def erase_user(db: sqlite3.Connection, user_id: str) -> int:
    """Inside a transaction: events, attributes and id of a user; how many events there were.

    The user's key stays, under a name that nobody has: a key that came back for somebody else would make
    their events look like the erased ones. 0 for a user nobody knows.
    """
    found = db.execute("SELECT key FROM users WHERE id = ?", (user_id,)).fetchone()
    if found is None:
        return 0
    n = db.execute("DELETE FROM events WHERE user = ?", found).rowcount
    db.execute("UPDATE users SET id = ?, attributes = NULL WHERE key = ?", (erased_name(), *found))
    return int(n)


def erased_name() -> str:
    """An id that nobody has."""
    return f"{ERASED}{secrets.token_hex(8)}"
