"""A test to a polars expression over the catalogue, or, where no column is asked, to true or false.

Attributes of the user must have been put in before (`with_user`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import reduce
from typing import Any, Final

import polars as pl

from intently.data.histories import DAY_S
from intently.serving.rules import tree
from intently.serving.rules.kinds import Kind, plain, seconds
from intently.serving.rules.language import kind_of_value
from intently.serving.rules.moments import seconds_of

COMPARE: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def with_user(test: tree.Test, attributes: Mapping[str, Any]) -> tree.Test:
    """A test without `and` and `or`, every attribute of the user put in as a value; None where missing."""
    match test:
        case tree.Compare():
            return replace(test, left=_put(test.left, attributes), right=_put(test.right, attributes))
        case tree.Holds():
            return replace(test, whole=_put(test.whole, attributes), part=_put(test.part, attributes))
        case tree.Among():
            return replace(test, value=_put(test.value, attributes))
        case tree.Truth():
            return replace(test, of=_put(test.of, attributes))
        case tree.Missing(of=tree.Attribute() as of):
            gone = attributes.get(of.name) is None
            return tree.Truth(test.at, tree.Literally(of.at, gone))
    return test


def _put(value: tree.Value, attributes: Mapping[str, Any]) -> tree.Value:
    match value:
        case tree.Attribute():
            found = attributes.get(value.name)
            return tree.Literally(value.at, tuple(map(str, found)) if isinstance(found, list) else found)
        case tree.Lower():
            of = _put(value.of, attributes)
            return replace(value, of=of)
    return value


class Expressions:
    """Tests over one catalogue's columns, at one moment."""

    def __init__(self, columns: Mapping[str, Kind], at_s: float) -> None:
        self._columns = columns
        self._at_s = at_s

    def of(self, test: tree.Test) -> pl.Expr:
        """An expression that is true or false of every row, never null; constants are one value."""
        match test:
            case tree.Every():
                return reduce(operator.and_, map(self.of, test.tests))
            case tree.Some():
                return reduce(operator.or_, map(self.of, test.tests))
            case tree.Not():
                return self.of(test.test).not_()
            case tree.Missing(of=tree.Column() as of):
                return self._column(of).is_null()
            case tree.Missing() | tree.Did():
                raise AssertionError("these are answered elsewhere")
        made = self._leaf(test)
        return pl.lit(made) if isinstance(made, bool) else made.fill_null(False)

    def _leaf(self, test: tree.Compare | tree.Among | tree.Holds | tree.Truth) -> pl.Expr | bool:
        match test:
            case tree.Compare():
                return self._compare(test)
            case tree.Among():
                return self._among(test)
            case tree.Holds():
                return self._holds(test)
            case tree.Truth():
                value, kind = self._value(test.of)
                if kind != "flag":
                    return False
                return value if isinstance(value, pl.Expr) else bool(value)

    def _value(self, value: tree.Value) -> tuple[Any, Kind | None]:
        """What it is, an expression or a plain value, and its kind: None for what is missing."""
        match value:
            case tree.Column():
                return self._column(value), self._columns[value.name]
            case tree.Age():
                moment = seconds(value.of.name, self._columns[value.of.name])
                return (pl.lit(self._at_s) - moment) / DAY_S, "number"
            case tree.Lower():
                inner, kind = self._value(value.of)
                if kind != "text":
                    return None, None
                return (inner.str.to_lowercase() if isinstance(inner, pl.Expr) else inner.lower()), "text"
            case tree.Attribute():
                raise AssertionError("a user's attribute is put in before")
        return value.value, kind_of_value(value.value)

    def _column(self, column: tree.Column) -> pl.Expr:
        return plain(column.name, self._columns[column.name])

    def _compare(self, test: tree.Compare) -> pl.Expr | bool:
        (left, one), (right, other) = self._value(test.left), self._value(test.right)
        if {one, other} == {"time", "text"}:
            left, right = (seconds_of(v) if isinstance(v, str) else v for v in (left, right))
        elif {one, other} != {"time", "number"} and one != other:
            return False
        if left is None or right is None or one is None or one == "texts":
            return False
        if one == "flag" and test.operator not in ("==", "!="):
            return False
        made = COMPARE[test.operator](left, right)
        return made if isinstance(made, pl.Expr) else bool(made)

    def _among(self, test: tree.Among) -> pl.Expr | bool:
        value, kind = self._value(test.value)
        listed = [one for one in test.listed if kind_of_value(one) == kind]
        if not listed or value is None:
            return False
        return value.is_in(listed) if isinstance(value, pl.Expr) else value in listed

    def _holds(self, test: tree.Holds) -> pl.Expr | bool:
        (whole, kind), (part, of_part) = self._value(test.whole), self._value(test.part)
        if kind not in ("text", "texts") or of_part != "text":
            return False
        part = part.str.to_lowercase() if isinstance(part, pl.Expr) else part.lower()
        if not isinstance(whole, pl.Expr):
            lower = whole.lower() if isinstance(whole, str) else [one.lower() for one in whole]
            if not isinstance(part, pl.Expr):
                return part in lower
            return part.is_in(lower) if isinstance(lower, list) else _lies_in(part, lower)
        if kind == "texts":
            return whole.list.eval(pl.element().str.to_lowercase()).list.contains(part)
        return whole.str.to_lowercase().str.contains(part, literal=True)


def _lies_in(part: pl.Expr, whole: str) -> pl.Expr:
    """Whether a column's text lies in one text: the text is repeated for every row."""
    repeated = pl.when(part.is_not_null()).then(pl.lit(whole))
    return repeated.str.contains(part, literal=True)
