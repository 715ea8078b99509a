"""How long the live model takes for a list."""

from __future__ import annotations

from typing import Final

QUICK_S: Final = 0.002
"""A model that is quicker is asked where the request came in; a slower one in a thread."""

GROUP: Final = 8
"""Answers of which the quickest counts: on a busy machine the others measure who else was at work.

The time of the thread alone would say the same, but asking the kernel for it costs some systems as much as
a tenth of an answer.
"""


class Pace:
    """The quickest of the latest answers of one version."""

    def __init__(self) -> None:
        self.lists = 0  # so far, of any version
        self._version: object = None
        self._n = 0
        self._least_s = self._told_s = float("inf")

    def took(self, version: object, seconds: float) -> None:
        """One answer; a new version begins anew."""
        self.lists += 1
        if version is not self._version:
            self._version, self._n = version, 0
            self._least_s = self._told_s = float("inf")
        self._n += 1
        self._least_s = min(self._least_s, seconds)
        if self._n % GROUP == 0:
            self._told_s, self._least_s = self._least_s, float("inf")

    @property
    def quick(self) -> bool:
        """Whether an answer may be waited for; false until a group of answers was seen."""
        return self._told_s < QUICK_S
