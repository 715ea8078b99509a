"""Experiments: the users of a scenario in arms, each with settings of its own, named in every answer.

    [experiments.calm]
    scenario = "home"
    arms.as_before = { share = 0.5 }
    arms.rested = { share = 0.5, fatigue = 0.3 }

Who is in which arm follows from a hash of the experiment's name and the user's id (Kohavi, Tang and Xu,
"Trustworthy Online Controlled Experiments", 2020, ch. 4): even, independent of other experiments, and the
same after a restart and in every process. A guest counts by the session until they sign in. Whoever tells
neither is in no arm, and so is the share of users that the arms leave over.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate
from typing import Any

from intently.config import Settings
from intently.errors import ConfigError
from intently.serving.state.scenarios import Scenario, laid_over

BETWEEN = "/"


@dataclass(frozen=True, slots=True)
class Experiment:
    """Arms by name, and up to which part of the hashes each goes."""

    name: str
    ends: tuple[float, ...]
    arms: tuple[tuple[str, Scenario], ...]

    def of(self, who: str) -> tuple[str, Scenario] | None:
        """The arm of a user or guest, None outside all."""
        digest = blake2b(f"{self.name}\0{who}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        at = int.from_bytes(digest, "little") / 2**64
        return next((arm for end, arm in zip(self.ends, self.arms, strict=True) if at < end), None)


class Experiments:
    """Those of a shop's settings; `lists` counts answers by experiment and arm. Raises ConfigError."""

    def __init__(self, settings: Settings, scenarios: Mapping[str, Scenario]) -> None:
        self._by_scenario: dict[str, Experiment] = {}
        self._arms: dict[str, Scenario] = {}
        self.lists: Counter[str] = Counter()
        self._counting = threading.Lock()
        for name, given in settings.experiments.items():
            scenario = _scenario(name, given, scenarios)
            if scenario.name in self._by_scenario:
                other = self._by_scenario[scenario.name].name
                raise _error(
                    f"[experiments.{name}]: {scenario.name!r} is in {other!r} already", "end one of them"
                )
            made = _experiment(name, given.get("arms"), scenario)
            self._by_scenario[scenario.name] = made
            self._arms |= dict(made.arms)

    def of(self, scenario: Scenario, who: str) -> tuple[Scenario, str | None]:
        """How this user is answered, and the arm that says so ("experiment/arm"); a list that counts."""
        found = self._by_scenario.get(scenario.name) if self._by_scenario else None
        arm = found.of(who) if found and who else None
        if arm is None:
            return scenario, None
        with self._counting:
            self.lists[arm[0]] += 1
        return arm[1], arm[0]

    def under(self, scenario: Scenario, arm: str | None) -> Scenario:
        """The settings of an arm by its name; the scenario's own where there is no such arm (any more)."""
        return self._arms.get(arm, scenario) if arm else scenario


def _scenario(name: str, given: Mapping[str, Any], scenarios: Mapping[str, Scenario]) -> Scenario:
    if BETWEEN in name:
        raise _error(f"[experiments.{name}]: a name holds no {BETWEEN!r}", "call it otherwise")
    if unknown := sorted(set(given) - {"scenario", "arms"}):
        raise _error(f"[experiments.{name}]: unknown setting {unknown[0]!r}", "allowed: scenario, arms")
    asked = given.get("scenario", "home")
    if asked not in scenarios:
        raise _error(
            f"[experiments.{name}]: scenario = {asked!r} names no scenario",
            f"there are: {', '.join(scenarios)}",
        )
    return scenarios[asked]


def _experiment(name: str, given: object, scenario: Scenario) -> Experiment:
    if not isinstance(given, Mapping) or len(given) < 2:
        raise _error(
            f"[experiments.{name}]: needs two arms or more", "arms.a = { share = 0.5 } and arms.b = { ... }"
        )
    arms, shares = [], []
    for arm, said in given.items():
        place = f"[experiments.{name}]: arm {arm!r}"
        if not isinstance(said, Mapping) or BETWEEN in arm:
            raise _error(f"{place} must be a table whose name holds no {BETWEEN!r}", "{ share = 0.5, n = 5 }")
        share = said.get("share")
        if not isinstance(share, int | float) or isinstance(share, bool) or not 0 < share <= 1:
            raise _error(f"{place}: share = {share!r}; allowed: above 0, at most 1", "say share = 0.5")
        rest = {key: value for key, value in said.items() if key != "share"}
        arms.append((f"{name}{BETWEEN}{arm}", laid_over(scenario, rest)))
        shares.append(float(share))
    if sum(shares) > 1 + 1e-9:
        raise _error(
            f"[experiments.{name}]: shares add up to {sum(shares):g}; allowed: at most 1", "make them smaller"
        )
    return Experiment(name, tuple(accumulate(shares)), tuple(arms))


def _error(message: str, hint: str) -> ConfigError:
    return ConfigError(message, hint=hint, field="experiments")
