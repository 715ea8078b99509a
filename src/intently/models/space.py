"""Where a model's settings are searched: `SPACE` of a model's class holds a range for each.

    SPACE: ClassVar[Mapping[str, Range]] = {"d": Choice((32, 64, 128)), "dropout": Float(0.0, 0.5)}

Names are the constructor's; "weights.linear" is the key `linear` of the mapping `weights`. What is left out
is not searched: seeds, the horizon, and what only says how long training may take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from intently.errors import InputError

Scalar = bool | int | float | str


@dataclass(frozen=True)
class Float:
    """Numbers from `low` to `high`; log: as many from 0.1 to 1 as from 1 to 10."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check(self.low, self.high, self.log)

    def holds(self, value: object) -> bool:
        """Whether `value` lies in the range."""
        return (
            isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high
        )


@dataclass(frozen=True)
class Int:
    """Whole numbers from `low` to `high`, both included."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        _check(self.low, self.high, self.log)

    def holds(self, value: object) -> bool:
        """Whether `value` lies in the range."""
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True)
class Choice:
    """One of a few values, without an order."""

    options: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        if len(self.options) < 2:
            raise InputError(f"a choice needs two options or more, got {self.options}")

    def holds(self, value: object) -> bool:
        """Whether `value` is one of the options; 1 and True are not the same."""
        return any(value == option and type(value) is type(option) for option in self.options)


Range = Float | Int | Choice
Space = Mapping[str, Range]


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names as mappings inside mappings.

    >>> nested({"l2": 10.0, "weights.linear": 1.0, "weights.covisit": 0.5})
    {'l2': 10.0, 'weights': {'linear': 1.0, 'covisit': 0.5}}
    """
    out: dict[str, Any] = {}
    for name, value in flat.items():
        *outer, last = name.split(".")
        place = out
        for key in outer:
            place = place.setdefault(key, {})
        place[last] = value
    return out


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The inverse: mappings inside mappings as dotted names; an empty mapping stays a value.

    >>> flat({"l2": 10.0, "weights": {"linear": 1.0}})
    {'l2': 10.0, 'weights.linear': 1.0}
    """
    out: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            out |= flat(value, f"{prefix}{name}.")
        else:
            out[f"{prefix}{name}"] = value
    return out


def _check(low: float, high: float, log: bool) -> None:
    if not low < high or (log and not low > 0):
        raise InputError(f"a range must rise, from above 0 where it is logarithmic; got {low} to {high}")
