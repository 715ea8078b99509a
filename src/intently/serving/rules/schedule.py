"""When a rule holds: between two moments, on some days of the week, at some hours, in a time zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from intently.serving.rules.moments import seconds_of
from intently.serving.shapes.common import Request

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: Final[tuple[Day, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")
_MINUTES: Final = 24 * 60


class Schedule(Request):
    """What is left out does not limit. A rule holds at a moment that all of it allows."""

    starts_at: str | None = Field(None, max_length=40, description="from this moment on, RFC 3339")
    ends_at: str | None = Field(None, max_length=40, description="until before this moment, RFC 3339")
    days: list[Day] = Field(
        default_factory=list, max_length=7, description="mon, tue, wed, thu, fri, sat, sun"
    )
    hours: str | None = Field(
        None, max_length=11, description="09:00-18:00; 22:00-02:00 goes on into the next day"
    )
    time_zone: str = Field("UTC", min_length=1, max_length=64, description="an IANA name, like Asia/Shanghai")

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("no time zone of this name; write it like Europe/Berlin") from None
        return name

    @field_validator("hours")
    @classmethod
    def _known_hours(cls, hours: str | None) -> str | None:
        if hours is not None:
            found = _HOURS.fullmatch(hours)
            if found is None or int(found[3]) * 60 + int(found[4]) > _MINUTES:
                raise ValueError("write hours like 09:00-18:00, up to 24:00")
            if found.groups()[:2] == found.groups()[2:]:
                raise ValueError("these hours begin when they end; leave them out for the whole day")
        return hours

    @model_validator(mode="after")
    def _known_moments(self) -> Schedule:
        for name in ("starts_at", "ends_at"):
            text = getattr(self, name)
            if text is not None and self._moment(text) is None:
                raise ValueError(f"{name} is no moment; write it like 2026-11-30T12:00:00Z or 2026-11-30")
        if self.starts_at and self.ends_at and not self.start_s < self.end_s:
            raise ValueError("starts_at must be before ends_at")
        return self

    @property
    def start_s(self) -> float:
        """Seconds since 1970; minus infinity where it always was."""
        found = self._moment(self.starts_at) if self.starts_at else None
        return float("-inf") if found is None else found

    @property
    def end_s(self) -> float:
        """Seconds since 1970; infinity where it never ends."""
        found = self._moment(self.ends_at) if self.ends_at else None
        return float("inf") if found is None else found

    def holds(self, at_s: float) -> bool:
        """Whether the rule holds at a moment; hours that began yesterday count by yesterday's day.

        >>> friday = Schedule(days=["fri"], hours="22:00-02:00", time_zone="Europe/Berlin")
        >>> [friday.holds(datetime(2026, 11, 27, hour, tzinfo=UTC).timestamp()) for hour in (0, 20, 21, 23)]
        [False, False, True, True]
        """
        if not self.start_s <= at_s < self.end_s:
            return False
        if not self.days and self.hours is None:
            return True
        local = datetime.fromtimestamp(at_s, UTC).astimezone(ZoneInfo(self.time_zone))
        minute = local.hour * 60 + local.minute
        first, last = self._span()
        if first <= minute < last:
            return self._on(local)
        if last > _MINUTES and minute < last - _MINUTES:
            return self._on(local - timedelta(days=1))
        return False

    def _span(self) -> tuple[int, int]:
        """First minute of the day and the one after the last, which may lie in the next day."""
        found = _HOURS.fullmatch(self.hours) if self.hours else None
        if found is None:
            return 0, _MINUTES
        first, last = int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])
        return first, last if last > first else last + _MINUTES

    def _on(self, local: datetime) -> bool:
        return not self.days or DAYS[local.weekday()] in self.days

    def _moment(self, text: str) -> float | None:
        """In the schedule's own zone where the text names none."""
        try:
            bare = datetime.fromisoformat(text.strip())
        except ValueError:
            return None
        if bare.tzinfo is None:
            try:
                return bare.replace(tzinfo=ZoneInfo(self.time_zone)).timestamp()
            except (OverflowError, ValueError):
                return None
        return seconds_of(text)
