"""The parts a filter is made of, as the grammar gives them: values, and tests of values.

Each part knows where it begins in the text (`at`, from 1), so that what is wrong with it can be pointed at.
`size` and `depth` count parts and nesting.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

Operator = Literal["==", "!=", "<", "<=", ">", ">="]
DeedKind = Literal["bought", "viewed", "in_cart"]
DEEDS: Final[tuple[DeedKind, ...]] = ("bought", "viewed", "in_cart")


@dataclass(frozen=True, slots=True)
class Part:
    """Anything with a place in the text."""

    at: int
    size: int = field(default=1, kw_only=True)
    depth: int = field(default=1, kw_only=True)


@dataclass(frozen=True, slots=True)
class Literally(Part):
    """A text, a number, true or false, as written; where a user's attribute is put in also texts, or None."""

    value: str | float | bool | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Column(Part):
    """What the catalogue says of the item."""

    name: str


@dataclass(frozen=True, slots=True)
class Attribute(Part):
    """What the shop's table says of the user who asks."""

    name: str


@dataclass(frozen=True, slots=True)
class Age(Part):
    """Days since the moment in a column, by the shop's clock."""

    of: Column


@dataclass(frozen=True, slots=True)
class Lower(Part):
    """A text in lower case."""

    of: Value


Value = Literally | Column | Attribute | Age | Lower


@dataclass(frozen=True, slots=True)
class Compare(Part):
    """left operator right; false where either is missing."""

    operator: Operator
    left: Value
    right: Value


@dataclass(frozen=True, slots=True)
class Among(Part):
    """The value is one of those listed."""

    value: Value
    listed: tuple[str | float | bool, ...]


@dataclass(frozen=True, slots=True)
class Holds(Part):
    """A text holds another, or a list of texts has one, in any case of letters."""

    whole: Value
    part: Value


@dataclass(frozen=True, slots=True)
class Missing(Part):
    """Nothing is known of a column or of a user's attribute."""

    of: Column | Attribute


@dataclass(frozen=True, slots=True)
class Did(Part):
    """The user did this with the item, within so many days where they are given."""

    deed: DeedKind
    days: float | None


@dataclass(frozen=True, slots=True)
class Truth(Part):
    """A column or an attribute of truth values on its own, or true or false."""

    of: Value


@dataclass(frozen=True, slots=True)
class Not(Part):
    """The other way round."""

    test: Test


@dataclass(frozen=True, slots=True)
class Every(Part):
    """All of the tests: and."""

    tests: tuple[Test, ...]


@dataclass(frozen=True, slots=True)
class Some(Part):
    """One of the tests at least: or."""

    tests: tuple[Test, ...]


Test = Compare | Among | Holds | Missing | Did | Truth | Not | Every | Some
