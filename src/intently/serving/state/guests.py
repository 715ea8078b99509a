"""Guests: who acts in a session without a name, and whom the session turns out to be.

A guest is a user whose id is GUEST and the session's id. The first named user who acts in the session is
taken for the guest from then on: what the guest did counts for the user. This follows from the log alone,
so it needs no table of its own and is the same after a restart. On a device that several people use, the
first one to sign in within a session gets the guest's past; a new session begins with nobody's.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from intently.serving.state.numbers import Numbers

GUEST: Final = "session:"


def guest_id(session_id: str) -> str:
    """The user id of a session's guest."""
    return GUEST + session_id


class Guests:
    """Which guests a user was; numbers are those of the memory's users."""

    def __init__(self, users: Numbers) -> None:
        self._users = users
        self._was: dict[int, list[int]] = {}
        self._owner: dict[int, int] = {}
        self._named: dict[str, int] = {}  # sessions in which a named user acted before any guest did

    def read(self, log: pl.DataFrame) -> None:
        """Everything of user_id and session_id in a log, in its order."""
        if "session_id" not in log.columns:
            return
        named = log.filter(pl.col("session_id").is_not_null() & ~pl.col("user_id").str.starts_with(GUEST))
        pairs = named.select("session_id", "user_id").unique("session_id", keep="first", maintain_order=True)
        for session_id, user_id in pairs.iter_rows():
            self.met(user_id, session_id)

    def met(self, user_id: str, session_id: str | None) -> None:
        """A user acted in a session."""
        if session_id is None or user_id.startswith(GUEST):
            return
        guest = self._users.get(guest_id(session_id))
        if guest < 0:
            self._named.setdefault(session_id, self._users.add(user_id))
        elif guest not in self._owner:
            self._belongs(guest, self._named.get(session_id, self._users.add(user_id)))

    def came(self, guest: int, guest_name: str) -> None:
        """A guest acted: theirs is the session of a user who is known already."""
        owner = self._named.get(guest_name.removeprefix(GUEST))
        if owner is not None and guest not in self._owner:
            self._belongs(guest, owner)

    def _belongs(self, guest: int, owner: int) -> None:
        self._owner[guest] = owner
        self._was.setdefault(owner, []).append(guest)

    def owner(self, user: int) -> int:
        """The user that a guest turned out to be; anyone else's own number."""
        return self._owner.get(user, user)

    def named(self, guest_name: str) -> int:
        """The user who acted in a guest's session before any guest did, -1 for nobody."""
        return self._named.get(guest_name.removeprefix(GUEST), -1) if guest_name.startswith(GUEST) else -1

    def sessions(self, user: int) -> list[str]:
        """The guest ids of sessions in which this user acted before any guest did."""
        return [guest_id(session) for session, owner in list(self._named.items()) if owner == user]

    def were(self, user: int) -> list[int]:
        """The guests that a user was."""
        return self._was.get(user, [])
