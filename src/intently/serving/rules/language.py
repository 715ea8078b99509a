"""The filter language: which items, for whom, when.

    price <= 50 and "shoes" in category and stock > 0 and not user.bought(item)

A comparison with a missing value is false, so `price > 5` and `price <= 5` are both false of an item without
a price, and `not price > 5` is true of it; `missing(price)` asks. `==`, `!=` and `in [...]` compare texts as
they are written; `contains` and `"text" in column` do so in any case of letters.

No attribute, no function and no column is reached except those that are listed: a filter can do nothing but
look at the catalogue's row, at the user's row, and at what the user did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Final

from intently.schema import COLUMN_ALIASES
from intently.serving.rules import tree
from intently.serving.rules.faults import FilterError, nearest, shown
from intently.serving.rules.grammar import parse
from intently.serving.rules.kinds import PLAINLY, Kind
from intently.serving.rules.moments import seconds_of

ORDERED: Final = ("number", "time", "text")
parsed = lru_cache(1024)(parse)
"""`parse`, which takes half a millisecond, once a text."""


def checked(
    test: tree.Test, columns: Mapping[str, Kind], attributes: Mapping[str, Kind] | None = None
) -> tree.Test:
    """The same test with every name known and every comparison one of like with like.

    columns: the catalogue's; common names of other systems and in Chinese stand for ours where a shop has no
    such column. attributes: the users', None to take any name, missing where a user has none.
    Raises FilterError.
    """
    return _Check(columns, attributes).test(test)


def parts(test: tree.Part) -> Iterator[tree.Part]:
    """Every part, the test itself first."""
    yield test
    for child in _children(test):
        yield from parts(child)


def _children(part: tree.Part) -> tuple[tree.Part, ...]:
    match part:
        case tree.Every(tests=tests) | tree.Some(tests=tests):
            return tests
        case tree.Not(test=test):
            return (test,)
        case tree.Compare(left=left, right=right):
            return (left, right)
        case tree.Holds(whole=whole, part=held):
            return (whole, held)
        case tree.Among(value=value):
            return (value,)
        case tree.Missing(of=of) | tree.Truth(of=of) | tree.Age(of=of) | tree.Lower(of=of):
            return (of,)
    return ()


class _Check:
    """Names and kinds of one filter against one catalogue."""

    def __init__(self, columns: Mapping[str, Kind], attributes: Mapping[str, Kind] | None) -> None:
        self._columns = columns
        self._attributes = attributes

    def test(self, test: tree.Test) -> tree.Test:
        match test:
            case tree.Every() | tree.Some():
                return replace(test, tests=tuple(self.test(one) for one in test.tests))
            case tree.Not():
                return replace(test, test=self.test(test.test))
            case tree.Compare():
                return self._compare(replace(test, left=self.value(test.left), right=self.value(test.right)))
            case tree.Among():
                return self._among(replace(test, value=self.value(test.value)))
            case tree.Holds():
                return self._holds(replace(test, whole=self.value(test.whole), part=self.value(test.part)))
            case tree.Missing():
                return replace(test, of=self._named(test.of))
            case tree.Truth():
                return self._truth(replace(test, of=self.value(test.of)))
        return test

    def value(self, value: tree.Value) -> tree.Value:
        match value:
            case tree.Column() | tree.Attribute():
                return self._named(value)
            case tree.Age():
                of = self._column(value.of)
                if self._columns[of.name] in ("flag", "texts"):
                    raise self._not(of, "a moment", "give it a column of times")
                return replace(value, of=of)
            case tree.Lower():
                made = replace(value, of=self.value(value.of))
                if self._kind(made.of) not in ("text", None):
                    raise self._not(made.of, "a text", "lower() is for texts")
                return made
        return value

    def _named(self, value: tree.Column | tree.Attribute) -> tree.Column | tree.Attribute:
        return self._column(value) if isinstance(value, tree.Column) else self._attribute(value)

    def _column(self, column: tree.Column) -> tree.Column:
        if column.name in self._columns:
            return column
        ours = next((name for name, others in COLUMN_ALIASES.items() if column.name.lower() in others), "")
        if ours in self._columns:
            return replace(column, name=ours)
        raise FilterError(
            column.at, f"unknown column {shown(column.name)}", nearest(column.name, self._columns)
        )

    def _attribute(self, attribute: tree.Attribute) -> tree.Attribute:
        if self._attributes is None or attribute.name in self._attributes:
            return attribute
        wrong = f"unknown attribute {shown('user.' + attribute.name)}"
        raise FilterError(attribute.at, wrong, nearest(attribute.name, self._attributes))

    def _kind(self, value: tree.Value) -> Kind | None:
        """None where it is known only when a user asks."""
        match value:
            case tree.Column():
                return self._columns[value.name]
            case tree.Attribute():
                return None if self._attributes is None else self._attributes[value.name]
            case tree.Age():
                return "number"
            case tree.Lower():
                return "text"
        return kind_of_value(value.value)

    def _compare(self, test: tree.Compare) -> tree.Compare:
        left, right = self._kind(test.left), self._kind(test.right)
        if {left, right} == {"time", "text"}:
            return self._moment(test, left == "time")
        for value, kind in ((test.left, left), (test.right, right)):
            if kind == "texts":
                raise FilterError(value.at, "a list of texts cannot be compared", 'write "text" in column')
            if kind == "flag" and test.operator not in ("==", "!="):
                raise FilterError(value.at, f"{PLAINLY[kind]} has no order", "allowed: == and !=")
        if left is not None and right is not None and left != right:
            wrong = f"{_name(test.left)} is {PLAINLY[left]} and {_name(test.right)} is {PLAINLY[right]}"
            raise FilterError(test.at, wrong, "compare like with like")
        return test

    def _moment(self, test: tree.Compare, left_is_time: bool) -> tree.Compare:
        """A column of moments against a text, which must be a moment then."""
        text = test.right if left_is_time else test.left
        if not isinstance(text, tree.Literally):
            return test
        moment = seconds_of(str(text.value))
        if moment is None:
            raise FilterError(text.at, f"{shown(str(text.value))} is no moment", 'write it like "2026-11-30"')
        known = replace(text, value=moment)
        return replace(test, right=known) if left_is_time else replace(test, left=known)

    def _among(self, test: tree.Among) -> tree.Among:
        kind = self._kind(test.value)
        if kind in ("texts", "time"):
            raise self._not(test.value, "a text, a number, or true or false", 'for lists: "text" in column')
        for one in test.listed:
            if kind is not None and kind_of_value(one) != kind:
                wrong = f"{_name(test.value)} is {PLAINLY[kind]} and the list has {_written(one)}"
                raise FilterError(test.at, wrong, "list like with like")
        return test

    def _holds(self, test: tree.Holds) -> tree.Holds:
        if self._kind(test.whole) not in ("text", "texts", None):
            raise self._not(test.whole, "a text or a list of texts", "numbers are compared by == and in [..]")
        if self._kind(test.part) not in ("text", None):
            raise self._not(test.part, "a text", 'write column contains "text"')
        return test

    def _truth(self, test: tree.Truth) -> tree.Truth:
        if self._kind(test.of) not in ("flag", None):
            raise self._not(test.of, "true or false", "compare it, like: stock > 0")
        return test

    def _not(self, value: tree.Value, wanted: str, hint: str) -> FilterError:
        kind = self._kind(value)
        return FilterError(value.at, f"{_name(value)} is {PLAINLY[kind or 'text']}, not {wanted}", hint)


def kind_of_value(value: object) -> Kind | None:
    """The kind of a value as written or as a user's table holds it; None for what has none.

    >>> kind_of_value(True), kind_of_value(3), kind_of_value(("a", "b"))
    ('flag', 'number', 'texts')
    """
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    return "texts" if isinstance(value, tuple) else None


def _name(value: tree.Value) -> str:
    match value:
        case tree.Column():
            return shown(value.name)
        case tree.Attribute():
            return shown("user." + value.name)
        case tree.Age():
            return "an age in days"
        case tree.Lower():
            return "lower()"
    return _written(value.value)


def _written(value: object) -> str:
    return shown(f"{value:g}" if type(value) is float else str(value))
