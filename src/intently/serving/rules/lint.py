"""What is wrong with a shop's rules, before a customer sees it: each alone, and each against the others.

Filters that ask about the user are read and checked, but what they match is not counted: it differs by user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from intently.schema import BoolArray
from intently.serving.rules.faults import FilterError
from intently.serving.rules.filters import Shopper, compile_filter
from intently.serving.rules.force import codes
from intently.serving.rules.kinds import Kind, kinds
from intently.serving.rules.rule import Rule


@dataclass(frozen=True, slots=True)
class Finding:
    """error: the rule cannot do what it says. warning: it does nothing, or works against another."""

    rule_id: str
    level: Literal["error", "warning"]
    code: str
    message: str


def lint(
    rules: Sequence[Rule],
    frame: pl.DataFrame,
    number: Callable[[str], int],
    at_s: float,
    attributes: dict[str, Kind] | None = None,
    scenarios: Sequence[str] | None = None,
) -> list[Finding]:
    """Everything found, in the order of the rules; rules that are switched off are not looked at.

    attributes: what the users' table has; scenarios: the names there are; None where that is not known.
    """
    looked = _Looked(frame, number, at_s, attributes, scenarios)
    live = [rule for rule in rules if rule.enabled]
    masks = {rule.id: looked.mask(rule) for rule in live if rule.filter is not None}
    found = [one for rule in live for one in looked.alone(rule, masks.get(rule.id))]
    found += [one for place, rule in enumerate(live) for one in _against(rule, live[:place], masks)]
    found += _pins_against(live, masks, number)
    found += _together(live, masks, frame.height)
    order = {rule.id: place for place, rule in enumerate(rules)}
    return sorted(found, key=lambda one: order[one.rule_id])


class _Looked:
    """One catalogue that rules are looked at over."""

    def __init__(
        self,
        frame: pl.DataFrame,
        number: Callable[[str], int],
        at_s: float,
        attributes: dict[str, Kind] | None,
        scenarios: Sequence[str] | None,
    ) -> None:
        self._frame, self._number, self._at_s = frame, number, at_s
        self._columns = kinds(dict(frame.schema))
        self._attributes, self._scenarios = attributes, scenarios

    def mask(self, rule: Rule) -> BoolArray | FilterError | None:
        """What the filter matches; None where it differs by user, the error where it cannot be used."""
        try:
            made = compile_filter(rule.filter or "true", self._columns, self._attributes)
            return None if made.personal else made.mask(self._frame, Shopper(at_s=self._at_s))
        except FilterError as error:
            return error

    def alone(self, rule: Rule, mask: BoolArray | FilterError | None) -> Iterator[Finding]:
        """What is wrong with one rule."""
        if isinstance(mask, FilterError):
            yield Finding(rule.id, "error", "filter", str(mask))
        elif mask is not None:
            yield from _extent(rule, mask)
        if rule.schedule is not None and rule.schedule.end_s <= self._at_s:
            yield Finding(rule.id, "warning", "expired", f"it ended at {rule.schedule.ends_at}")
        for name in rule.scenarios:
            if self._scenarios is not None and name not in self._scenarios:
                said = f"there is no scenario {name!r}; there are: {', '.join(self._scenarios)}"
                yield Finding(rule.id, "error", "scenario", said)
        if rule.kind == "pin" and rule.item_id is not None and self._number(rule.item_id) < 0:
            yield Finding(rule.id, "error", "unknown item", "nobody knows the item that is pinned")
        if rule.kind == "cap" and rule.column is not None:
            yield from self._cap(rule, rule.column)

    def _cap(self, rule: Rule, column: str) -> Iterator[Finding]:
        try:
            found = codes(self._frame, column)
        except FilterError as error:
            yield Finding(rule.id, "error", "column", error.message)
            return
        counts = np.bincount(found[found >= 0], minlength=1)
        if int(counts.max()) <= (rule.most or 0):
            said = (
                f"no value of {column} has more than {int(counts.max())} items: the cap never does anything"
            )
            yield Finding(rule.id, "warning", "nothing", said)


def _extent(rule: Rule, mask: BoolArray) -> Iterator[Finding]:
    if not mask.any():
        level: Literal["error", "warning"] = "error" if rule.kind == "include" else "warning"
        after = "nothing can be answered" if rule.kind == "include" else "the rule does nothing"
        yield Finding(rule.id, level, "matches nothing", f"its filter matches no item: {after}")
    elif mask.all() and rule.kind in ("exclude", "include"):
        level = "error" if rule.kind == "exclude" else "warning"
        after = "nothing can be answered" if rule.kind == "exclude" else "the rule does nothing"
        yield Finding(rule.id, level, "matches everything", f"its filter matches every item: {after}")


def _against(
    rule: Rule, earlier: Sequence[Rule], masks: dict[str, BoolArray | FilterError | None]
) -> Iterator[Finding]:
    """What one rule does for nothing, or against, beside those before it."""
    mine = masks.get(rule.id)
    if not isinstance(mine, np.ndarray) or not mine.any():
        return
    for other in earlier:
        theirs = masks.get(other.id)
        if not isinstance(theirs, np.ndarray) or not _meet(rule, other):
            continue
        if other.kind == "exclude" and rule.kind in ("exclude", "boost") and not (mine & ~theirs).any():
            said = f"all its items are taken out by {other.id} already"
            yield Finding(rule.id, "warning", "shadowed", said)
        if rule.kind == other.kind == "boost" and (mine & theirs).any() and _up(rule) != _up(other):
            n = int((mine & theirs).sum())
            yield Finding(
                rule.id, "warning", "contradiction", f"{other.id} moves {n} of its items the other way"
            )


def _pins_against(
    live: Sequence[Rule], masks: dict[str, BoolArray | FilterError | None], number: Callable[[str], int]
) -> Iterator[Finding]:
    pins = [rule for rule in live if rule.kind == "pin"]
    for place, pin in enumerate(pins):
        row = number(pin.item_id or "")
        for other in live:
            mask = masks.get(other.id)
            if row < 0 or other.kind not in ("exclude", "include") or not isinstance(mask, np.ndarray):
                continue
            if row < len(mask) and bool(mask[row]) == (other.kind == "exclude") and _meet(pin, other):
                yield Finding(
                    pin.id, "warning", "excluded", f"{other.id} takes the pinned item out: it never shows"
                )
        for other in pins[:place]:
            if _meet(pin, other) and other.slot == pin.slot:
                yield Finding(
                    pin.id, "warning", "contradiction", f"{other.id} pins another item to slot {pin.slot}"
                )


def _together(
    live: Sequence[Rule], masks: dict[str, BoolArray | FilterError | None], n_items: int
) -> Iterator[Finding]:
    """Rules that together let nothing through, though none does so alone."""
    left: BoolArray = np.ones(n_items, bool)
    for rule in live:
        mask = masks.get(rule.id)
        if rule.kind not in ("exclude", "include") or not isinstance(mask, np.ndarray) or rule.schedule:
            continue
        if rule.scenarios or not left.any():
            continue
        passes = mask if rule.kind == "include" else ~mask
        if passes.any() and not (left & passes).any():
            said = "with the rules before it nothing can be answered any more"
            yield Finding(rule.id, "error", "contradiction", said)
        left &= passes


def _meet(one: Rule, other: Rule) -> bool:
    """Whether both may hold in the same list at the same time, as far as scenarios and dates say."""
    if one.scenarios and other.scenarios and not set(one.scenarios) & set(other.scenarios):
        return False
    if one.schedule is None or other.schedule is None:
        return True
    return one.schedule.start_s < other.schedule.end_s and other.schedule.start_s < one.schedule.end_s


def _up(rule: Rule) -> bool:
    return (rule.multiply or 1.0) > 1.0 or (rule.add or 0.0) > 0.0
