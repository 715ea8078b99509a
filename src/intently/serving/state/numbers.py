"""Outside ids to consecutive numbers of the service's own."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import numpy as np

from intently.schema import IntArray


class Numbers:
    """Ids that may grow but never change; artifacts number the same items anew, so they are mapped to these.

    >>> numbers = Numbers(["a"])
    >>> numbers.add("b"), numbers.get("c"), len(numbers)
    (1, -1, 2)
    """

    def __init__(self, ids: list[str]) -> None:
        self.ids = ids
        self._number = {name: number for number, name in enumerate(ids)}
        self._adding = threading.Lock()

    def __len__(self) -> int:
        return len(self.ids)

    def get(self, name: str) -> int:
        """The number, -1 for a stranger."""
        return self._number.get(name, -1)

    def add(self, name: str) -> int:
        """The number, a new one for a stranger."""
        number = self._number.get(name)
        if number is not None:
            return number
        with self._adding:
            if name not in self._number:
                self.ids.append(name)  # first the id, then the number: who has a number finds its id
                self._number[name] = len(self.ids) - 1
            return self._number[name]

    def of_all(self, names: Sequence[str]) -> list[int]:
        """The number of each, new ones for strangers."""
        try:
            return list(map(self._number.__getitem__, names))
        except KeyError:
            return [self.add(name) for name in names]

    def forget(self, name: str) -> None:
        """The id means nothing from now on; its number is never given again."""
        with self._adding:
            number = self._number.pop(name, None)
            if number is not None:
                self.ids[number] = ""

    def add_all(self, names: Iterable[str]) -> IntArray:
        """Numbers of many."""
        return np.fromiter((self.add(name) for name in names), np.int32)
