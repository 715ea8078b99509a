"""One stored rule: what it does, to which items, in which lists, when."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from intently.serving.rules.faults import FilterError
from intently.serving.rules.language import parsed
from intently.serving.rules.schedule import Schedule
from intently.serving.shapes.common import Id, Request, Short

Kind = Literal["exclude", "include", "boost", "pin", "cap"]
MOST_SLOT: Final = 50
BOUND: Final = 10.0
"""A boost multiplies by 1/10 to 10, or adds -1 to 1."""

_NEEDED: Final[dict[Kind, tuple[str, ...]]] = {
    "exclude": ("filter",),
    "include": ("filter",),
    "boost": ("filter",),
    "pin": ("item_id", "slot"),
    "cap": ("column", "most"),
}
_ALLOWED: Final[dict[Kind, tuple[str, ...]]] = {
    "exclude": (),
    "include": (),
    "boost": ("multiply", "add"),
    "pin": ("filter",),
    "cap": (),
}
_OWN: Final = ("filter", "multiply", "add", "item_id", "slot", "column", "most")


def _readable(text: str) -> str:
    try:
        parsed(text)
    except FilterError as error:
        raise ValueError(str(error)) from None
    return text


FilterText = Annotated[str, StringConstraints(min_length=1, max_length=2000), AfterValidator(_readable)]
RuleId = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9_-]*$")]
Factor = Annotated[float, Field(ge=1 / BOUND, le=BOUND, allow_inf_nan=False)]
Plus = Annotated[float, Field(ge=-1.0, le=1.0, allow_inf_nan=False)]
Slot = Annotated[int, Field(ge=1, le=MOST_SLOT)]


class Boost(Request):
    """Items of the filter move up (multiply > 1, add > 0) or down among their like; also in a request."""

    filter: FilterText
    multiply: Factor | None = None
    add: Plus | None = None

    @model_validator(mode="after")
    def _one(self) -> Boost:
        if (self.multiply is None) == (self.add is None):
            raise ValueError("a boost has multiply or add")
        return self


class Pin(Request):
    """An item at a place of the list, from 1; also in a request."""

    item_id: Id
    slot: Slot


class Rule(Request):
    """exclude and include take a filter; boost a filter and multiply or add; pin an item_id and a slot, and
    where a filter is given only while the item passes it; cap a column, of whose values each list has at
    most so many items."""

    id: RuleId = Field("", validate_default=False, description="made from the name where it is left out")
    name: Short = Field(description="what people call it")
    kind: Kind
    scenarios: list[Short] = Field(default_factory=list, max_length=50, description="empty: all lists")
    filter: FilterText | None = None
    multiply: Factor | None = Field(None, description="boost: 0.1 to 10")
    add: Plus | None = Field(None, description="boost: -1 to 1, on the scale of the scores")
    item_id: Id | None = Field(None, description="pin: which item")
    slot: Slot | None = Field(None, description="pin: at which place, from 1")
    column: Short | None = Field(None, description="cap: brand, seller, category or any column")
    most: int | None = Field(None, ge=1, le=100, description="cap: items of one value in a list")
    schedule: Schedule | None = None
    enabled: bool = True
    created_at: str = Field("", max_length=40, description="set by the service")

    @model_validator(mode="after")
    def _complete(self) -> Rule:
        needed, allowed = _NEEDED[self.kind], _ALLOWED[self.kind]
        absent = [name for name in needed if getattr(self, name) is None]
        if absent:
            raise ValueError(f"a rule of kind {self.kind} needs {' and '.join(absent)}")
        strange = [n for n in _OWN if n not in (*needed, *allowed) and getattr(self, n) is not None]
        if strange:
            raise ValueError(f"a rule of kind {self.kind} has no {strange[0]}")
        if self.kind == "boost" and (self.multiply is None) == (self.add is None):
            raise ValueError("a boost has multiply or add")
        return self

    def concerns(self, scenario: str) -> bool:
        """Whether it is for lists of this scenario."""
        return not self.scenarios or scenario in self.scenarios

    def holds(self, at_s: float) -> bool:
        """Whether it is in force at a moment of the shop's clock."""
        return self.enabled and (self.schedule is None or self.schedule.holds(at_s))
