"""The rules that hold for one scenario at one moment over one catalogue, ready to be carried out.

What is the same for everyone (most filters, all caps) is worked out once here and kept as arrays over the
catalogue, so that an answer pays for a rule with one look-up, and for many rules with hardly more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import polars as pl

from intently.schema import BoolArray, DoubleArray, IntArray
from intently.serving.rules.faults import FilterError
from intently.serving.rules.filters import STRANGER, Filter, Shopper, compile_filter
from intently.serving.rules.kinds import Kind, kinds
from intently.serving.rules.rule import Boost, Pin, Rule

LIMIT: Final = 100.0
"""However many boosts meet on an item, together they multiply by 1/100 to 100, and add -1 to 1."""


@dataclass(slots=True)
class Barring:
    """A rule that takes items out; `stage` names it, `mask` (n_items,) is true where it does."""

    stage: str
    reason: str
    mask: BoolArray


@dataclass(frozen=True, slots=True)
class Sifting:
    """A filter that differs by who asks or when: it keeps what passes, or takes it out."""

    stage: str
    reason: str
    filter: Filter
    keeps: bool

    def barring(self, frame: pl.DataFrame, user: Shopper) -> Barring:
        """What it takes out for this user now."""
        passes = self.filter.mask(frame, user)
        return Barring(self.stage, self.reason, ~passes if self.keeps else passes)


@dataclass(frozen=True, slots=True)
class Boosting:
    """A filter whose items move by a factor or a sum."""

    filter: Filter
    multiply: float
    add: float


@dataclass(frozen=True, slots=True)
class Capping:
    """At most so many items of one code in a list."""

    stage: str
    column: str
    codes: IntArray  # (n_items,), -1 where nothing is known
    most: int


@dataclass(frozen=True, slots=True)
class Pinning:
    """An item at a slot, where it passes the filter."""

    stage: str
    number: int
    slot: int
    filter: Filter | None = None


@dataclass(slots=True)
class Force:
    """Everything that holds; `troubles` names rules that cannot be carried out over this catalogue.

    multiply, add, raised: (n_items,) of the boosts that are the same for everyone, None where there are none;
    raised is true where they move an item up.
    """

    frame: pl.DataFrame
    fixed: list[Barring] = field(default_factory=list)
    open: BoolArray | None = None  # (n_items,) what `fixed` leaves, all of it together
    sifting: list[Sifting] = field(default_factory=list)
    multiply: DoubleArray | None = None
    add: DoubleArray | None = None
    raised: BoolArray | None = None
    boosting: list[Boosting] = field(default_factory=list)
    capping: list[Capping] = field(default_factory=list)
    pinning: list[Pinning] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def weights(self, user: Shopper, numbers: IntArray) -> tuple[DoubleArray, DoubleArray] | None:
        """(multiply, add) of these items, None where nothing moves them."""
        if self.multiply is None and not self.boosting:
            return None
        multiply = np.ones(len(numbers)) if self.multiply is None else self.multiply.take(numbers)
        add = np.zeros(len(numbers)) if self.add is None else self.add.take(numbers)
        hits = [(boost, boost.filter.mask(self.frame, user, numbers)) for boost in self.boosting]
        for boost, hit in hits:
            if np.logical_or.reduce(hit):
                factor, sum_ = multiply[hit] * boost.multiply, add[hit] + boost.add
                multiply[hit] = np.minimum(np.maximum(factor, 1 / LIMIT), LIMIT)
                add[hit] = np.minimum(np.maximum(sum_, -1.0), 1.0)
        moved = np.logical_or.reduce(multiply != 1.0) or np.logical_or.reduce(add)
        return (multiply, add) if moved else None

    def lifted(self, user: Shopper) -> BoolArray | None:
        """(n_items,) what a boost moves up, None where none does."""
        found = self.raised
        for boost in self.boosting:
            if boost.multiply > 1.0 or boost.add > 0.0:
                hit = boost.filter.mask(self.frame, user)
                found = hit if found is None else found | hit
        return found

    def pins(self, user: Shopper, allowed: BoolArray) -> list[Pinning]:
        """Pins whose item is allowed and passes their filter, each item once, the earlier rule first."""
        found: dict[int, Pinning] = {}
        for pin in self.pinning:
            if pin.number in found or pin.number >= len(allowed) or not allowed[pin.number]:
                continue
            one = pin.filter
            if one is None or one.mask(self.frame, user, np.array([pin.number], np.int32))[0]:
                found[pin.number] = pin
        return list(found.values())


def force_of(rules: Sequence[Rule], frame: pl.DataFrame, number: Callable[[str], int]) -> Force:
    """Carry rules over to a catalogue; `number` gives the row of an item id, -1 for a stranger."""
    made, columns = Force(frame), kinds(dict(frame.schema))
    for rule in rules:
        try:
            _take(made, rule, columns, number)
        except FilterError as error:
            made.troubles.append(f"rule {rule.id} is out of force: {error.message}")
    if made.fixed:
        made.open = ~np.logical_or.reduce([one.mask for one in made.fixed])
    if made.multiply is not None and made.add is not None:
        made.raised = (made.multiply > 1.0) | (made.add > 0.0)
    return made


def with_request(
    made: Force, text: str | None, boosts: Sequence[Boost], pins: Sequence[Pin], number: Callable[[str], int]
) -> Force:
    """The same with what one request asks: its filter, its boosts, and its pins before those of the shop.

    Raises FilterError.
    """
    if text is None and not boosts and not pins:
        return made
    sifting, boosting = list(made.sifting), list(made.boosting)
    if text is not None:
        asked = compile_filter(text)
        sifting.append(Sifting("filter", "does not pass the request's filter", asked, keeps=True))
    for boost in boosts:
        boosting.append(Boosting(compile_filter(boost.filter), boost.multiply or 1.0, boost.add or 0.0))
    own = [Pinning("pin", number(pin.item_id), pin.slot) for pin in pins]
    pinning = [*(pin for pin in own if pin.number >= 0), *made.pinning]
    return replace(made, sifting=sifting, boosting=boosting, pinning=pinning)


def _take(made: Force, rule: Rule, columns: dict[str, Kind], number: Callable[[str], int]) -> None:
    """One rule into the force; raises FilterError when the catalogue cannot carry it."""
    stage, frame = f"rule:{rule.id}", made.frame
    asked = compile_filter(rule.filter, columns) if rule.filter is not None else None
    if rule.kind in ("exclude", "include") and asked is not None:
        keeps = rule.kind == "include"
        sifting = Sifting(stage, f"the rule {rule.name!r} takes it out", asked, keeps)
        if asked.personal or asked.timed:
            made.sifting.append(sifting)
        else:
            made.fixed.append(sifting.barring(frame, STRANGER))
    elif rule.kind == "boost" and asked is not None:
        _boost(made, Boosting(asked, rule.multiply or 1.0, rule.add or 0.0))
    elif rule.kind == "cap" and rule.column is not None and rule.most is not None:
        made.capping.append(Capping(stage, rule.column, codes(frame, rule.column), rule.most))
    elif rule.item_id is not None and rule.slot is not None:
        row = number(rule.item_id)
        if row < 0:
            raise FilterError(1, "nobody knows the item that is pinned", "item_id must be in the catalogue")
        made.pinning.append(Pinning(stage, row, rule.slot, asked))


def _boost(made: Force, boost: Boosting) -> None:
    if boost.filter.personal or boost.filter.timed:
        made.boosting.append(boost)
        return
    if made.multiply is None or made.add is None:
        made.multiply, made.add = np.ones(made.frame.height), np.zeros(made.frame.height)
    hit = boost.filter.mask(made.frame)
    made.multiply[hit] = np.clip(made.multiply[hit] * boost.multiply, 1 / LIMIT, LIMIT)
    made.add[hit] = np.clip(made.add[hit] + boost.add, -1.0, 1.0)


def codes(frame: pl.DataFrame, column: str) -> IntArray:
    """(n_items,) one number for each value of a column, of a list its first; -1 where there is none.

    Raises FilterError for a column that the catalogue lacks.
    """
    if column not in frame.columns:
        raise FilterError(
            1, f"the catalogue has no column {column!r}", f"allowed: {', '.join(frame.columns[:20])}"
        )
    values = frame[column]
    if values.dtype.is_nested():
        values = values.list.first() if isinstance(values.dtype, pl.List) else pl.Series([None] * len(values))
    text = values.cast(pl.String)
    ranked = text.rank("dense").cast(pl.Int32).fill_null(0) - 1
    return ranked.to_numpy().astype(np.int32)
