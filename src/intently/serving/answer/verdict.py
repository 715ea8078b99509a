"""What the arms of an experiment brought: the decision log and the events that name its answers, by user.

The user is what is put into an arm, so the user is what is counted: the share of an arm's users who did
something, however often, after a list of that arm (an event with its `recommendation_id`). Clicks or lists
are not independent of each other within a user and would make intervals too narrow (Kohavi, Tang and Xu,
2020, ch. 18). Arms are compared with the first one of the settings.

Whether users fell into the arms by their shares is asked first, by Pearson's chi-square: where that is as
unlikely as MISMATCH, something is wrong with who was counted, and the figures are not to be trusted (Fabijan
et al., "Diagnosing Sample Ratio Mismatch in Online Controlled Experiments", 2019).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from intently.config import Settings
from intently.errors import UnknownIdError
from intently.intervals import Interval, share, share_difference
from intently.schema import EVENT_CODES, EVENTS
from intently.serving.decisions.file import Reader
from intently.serving.shapes.answers import Arm
from intently.serving.state.experiments import Experiment, Experiments
from intently.serving.state.scenarios import scenarios_of
from intently.store import open_store

MISMATCH: Final = 0.001
FEWEST: Final = 5.0
"""Users that every arm should have for the chi-square to mean something."""

Given = Iterable[tuple[str, str, str, str]]
"""(experiment, arm, whose arm, answer) of every list, as the log's reader tells them."""


@dataclass(frozen=True)
class Outcome:
    """events: that name a list of the arm. users: behind them. gain: over the first arm, None for it."""

    event: str
    events: int
    users: int
    rate: Interval
    gain: Interval | None


@dataclass(frozen=True)
class ArmTold:
    """share: of the settings. users, lists: that were answered in the arm."""

    arm: str
    share: float
    users: int
    lists: int
    outcomes: list[Outcome]


@dataclass(frozen=True)
class Verdict:
    """mismatch_p: how likely a split as uneven as this one is by chance; None for too few users to say."""

    name: str
    arms: list[ArmTold]
    mismatch_p: float | None
    notes: list[str]


def verdicts(settings: Settings, name: str | None = None) -> list[Verdict]:
    """Of one experiment of the settings, or of all. Raises UnknownIdError, or StoreError without a log."""
    experiments = Experiments(settings, scenarios_of(settings)).all
    if not experiments or (name is not None and name not in experiments):
        there = f"there are: {', '.join(experiments)}" if experiments else "add one to intently.toml"
        raise UnknownIdError("no experiment of this name in the settings", hint=there, field="name")
    given = list(Reader(settings.decisions_path).armed())
    with open_store(settings.store_place) as store:
        outcomes = store.outcomes()
    target = settings.target or "purchase"
    return [verdict(one, given, outcomes, target) for one in experiments.values() if name in (None, one.name)]


def verdict(experiment: Experiment, given: Given, outcomes: pl.DataFrame, target: str) -> Verdict:
    """One experiment's figures; outcomes: as the store has them; target: told also without an event."""
    lists = [(Arm(name, arm), unit, answer) for name, arm, unit, answer in given if name == experiment.name]
    in_arms: dict[str, set[Arm]] = {}
    for arm, unit, _ in lists:
        in_arms.setdefault(unit, set()).add(arm)
    moved = {unit for unit, arms in in_arms.items() if len(arms) > 1}
    kept = {
        answer: (arm, unit) for arm, unit, answer in lists if unit not in moved and arm in experiment.shares
    }
    n_lists = Counter(arm for arm, _ in kept.values())
    units = Counter(arm for arm, _ in set(kept.values()))
    events: Counter[tuple[Arm, int]] = Counter()
    users: dict[tuple[Arm, int], set[str]] = {}
    for answer, event, n in outcomes.iter_rows():
        if answer in kept:
            arm, unit = kept[answer]
            events[arm, event] += n
            users.setdefault((arm, event), set()).add(unit)
    kinds = sorted({EVENT_CODES["click"], EVENT_CODES[target], *(event for _, event in events)})
    first = next(iter(experiment.shares))
    told = []
    for arm, part in experiment.shares.items():
        found = []
        for kind in kinds:
            rates = [share(len(users.get((one, kind), ())), units[one]) for one in (arm, first)]
            gain = share_difference(*rates) if arm != first else None
            done = len(users.get((arm, kind), ()))
            found.append(Outcome(EVENTS[kind], events[arm, kind], done, rates[0], gain))
        told.append(ArmTold(arm.arm, part, units[arm], n_lists[arm], found))
    p = mismatch(experiment.shares, units)
    strange = len({unit for arm, unit, _ in lists if arm not in experiment.shares} - moved)
    return Verdict(experiment.name, told, p, _notes(p, len(moved), strange, bool(events), len(told)))


def mismatch(shares: Mapping[Arm, float], users: Mapping[Arm, int]) -> float | None:
    """The chance of a split at least as uneven; None where an arm should have under FEWEST users."""
    from scipy.stats import chisquare

    seen = [users.get(arm, 0) for arm in shares]
    due = [sum(seen) * part / sum(shares.values()) for part in shares.values()]
    return float(chisquare(seen, due).pvalue) if min(due) >= FEWEST else None


def _notes(p: float | None, moved: int, strange: int, any_event: bool, n_arms: int) -> list[str]:
    """What to know before believing a figure."""
    notes = []
    if p is None:
        notes.append("too few users to say whether they split as the shares do")
    elif p < MISMATCH:
        notes.append("users do not split as the shares do: find out why before trusting any figure")
    if moved:
        notes.append(f"left out, as they were in several arms (after a change of shares?): {moved:,} users")
    if strange:
        notes.append(f"left out, as the settings no longer have their arm: {strange:,} users")
    if not any_event:
        notes.append("no event names a list of these arms: send its recommendation_id along")
    if n_arms > 2:
        notes.append(f"{n_arms - 1} comparisons: each interval is for itself")
    return notes
