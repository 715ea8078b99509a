"""What newcomers answered, and what is believed of them.

Likes are stored as clicks and so survive everything; what was not for someone, or was skipped, is kept in
memory alone, of the latest MOST_WHO who answered. What is asked rests on the log at start-up.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import polars as pl

from intently.schema import BoolArray, IntArray
from intently.serving.online.tastes import Group, Tastes, Told, diverse
from intently.serving.state.catalogue import Catalogue
from intently.serving.state.deeds import Deeds
from intently.serving.state.memory import Memory
from intently.serving.state.numbers import Numbers
from intently.serving.state.profiles import Profiles

MOST_WHO: Final = 20_000
MOST_SEEN: Final = 50
"""Latest items of a user that count as likes."""
PAGE: Final = 100
MOST_VALUES: Final = 50
"""Of an attribute; one with more says who somebody is, not what they are like."""


class Onboarding:
    """Questions and answers by who asks; tastes are worked out when they are first needed."""

    def __init__(
        self, memory: Memory, catalogue: Catalogue, profiles: Profiles, users: Callable[[], pl.DataFrame]
    ) -> None:
        self._memory, self._catalogue, self._profiles, self._users = memory, catalogue, profiles, users
        self._said: OrderedDict[str, dict[int, bool | None]] = OrderedDict()
        self._tastes: Tastes | None = None
        self._lock = threading.Lock()

    def tastes(self) -> Tastes:
        """Of the users in the log at start-up."""
        with self._lock:
            if self._tastes is None:
                users, items, _, _ = self._memory.log()
                n_items = int(items.max(initial=-1)) + 1
                groups = groups_of(self._users(), self._memory.users)
                self._tastes = Tastes.of(users, items, n_items, groups)
            return self._tastes

    def note(self, who: str, answers: Mapping[int, bool | None]) -> None:
        """Item number -> liked, not for me (False), or skipped (None)."""
        with self._lock:
            self._said.setdefault(who, {}).update(answers)
            self._said.move_to_end(who)
            if len(self._said) > MOST_WHO:
                self._said.popitem(last=False)

    def said(self, who: str) -> dict[int, bool | None]:
        """What was answered so far."""
        return dict(self._said.get(who, {}))

    def forget(self, who: str) -> None:
        """Drop what a user answered."""
        with self._lock:
            self._said.pop(who, None)

    def told(self, who: str, done: Deeds) -> Told:
        """What is believed, by answers and by what was met."""
        met = {int(item): True for item in done.items[-MOST_SEEN:]}
        said = {item: liked for item, liked in self.said(who).items() if liked is not None}
        tastes = self.tastes()
        if tastes.groups and who:
            tastes = tastes.of_profile(self._profiles.of(who))
        return tastes.told(met | said)

    def questions(self, who: str, done: Deeds, n: int, allowed: BoolArray) -> IntArray:
        """The next `n` items to ask for; fewer when there are no more."""
        free = self._free(who, allowed) & ~np.isin(self.tastes().items, done.items)
        return self.told(who, done).next(n, free)

    def page(self, who: str, done: Deeds, allowed: BoolArray) -> IntArray:
        """A first page: of what most like, something of every category; after answers, what fits them."""
        believed, free = self.told(who, done), self._free(who, allowed)
        if len(done.items) or self.said(who) or believed.tastes is not self.tastes():
            return believed.best(PAGE, free)
        items = believed.best(PAGE, free)
        weights = np.sort(np.maximum(believed.mean[free], 1e-9))[::-1][: len(items)]
        names = [self._catalogue.category(int(item)) for item in items]
        groups = np.unique(names, return_inverse=True)[1] if len(names) else np.zeros(0, np.int64)
        return items[diverse(items, weights, groups.astype(np.int32), len(items))]

    def _free(self, who: str, allowed: BoolArray) -> BoolArray:
        """Items of the tastes that may be named: nothing that was answered before."""
        items = self.tastes().items
        known = items < len(allowed)
        free = known & allowed[np.where(known, items, 0)] if len(allowed) else known & False
        return free & ~np.isin(items, list(self.said(who)))


def groups_of(table: pl.DataFrame, users: Numbers) -> dict[Group, IntArray]:
    """Users who share a value of an attribute, by (attribute, value); attributes of few values alone."""
    found: dict[Group, IntArray] = {}
    if table.is_empty():
        return found
    number = np.array([users.get(name) for name in table["user_id"].to_list()], np.int32)
    for column in table.columns:
        values = table[column]
        if column == "user_id" or values.dtype not in (pl.String, pl.Boolean, pl.Int64, pl.Categorical):
            continue
        if values.n_unique() > MOST_VALUES:
            continue
        texts = np.array([None if value is None else str(value) for value in values.to_list()], object)
        for value in {text for text in texts.tolist() if text is not None}:
            members = number[texts == value]
            found[column, value] = members[members >= 0]
    return found
