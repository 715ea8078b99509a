"""Every error a user can meet, in one tree.

    IntentlyError            exit code 1, HTTP 500
    ├── InputError           what was given cannot be used: exit code 2, HTTP 422
    │   ├── ConfigError      a setting is unknown or out of range
    │   ├── UnknownIdError   a user or item nobody has seen: HTTP 404
    │   └── GoneError        what was asked for was there once: HTTP 410
    ├── NotAllowedError      what this key may not do: HTTP 403
    ├── NotReadyError        asked before the answer exists (fit first, train first): HTTP 503
    ├── StoreError           the store is locked, damaged or of another version: HTTP 503
    │   └── StoreFullError   the disk is full: HTTP 507
    ├── ArtifactError        a published folder is damaged or of another version: HTTP 409
    └── MissingExtraError    an optional part is not installed

Each message says what is wrong, what was got and what is allowed; `hint` says what to do next.
"""

from __future__ import annotations


class IntentlyError(Exception):
    """Base of all errors raised on purpose; `hint` is the next step for the user."""

    exit_code = 1
    status = 500

    def __init__(self, message: str, *, hint: str = "", field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.field = field

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class InputError(IntentlyError):
    """What was given cannot be used."""

    exit_code = 2
    status = 422


class ConfigError(InputError):
    """A setting is unknown or out of range."""


class UnknownIdError(InputError):
    """A user or an item that is not in the data."""

    status = 404


class GoneError(InputError):
    """Something that was there once and is not kept any longer."""

    status = 410


class NotAllowedError(IntentlyError):
    """What this caller may not do."""

    status = 403


class NotReadyError(IntentlyError):
    """Asked before the answer exists."""

    status = 503


class StoreError(IntentlyError):
    """The store cannot be read or written: locked, damaged, full or of another version."""

    status = 503


class StoreFullError(StoreError):
    """There is no room on the disk; nothing of the call was stored."""

    status = 507


class ArtifactError(IntentlyError):
    """A published folder is missing, damaged or of another version."""

    status = 409


class MissingExtraError(IntentlyError):
    """An optional part of Intently is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"this needs {package}, which is not installed",
            hint=f"pip install 'intently[{extra}]'",
        )
