"""Scenarios: named ways to ask, each a handful of settings.

A shop lays its own over them, or adds some, in intently.toml:

    [scenarios.home]
    served_hours = 12

    [scenarios.checkout]
    like = "cart"
    n = 4
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from intently.config import Settings
from intently.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a list is made of.

    first: who names the items that come first (answer/candidates.py); the model and popular items follow
    where `fill` is true. bought: whether what was bought may come back (None: as the model learned).
    in_cart: whether what lies in the cart may come. served_hours: what was shown within them does not come
    again. fatigue: how much each showing within a day takes off an item's score, 0 to 1.
    """

    name: str
    first: str = "model"
    n: int = 10
    bought: bool | None = None
    in_cart: bool = False
    served_hours: float = 0.0
    fatigue: float = 0.0
    fill: bool = True


USUAL: Final[tuple[Scenario, ...]] = (
    Scenario("home"),
    Scenario("similar", first="similar"),
    Scenario("bought_together", first="together"),
    Scenario("cart", first="together"),
    Scenario("buy_again", first="own", bought=True, fill=False),
    Scenario("trending", first="trending"),
    Scenario("new", first="new"),
    Scenario("welcome", first="welcome"),
    Scenario("email", served_hours=24.0 * 7),
)

FIRST: Final = ("model", "similar", "together", "own", "trending", "new", "welcome")


def scenarios_of(settings: Settings) -> dict[str, Scenario]:
    """By name: the usual ones, with the shop's own over them. Raises ConfigError."""
    found = {scenario.name: scenario for scenario in USUAL}
    for name, given in settings.scenarios.items():
        like = str(given.get("like", name if name in found else "home"))
        if like not in found:
            raise ConfigError(
                f"[scenarios.{name}]: like = {like!r} names no scenario",
                hint=f"there are: {', '.join(found)}",
                field="scenarios",
            )
        own = {key: value for key, value in given.items() if key != "like"}
        found[name] = laid_over(replace(found[like], name=name), own, f"scenarios.{name}")
    return found


def laid_over(scenario: Scenario, given: Mapping[str, Any], place: str) -> Scenario:
    """The scenario with these settings in place of its own. Raises ConfigError, naming the table `place`."""
    known = {one.name: one for one in fields(Scenario) if one.name != "name"}
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(known)}"
            field = place.partition(".")[0]
            raise ConfigError(f"[{place}]: unknown setting {key!r}", hint=hint, field=field)
        values[key] = _checked(place, key, value)
    return replace(scenario, **values)


def _checked(place: str, key: str, value: Any) -> Any:
    """The value, or ConfigError with what is allowed."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    allowed = {
        "first": (value in FIRST, f"one of {', '.join(FIRST)}"),
        "n": (isinstance(value, int) and number and 1 <= value <= 100, "1 to 100"),
        "served_hours": (number and 0 <= value <= 24 * 365, "hours, 0 to 8760"),
        "fatigue": (number and 0 <= value <= 1, "0 to 1"),
    }.get(key, (isinstance(value, bool), "true or false"))
    if not allowed[0]:
        said = f"[{place}]: {key} = {value!r}; allowed: {allowed[1]}"
        raise ConfigError(said, field=place.partition(".")[0])
    return float(value) if key in ("served_hours", "fatigue") else value
