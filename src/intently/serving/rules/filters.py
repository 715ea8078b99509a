"""A filter ready to use: which items of a catalogue it lets through, for one user, now.

What asks only the catalogue is evaluated once a catalogue and kept as a mask of one byte an item; what asks
the user's attributes once for each value that occurs. What the user did is looked up at the moment of asking.
So a request costs a few array operations, however long the filter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np
import polars as pl

from intently.data.histories import DAY_S
from intently.schema import EVENT_CODES, BoolArray, ByteArray, DoubleArray, IntArray
from intently.serving.rules import tree
from intently.serving.rules.expressions import Expressions, with_user
from intently.serving.rules.kinds import Kind, kinds
from intently.serving.rules.language import checked, parsed, parts

MAX_KEPT: Final = 16
"""Masks of a filter kept at once: one where it is the same for all, else one a value or minute."""
STEP_S: Final = 60.0
"""Ages are counted at whole minutes, so that a mask that asks them holds for one."""
_COUNTS: Final = {
    "bought": np.isin(np.arange(256), [EVENT_CODES["purchase"]]),
    "viewed": np.isin(np.arange(256), [EVENT_CODES["view"], EVENT_CODES["click"]]),
}
"""Whether each event code counts: a table, for `isin` would cost more than all the rest."""
_NONE: Final[IntArray] = np.zeros(0, np.int32)


@dataclass(slots=True, eq=False)  # not frozen: one is made for an answer, and nothing changes it
class Shopper:
    """Who asks, as a filter sees it: a stranger without anything by default.

    items, time_s, events: what was done, item numbers with seconds and codes; cart: item numbers.
    """

    at_s: float = 0.0
    attributes: Mapping[str, Any] = field(default_factory=dict)
    items: IntArray = field(default_factory=lambda: _NONE)
    time_s: DoubleArray = field(default_factory=lambda: np.zeros(0))
    events: ByteArray = field(default_factory=lambda: np.zeros(0, np.uint8))
    cart: IntArray = field(default_factory=lambda: _NONE)

    def did(self, deed: str, days: float | None) -> IntArray:
        """Numbers of the items that this was done with."""
        if deed == "in_cart":
            return self.cart
        chosen = _COUNTS[deed][self.events]
        if days is not None:
            chosen &= self.time_s >= self.at_s - days * DAY_S
        return self.items[chosen]


STRANGER: Final = Shopper()


@dataclass(frozen=True, slots=True)
class _Island:
    """A test that asks nothing of what the user did: one mask for each set of attribute values."""

    test: tree.Test
    timed: bool
    attributes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Joined:
    """Steps of which every one, or one at least, must hold; `flip` turns the outcome round."""

    steps: tuple[_Step, ...]
    every: bool
    flip: bool = False


_Step = _Island | tree.Did | _Joined


class _Kept:
    """What is known of one catalogue: its columns, the steps, the masks so far."""

    def __init__(self, frame: pl.DataFrame, test: tree.Test) -> None:
        self.frame = frame
        self.columns: dict[str, Kind] = kinds(dict(frame.schema))
        self.step = _steps(checked(test, self.columns))
        self.masks: dict[Any, BoolArray] = {}


class Filter:
    """A compiled filter; may be asked by many threads at once.

    personal: whether the answer depends on who asks. timed: whether it does on when.
    """

    def __init__(self, text: str, test: tree.Test) -> None:
        self.text = text
        self.test = test
        found = list(parts(test))
        self.personal = any(isinstance(part, tree.Did | tree.Attribute) for part in found)
        self.timed = any(isinstance(part, tree.Age) for part in found)
        self._kept: _Kept | None = None

    def mask(
        self, frame: pl.DataFrame, user: Shopper = STRANGER, numbers: IntArray | None = None
    ) -> BoolArray:
        """(n_items,) or (len(numbers),): whether each row of the catalogue passes; not to be written to.

        Raises FilterError when the catalogue lacks a column, or it holds what cannot be compared.
        """
        kept = self._kept
        if kept is None or kept.frame is not frame:
            kept = self._kept = _Kept(frame, self.test)
        found = _walk(kept, kept.step, user, numbers)
        if isinstance(found, bool):
            return np.full(frame.height if numbers is None else len(numbers), found)
        return found


def compile_filter(
    text: str, columns: Mapping[str, Kind] | None = None, attributes: Mapping[str, Kind] | None = None
) -> Filter:
    """The filter of a text; raises FilterError with the position and what is allowed there.

    columns, attributes: what the catalogue's and the users' tables have (`kinds.kinds(frame.schema)`);
    without columns names are checked when the filter is first asked.
    """
    made = _made(text)
    if columns is not None:
        checked(made.test, columns, attributes)
    return made


@lru_cache(64)
def _made(text: str) -> Filter:
    """The same filter for the same text, so that what one request worked out serves the next."""
    return Filter(text, parsed(text))


def _steps(test: tree.Test) -> _Step:
    """Tests that ask only the catalogue go together into one mask, wherever `and` and `or` allow."""
    if _alike(test):
        return _island(test)
    match test:
        case tree.Did():
            return test
        case tree.Not():
            return _Joined((_steps(test.test),), every=True, flip=True)
        case tree.Every() | tree.Some():
            plainly = tuple(one for one in test.tests if _alike(one))
            rest = tuple(_steps(one) for one in test.tests if not _alike(one))
            if plainly:
                joined = type(test)(test.at, plainly) if len(plainly) > 1 else plainly[0]
                rest = (*rest, _island(joined))
            return _Joined(rest, every=isinstance(test, tree.Every))
    return _island(test)


def _alike(test: tree.Test) -> bool:
    """Whether it is the same for everyone."""
    return not any(isinstance(part, tree.Did | tree.Attribute) for part in parts(test))


def _island(test: tree.Test) -> _Island:
    found = list(parts(test))
    names = {part.name for part in found if isinstance(part, tree.Attribute)}
    return _Island(test, any(isinstance(part, tree.Age) for part in found), tuple(sorted(names)))


def _walk(kept: _Kept, step: _Step, user: Shopper, numbers: IntArray | None) -> BoolArray | bool:
    """An array of what was asked, or one value for all of it."""
    if isinstance(step, tree.Did):
        return _did(kept, user.did(step.deed, step.days), numbers)
    if isinstance(step, _Island):
        mask = _mask(kept, step, user)
        return mask if numbers is None or isinstance(mask, bool) else mask[numbers]
    outcome: BoolArray | bool = step.every
    for one in step.steps:
        found = _walk(kept, one, user, numbers)
        if isinstance(found, bool):
            if found is not step.every:
                outcome = found
                break
        elif isinstance(outcome, bool):
            outcome = found
        else:
            outcome = outcome & found if step.every else outcome | found
    if not step.flip:
        return outcome
    return not outcome if isinstance(outcome, bool) else ~outcome


def _did(kept: _Kept, done: IntArray, numbers: IntArray | None) -> BoolArray | bool:
    if not len(done):
        return False
    mask = np.zeros(kept.frame.height, bool)
    mask[done[done < len(mask)]] = True
    return mask if numbers is None else mask[numbers]


def _mask(kept: _Kept, island: _Island, user: Shopper) -> BoolArray | bool:
    """The island's mask, made at the first asking."""
    values = tuple(_hashable(user.attributes.get(name)) for name in island.attributes)
    at_s = user.at_s // STEP_S * STEP_S if island.timed else 0.0
    key = (id(island), at_s, *values)
    mask = kept.masks.get(key)
    if mask is None:
        if len(kept.masks) >= MAX_KEPT:
            kept.masks.clear()
        mask = kept.masks[key] = _evaluated(kept, island, user, at_s)
    return bool(mask) if mask.ndim == 0 else mask


def _evaluated(kept: _Kept, island: _Island, user: Shopper, at_s: float) -> BoolArray:
    """(n_items,), or () where it is one value for every item."""
    test = with_user(island.test, user.attributes) if island.attributes else island.test
    made = Expressions(kept.columns, at_s).of(test)
    alone = not made.meta.root_names()
    found = (pl.select(made) if alone else kept.frame.select(made)).to_series()
    mask: BoolArray = found.to_numpy().astype(bool)
    mask.flags.writeable = False
    return mask[0] if alone else mask


def _hashable(value: Any) -> Any:
    return tuple(map(str, value)) if isinstance(value, list) else value
