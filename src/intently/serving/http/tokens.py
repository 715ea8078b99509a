"""Session tokens: what a browser shows in place of a key.

The shop's own server holds a browser key and signs a token for each visit; the key itself never goes to a
browser. A token is four parts joined by dots:

    session1.<id of the key>.<payload>.<signature>

payload: base64url of {"session": ..., "user": ... or absent, "expires": seconds since 1970}.
signature: base64url of HMAC-SHA256 over everything before the last dot. It is made with
HMAC-SHA256(key, "intently session token"), so what the service keeps to check tokens is not the key.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Final, TypeGuard

import orjson

from intently.errors import InputError

MARK: Final = b"session1"
MAX_TOKEN: Final = 2048
MAX_DAYS: Final = 7.0
MAX_ID: Final = 256


@dataclass(frozen=True, slots=True)
class Shown:
    """A token taken apart; nothing of it is to be believed before `signed_by`."""

    key_id: str
    signed: bytes
    payload: bytes
    signature: bytes

    def signed_by(self, secret: bytes) -> bool:
        """Whether the signature was made with this secret; takes as long when not."""
        return hmac.compare_digest(hmac.digest(secret, self.signed, "sha256"), self.signature)


def signing_secret(key: str) -> bytes:
    """What a browser key signs its tokens with."""
    return hmac.digest(key.encode(), b"intently session token", "sha256")


def mint(key: str, session_id: str, user_id: str | None = None, *, expires_s: float) -> str:
    """A token for one visit, made with a browser key; expires_s: at most 7 days from now."""
    parts = key.split("_", 3)
    if len(parts) != 4 or parts[:2] != ["intently", "browser"]:
        raise InputError("only a browser key signs tokens", hint="intently keys make --scope browser")
    held = {"session": session_id, "expires": int(expires_s)} | ({"user": user_id} if user_id else {})
    signed = b".".join((MARK, parts[2].encode(), urlsafe_b64encode(orjson.dumps(held)).rstrip(b"=")))
    signature = hmac.digest(signing_secret(key), signed, "sha256")
    return b".".join((signed, urlsafe_b64encode(signature).rstrip(b"="))).decode()


def taken_apart(token: bytes) -> Shown | None:
    """The parts of what looks like a token, None for anything else."""
    if len(token) > MAX_TOKEN or not token.startswith(MARK + b"."):
        return None
    parts = token.split(b".")
    if len(parts) != 4:
        return None
    try:
        key_id, payload, signature = parts[1].decode("ascii"), _decoded(parts[2]), _decoded(parts[3])
    except ValueError:
        return None
    return Shown(key_id, token[: token.rindex(b".")], payload, signature)


@dataclass(frozen=True, slots=True)
class Named:
    """Whom a token speaks for, and until when."""

    session_id: str
    user_id: str | None
    expires_s: float


def named(payload: bytes, now_s: float) -> Named | None:
    """What a payload says whose signature was right; None when it is over, or not well made."""
    try:
        held = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(held, dict):
        return None
    session, user, expires = held.get("session"), held.get("user"), held.get("expires")
    if not isinstance(expires, int) or not now_s < expires <= now_s + MAX_DAYS * 86400 + 60:
        return None
    if not _is_id(session):
        return None
    if user is None:
        return Named(session, None, expires)
    return Named(session, user, expires) if _is_id(user) else None


def _is_id(value: object) -> TypeGuard[str]:
    return (
        isinstance(value, str) and 0 < len(value) <= MAX_ID and value.isprintable() and value == value.strip()
    )


def _decoded(part: bytes) -> bytes:
    return urlsafe_b64decode(part + b"=" * (-len(part) % 4))
