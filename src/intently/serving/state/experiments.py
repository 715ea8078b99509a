"""Experiments: the users of a scenario in arms, each with settings of its own, named in every answer.

    [experiments.calm]
    scenario = ["home", "email"]            # or one; left out: home
    starts = 2026-12-01T00:00:00Z           # by the shop's clock; left out: at once
    ends = 2026-12-15T00:00:00Z             # left out: open
    arms.as_before = { share = 0.5 }
    arms.rested = { share = 0.5, fatigue = 0.3 }

Who is in which arm follows from a hash of the experiment's name and the user's id (Kohavi, Tang and Xu,
"Trustworthy Online Controlled Experiments", 2020, ch. 4): even, independent of other experiments, and the
same after a restart and in every process. A guest counts by the session until they sign in, then by the
user. Whoever tells neither is in no arm, and so is the share of users that the arms leave over.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from itertools import accumulate
from math import inf
from typing import Any

from intently.config import Settings
from intently.errors import ConfigError
from intently.serving.rules.moments import seconds_of
from intently.serving.shapes.answers import Arm
from intently.serving.state.scenarios import Scenario, laid_over

KNOWN = ("scenario", "starts", "ends", "arms")


@dataclass(frozen=True, slots=True)
class Experiment:
    """Arms, the share of users that each gets, and when they hold: start_s <= moment < end_s."""

    name: str
    scenarios: tuple[str, ...]
    start_s: float
    end_s: float
    shares: Mapping[Arm, float]
    ends: tuple[float, ...]  # up to which part of the hashes each arm goes

    def of(self, who: str) -> Arm | None:
        """The arm of a user or guest, None outside all."""
        digest = blake2b(f"{self.name}\0{who}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        at = int.from_bytes(digest, "little") / 2**64
        return next((arm for end, arm in zip(self.ends, self.shares, strict=True) if at < end), None)

    def meets(self, other: Experiment) -> str | None:
        """A scenario that both cover at some moment."""
        both = [name for name in self.scenarios if name in other.scenarios]
        return both[0] if both and self.start_s < other.end_s and other.start_s < self.end_s else None


class Experiments:
    """Those of a shop's settings; `lists` counts answers by arm. Raises ConfigError."""

    def __init__(self, settings: Settings, scenarios: Mapping[str, Scenario]) -> None:
        self.all: dict[str, Experiment] = {}
        self.lists: Counter[Arm] = Counter()
        self._of: dict[str, list[Experiment]] = {}
        self._under: dict[tuple[str, Arm], Scenario] = {}
        self._counting = threading.Lock()
        for name, given in settings.experiments.items():
            made = _experiment(name, given, scenarios)
            for other in self.all.values():
                if met := made.meets(other):
                    said = f"[experiments.{name}]: {met!r} is in {other.name!r} at the same time"
                    raise _error(said, "end one before the other starts, or cover other scenarios")
            self.all[name] = made
            for scenario in made.scenarios:
                self._of.setdefault(scenario, []).append(made)
                for arm in made.shares:
                    own = {key: value for key, value in given["arms"][arm.arm].items() if key != "share"}
                    place = f"experiments.{name}.arms.{arm.arm}"
                    self._under[scenario, arm] = laid_over(scenarios[scenario], own, place)

    def of(self, scenario: str, who: str, at_s: float) -> Arm | None:
        """The arm of a user, or of a guest, in a scenario at a moment of the shop; None outside all."""
        for one in self._of.get(scenario, ()):
            if who and one.start_s <= at_s < one.end_s:
                return one.of(who)
        return None

    def under(self, scenario: Scenario, arm: Arm | None) -> Scenario:
        """The settings of an arm; the scenario's own where there is no such arm (any more)."""
        return scenario if arm is None else self._under.get((scenario.name, arm), scenario)

    def count(self, arm: Arm) -> None:
        """A list was answered in an arm."""
        with self._counting:
            self.lists[arm] += 1


def _experiment(name: str, given: Mapping[str, Any], scenarios: Mapping[str, Scenario]) -> Experiment:
    if unknown := sorted(set(given) - set(KNOWN)):
        raise _error(f"[experiments.{name}]: unknown setting {unknown[0]!r}", f"allowed: {', '.join(KNOWN)}")
    asked = given.get("scenario", "home")
    covered = tuple(asked) if isinstance(asked, list) else (asked,)
    strange = [one for one in covered if not isinstance(one, str) or one not in scenarios]
    if strange or not covered:
        said = f"scenario = {strange[0] if strange else asked!r} names no scenario"
        raise _error(f"[experiments.{name}]: {said}", f"there are: {', '.join(scenarios)}")
    start_s, end_s = _moment(name, given, "starts", -inf), _moment(name, given, "ends", inf)
    if not start_s < end_s:
        raise _error(f"[experiments.{name}]: ends before it starts", "let `ends` be later than `starts`")
    shares = _shares(name, given.get("arms"))
    return Experiment(name, covered, start_s, end_s, shares, tuple(accumulate(shares.values())))


def _moment(name: str, given: Mapping[str, Any], key: str, left_out: float) -> float:
    value = given.get(key)
    if value is None:
        return left_out
    found = seconds_of(value.isoformat() if isinstance(value, datetime) else str(value))
    if found is None:
        said = f"[experiments.{name}]: {key} = {value!r} is no moment"
        raise _error(said, "write it as 2026-12-01T00:00:00Z")
    return found


def _shares(name: str, given: object) -> dict[Arm, float]:
    if not isinstance(given, Mapping) or len(given) < 2:
        raise _error(
            f"[experiments.{name}]: needs two arms or more", "arms.a = { share = 0.5 } and arms.b = { ... }"
        )
    shares = {}
    for arm, said in given.items():
        place = f"[experiments.{name}]: arm {arm!r}"
        if not isinstance(said, Mapping):
            raise _error(f"{place} must be a table", f"arms.{arm} = {{ share = 0.5, n = 5 }}")
        share = said.get("share")
        if not isinstance(share, int | float) or isinstance(share, bool) or not 0 < share <= 1:
            raise _error(f"{place}: share = {share!r}; allowed: above 0, at most 1", "say share = 0.5")
        shares[Arm(name, arm)] = float(share)
    if (total := sum(shares.values())) > 1 + 1e-9:
        raise _error(
            f"[experiments.{name}]: shares add up to {total:g}; allowed: at most 1", "make them smaller"
        )
    return shares


def _error(message: str, hint: str) -> ConfigError:
    return ConfigError(message, hint=hint, field="experiments")
