"""Who asks: the key that was shown, what it may do, and for whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from intently.errors import NotAllowedError

Scope = Literal["open", "browser", "server", "admin"]
"""What a route asks for, from nothing to administration; each scope may do all that those before it may."""

RANK: Final[dict[str, int]] = {name: rank for rank, name in enumerate(get_args(Scope))}


@dataclass(frozen=True, slots=True)
class Caller:
    """`key_id` names the key in lists and logs; user and session are set for a browser, and bind it."""

    key_id: str
    scope: Scope
    user_id: str | None = None
    session_id: str | None = None

    @property
    def bound(self) -> bool:
        """Whether it speaks for one session only."""
        return RANK[self.scope] < RANK["server"]

    def may(self, scope: Scope) -> bool:
        """Whether a route of this scope is open to it.

        >>> Caller("k1", "server").may("browser"), Caller("k1", "server").may("admin")
        (True, False)
        """
        return RANK[self.scope] >= RANK[scope]

    def filled(self, given: Mapping[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
        """What was given, with the own user and session where those of `fields` were left out."""
        own = {"user_id": self.user_id, "session_id": self.session_id}
        return {name: own[name] for name in fields if own[name] is not None} | {
            name: value for name, value in given.items() if value is not None or name not in own
        }

    def check(self, user_id: object, session_id: object) -> None:
        """Raise NotAllowedError when a bound caller names a user or a session that is not its own."""
        if not self.bound:
            return
        for field, named, own in (
            ("session_id", session_id, self.session_id),
            ("user_id", user_id, self.user_id),
        ):
            if named is not None and named != own:
                raise NotAllowedError(
                    f"{field} is not the one that this session's token was made for",
                    hint=f"leave {field} out: the token names it",
                    field=field,
                )


ANYONE: Final = Caller("", "open")
LOCAL: Final = Caller("loopback", "admin")
"""Whoever reaches a service that needs no key, because only this machine can."""
