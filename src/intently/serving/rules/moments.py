"""A moment written by a person, to seconds."""

from __future__ import annotations

from datetime import UTC, datetime


def seconds_of(text: str) -> float | None:
    """Seconds since 1970 of RFC 3339 or a day; without a zone it is UTC; None for anything else.

    >>> seconds_of("2026-11-30"), seconds_of("2026-11-30T01:00:00+01:00"), seconds_of("soon")
    (1795996800.0, 1795996800.0, None)
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
