"""What is wrong with a filter, and where."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

from intently.errors import InputError

SHOWN: Final = 40
LISTED: Final = 20


class FilterError(InputError):
    """A filter that cannot be used; `at` is the character where, from 1."""

    def __init__(self, at: int, wrong: str, hint: str = "") -> None:
        super().__init__(f"character {at}: {wrong}", hint=hint, field="filter")
        self.at = at


def shown(text: str) -> str:
    """A piece of the filter, short and printable, in quotes.

    >>> shown("price"), shown("x" * 50)[-6:]
    ("'price'", "xxxx…'")
    """
    short = text if len(text) <= SHOWN else text[:SHOWN] + "…"
    return "'" + "".join(c if c.isprintable() else "�" for c in short) + "'"


def nearest(name: str, allowed: Iterable[str]) -> str:
    """A hint: the name that was probably meant, else all that are allowed.

    >>> nearest("pirce", ["price", "brand"])
    "did you mean 'price'? allowed: brand, price"
    """
    known = sorted(allowed)
    listed = "allowed: " + (", ".join(known[:LISTED]) or "none")
    if len(known) > LISTED:
        listed += f" and {len(known) - LISTED} more"
    near = difflib.get_close_matches(name[:SHOWN], known, n=1)
    return f"did you mean {near[0]!r}? {listed}" if near else listed
