"""A filter's text to its parts, by a grammar of a page (lark's LALR parser: time grows with the length).

Nothing is looked up here: whether a column exists and what may be compared with what is `language`'s to say.
Chinese punctuation and words are read as their counterparts: 价格 <= 50 且 品牌 = “海尔”.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from lark import Lark, Token, Transformer, UnexpectedInput
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedToken, VisitError

from intently.serving.rules import tree
from intently.serving.rules.faults import FilterError, nearest, shown

MAX_LENGTH: Final = 2000
MAX_PARTS: Final = 200
MAX_DEPTH: Final = 20
MAX_LISTED: Final = 500

GRAMMAR: Final = r"""
start: either
?either: both (OR both)*            -> some
?both: negated (AND negated)*       -> every
?negated: NOT negated               -> negation
        | test
?test: value (COMPARISON value)+    -> comparison
     | value IN listed              -> among
     | value NOT IN listed          -> not_among
     | value IN value               -> inside
     | value NOT IN value           -> not_inside
     | value CONTAINS value         -> holds
     | value                        -> truth
     | LEFT either RIGHT            -> bracket
listed: OPEN literal (COMMA literal)* CLOSE
?value: literal
      | WORD (DOT WORD)*            -> name
      | WORD (DOT WORD)* LEFT (value (COMMA value)*)? RIGHT -> call
literal: TEXT | NUMBER | TRUE | FALSE

COMPARISON: /==|!=|<=|>=|<>|[=<>≤≥≠＝＜＞]/
TEXT: /"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|“[^”\n]*”|‘[^’\n]*’|「[^」\n]*」/
NUMBER: /-?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?(?![\w.])/
WORD: /[^\W\d]\w*|`[^`\n]+`/
LEFT: /[(（]/
RIGHT: /[)）]/
OPEN: /[\[【]/
CLOSE: /[\]】]/
COMMA: /[,，、]/
DOT: "."
%declare AND OR NOT IN CONTAINS TRUE FALSE
%import common.WS
%ignore WS
%ignore "　"
"""

WORDS: Final = {
    "and": "AND", "且": "AND", "并且": "AND",
    "or": "OR", "或": "OR", "或者": "OR",
    "not": "NOT", "非": "NOT", "不": "NOT",
    "in": "IN", "属于": "IN",
    "contains": "CONTAINS", "包含": "CONTAINS",
    "true": "TRUE", "真": "TRUE", "false": "FALSE", "假": "FALSE",
}  # fmt: skip
"""Words that are no names, in any case of letters; `in backquotes` every word is a name."""

SIGNS: Final[dict[str, tree.Operator]] = {
    "==": "==", "=": "==", "＝": "==", "!=": "!=", "<>": "!=", "≠": "!=", "<": "<", "＜": "<",
    "<=": "<=", "≤": "<=", ">": ">", "＞": ">", ">=": ">=", "≥": ">=",
}  # fmt: skip
PLAINLY: Final = {
    "COMPARISON": "a comparison (== != < <= > >=)",
    "TEXT": 'a "text"',
    "NUMBER": "a number",
    "WORD": "a column",
    "LEFT": "(",
    "RIGHT": ")",
    "OPEN": "[",
    "CLOSE": "]",
    "COMMA": ",",
    "DOT": ".",
    "$END": "the end",
}
MEANT: Final = 'allowed: names, numbers, "texts", [lists], comparisons, and, or, not, in, contains, ( )'
CALLS: Final = ("missing", "age_days", "lower", *(f"user.{deed}" for deed in tree.DEEDS))


def parse(text: str) -> tree.Test:
    """The parts of a filter; raises FilterError, never anything else."""
    if len(text) > MAX_LENGTH:
        wrong = f"the filter has {len(text)} characters, allowed: {MAX_LENGTH}"
        raise FilterError(MAX_LENGTH, wrong, "split it into several rules, or list ids in exclude_ids")
    if not text.strip():
        raise FilterError(1, "the filter is empty", "write one like: price <= 50 and stock > 0")
    try:
        made = _parser().parse(text)
    except UnexpectedInput as error:
        raise _unexpected(error, text) from None
    except VisitError as error:
        if isinstance(error.orig_exc, FilterError):
            raise error.orig_exc from None
        raise
    assert isinstance(made, tree.Part)
    return made  # type: ignore[return-value]


@cache
def _parser() -> Lark:
    """Made at first use: 20 ms."""
    return Lark(
        GRAMMAR,
        parser="lalr",
        lexer="basic",
        transformer=_Builder(),
        lexer_callbacks={"WORD": _word},
        maybe_placeholders=False,
    )


def _word(token: Token) -> Token:
    kind = WORDS.get(token.lower())
    return token if kind is None else Token.new_borrow_pos(kind, token, token)


def _unexpected(error: UnexpectedInput, text: str) -> FilterError:
    if isinstance(error, UnexpectedCharacters):
        at = error.pos_in_stream or 0
        if text[at] in "\"'“‘「":
            return FilterError(at + 1, "a text begins here and does not end", "close the quotation mark")
        if text[at].isdigit():
            return FilterError(at + 1, "this is no number", "write it like 49.90; names begin with a letter")
        return FilterError(at + 1, f"{shown(text[at])} has no meaning here", MEANT)
    if isinstance(error, UnexpectedToken) and error.token.type != "$END":
        at = error.token.start_pos or 0
        return FilterError(at + 1, f"{shown(error.token)} was not expected", _allowed(error.accepts or ()))
    expected = error.expected if isinstance(error, UnexpectedEOF) else getattr(error, "accepts", None)
    return FilterError(len(text) + 1, "the filter ends too early", _allowed(expected or ()))


def _allowed(kinds: Any) -> str:
    names = sorted(
        {PLAINLY.get(kind, str(kind).lower()) for kind in kinds if kind not in ("WS", "__IGNORE_0")}
    )
    return "expected: " + ", ".join(names)


class _Builder(Transformer[Token, Any]):
    """Makes the parts while the text is read, so that no deep tree is ever walked."""

    def start(self, found: list[Any]) -> tree.Test:
        return _test(found[0])

    def some(self, found: list[Any]) -> Any:
        return self._joined(tree.Some, found, "OR")

    def every(self, found: list[Any]) -> Any:
        return self._joined(tree.Every, found, "AND")

    def _joined(self, made: type[tree.Some] | type[tree.Every], found: list[Any], word: str) -> Any:
        tests = [_test(one) for one in found if not (isinstance(one, Token) and one.type == word)]
        if len(tests) == 1:
            return tests[0]
        return made(tests[0].at, tuple(tests), **_extent(tests))

    def negation(self, found: list[Any]) -> tree.Not:
        test = _test(found[1])
        return tree.Not(_at(found[0]), test, **_extent([test]))

    def bracket(self, found: list[Any]) -> tree.Test:
        return _test(found[1])

    def comparison(self, found: list[Any]) -> tree.Test:
        values, signs = [_value(one) for one in found[::2]], found[1::2]
        pairs = [
            tree.Compare(left.at, SIGNS[str(sign)], left, right, **_extent([left, right]))
            for left, sign, right in zip(values[:-1], signs, values[1:], strict=True)
        ]
        return pairs[0] if len(pairs) == 1 else tree.Every(pairs[0].at, tuple(pairs), **_extent(pairs))

    def among(self, found: list[Any]) -> tree.Among:
        value, listed = _value(found[0]), found[-1]
        return tree.Among(value.at, value, tuple(listed), **_extent([value]))

    def not_among(self, found: list[Any]) -> tree.Not:
        return _negated(self.among(found))

    def inside(self, found: list[Any]) -> tree.Holds:
        part, whole = _value(found[0]), _value(found[-1])
        return tree.Holds(part.at, whole, part, **_extent([part, whole]))

    def not_inside(self, found: list[Any]) -> tree.Not:
        return _negated(self.inside(found))

    def holds(self, found: list[Any]) -> tree.Holds:
        whole, part = _value(found[0]), _value(found[-1])
        return tree.Holds(whole.at, whole, part, **_extent([part, whole]))

    def truth(self, found: list[Any]) -> Any:
        return found[0]

    def listed(self, found: list[Any]) -> list[Any]:
        values = [one.value for one in found if isinstance(one, tree.Literally)]
        if len(values) > MAX_LISTED:
            wrong = f"the list has {len(values)} values, allowed: {MAX_LISTED}"
            raise FilterError(_at(found[0]), wrong, "give the items an attribute, and compare it")
        return values

    def literal(self, found: list[Any]) -> tree.Literally:
        token: Token = found[0]
        at = _at(token)
        if token.type == "NUMBER":
            value = float(token)
            if not abs(value) <= 1e15:
                raise FilterError(at, f"the number {shown(token)} is too large", "allowed: up to 1e15")
            return tree.Literally(at, value)
        if token.type == "TEXT":
            return tree.Literally(at, _unquoted(str(token)))
        return tree.Literally(at, token.type == "TRUE")

    def name(self, found: list[Any]) -> tree.Column | tree.Attribute:
        words = _words(found)
        if len(words) == 1:
            return tree.Column(_at(found[0]), words[0])
        if len(words) == 2 and words[0] in ("item", "user"):
            made = tree.Column if words[0] == "item" else tree.Attribute
            return made(_at(found[0]), words[1])
        wrong = f"{shown('.'.join(words))} is no name"
        raise FilterError(_at(found[0]), wrong, "allowed: column, item.column, user.attribute")

    def call(self, found: list[Any]) -> Any:
        at, split = _at(found[0]), next(i for i, one in enumerate(found) if _is(one, "LEFT"))
        name = ".".join(_words(found[:split]))
        given = [one for one in found[split + 1 :] if not isinstance(one, Token)]
        if name not in CALLS:
            raise FilterError(at, f"unknown function {shown(name)}", nearest(name, CALLS))
        if name.startswith("user."):
            return _did(at, name.removeprefix("user."), given)
        if len(given) != 1:
            raise FilterError(at, f"{name}() takes one value, got {len(given)}", f"write {name}(column)")
        return _of_one(at, name, given[0])


def _of_one(at: int, name: str, given: Any) -> tree.Missing | tree.Age | tree.Lower:
    extent = _extent([given])
    if name == "missing" and isinstance(given, tree.Column | tree.Attribute):
        return tree.Missing(at, given, **extent)
    if name == "age_days" and isinstance(given, tree.Column):
        return tree.Age(at, given, **extent)
    if name == "lower" and isinstance(given, tree.Literally | tree.Column | tree.Attribute):
        return tree.Lower(at, given, **extent)
    takes = {"missing": "a column or user.attribute", "age_days": "a column", "lower": "a text"}
    raise FilterError(given.at, f"{name}() takes {takes[name]}", f"write {name}(column)")


def _did(at: int, deed: str, given: list[Any]) -> tree.Did:
    known = next(one for one in tree.DEEDS if one == deed)
    first = given[0] if given else None
    if not (isinstance(first, tree.Column) and first.name == "item") or len(given) > 2:
        raise FilterError(at, f"user.{deed}() takes item", f"write user.{deed}(item)")
    if len(given) == 1:
        return tree.Did(at, known, None)
    days = given[1]
    if known == "in_cart" or not isinstance(days, tree.Literally) or type(days.value) is not float:
        raise FilterError(days.at, "not a number of days", "write user.bought(item, 30)")
    if days.value <= 0:
        raise FilterError(
            days.at, f"got {days.value:g} days, allowed: more than 0", "write user.bought(item, 30)"
        )
    return tree.Did(at, known, days.value)


def _test(found: Any) -> tree.Test:
    """A value on its own is a test of its truth."""
    if isinstance(found, tree.Value):
        return tree.Truth(found.at, found)
    made: tree.Test = found
    return made


def _value(found: Any) -> tree.Value:
    if isinstance(found, tree.Value):
        return found
    raise FilterError(_at(found), "this is true or false already", "use it without a comparison")


def _extent(parts: list[Any]) -> dict[str, int]:
    """size and depth of a part made of others; raises FilterError beyond MAX_PARTS and MAX_DEPTH."""
    size, depth = 1 + sum(p.size for p in parts), 1 + max(p.depth for p in parts)
    if size > MAX_PARTS:
        wrong = f"the filter has more than {MAX_PARTS} parts"
        raise FilterError(parts[0].at, wrong, "use in [..] for many values, or several rules")
    if depth > MAX_DEPTH:
        raise FilterError(
            parts[0].at, f"brackets or not are nested deeper than {MAX_DEPTH}", "say it flatter"
        )
    return {"size": size, "depth": depth}


def _negated(test: Any) -> tree.Not:
    return tree.Not(test.at, test, **_extent([test]))


def _words(found: list[Any]) -> list[str]:
    return [str(one).strip("`") for one in found if _is(one, "WORD")]


def _is(found: Any, kind: str) -> bool:
    return isinstance(found, Token) and found.type == kind


def _at(found: Any) -> int:
    return (found.start_pos or 0) + 1 if isinstance(found, Token) else int(found.at)


def _unquoted(text: str) -> str:
    """The text inside the marks; in straight marks a backslash takes the next character as it is.

    >>> _unquoted('"say \\\\"yes\\\\""'), _unquoted("“海尔”")
    ('say "yes"', '海尔')
    """
    inner = text[1:-1]
    if text[0] not in "\"'" or "\\" not in inner:
        return inner
    out, escaped = [], False
    for letter in inner:
        if letter == "\\" and not escaped:
            escaped = True
            continue
        out.append(letter)
        escaped = False
    return "".join(out)
