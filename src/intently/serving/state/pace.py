"""How long a list takes: one that the live model is asked for anew, and one of what it said before."""

from __future__ import annotations

from typing import Final

QUICK_S: Final = 0.002
"""A list that is quicker is made where the request came in; a slower one in a thread."""

GROUP: Final = 8
"""Answers of which the quickest counts: on a busy machine the others measure who else was at work.

The time of the thread alone would say the same, but asking the kernel for it costs some systems as much as
a tenth of an answer.
"""

INF: Final = float("inf")


class Pace:
    """The quickest of the latest answers of one version, those made anew and the others apart."""

    def __init__(self) -> None:
        self.lists = 0  # so far, of any version
        self._version: object = None
        self._n, self._least_s, self._told_s = [0, 0], [INF, INF], [INF, INF]

    def took(self, version: object, seconds: float, anew: bool) -> None:
        """One answer; a new version begins anew."""
        self.lists += 1
        if version is not self._version:
            self._version = version
            self._n, self._least_s, self._told_s = [0, 0], [INF, INF], [INF, INF]
        self._n[anew] += 1
        self._least_s[anew] = min(self._least_s[anew], seconds)
        if self._n[anew] % GROUP == 0:
            self._told_s[anew], self._least_s[anew] = self._least_s[anew], INF

    def quick(self, anew: bool) -> bool:
        """Whether such an answer may be waited for; false until a group of them was seen."""
        return self._told_s[anew] < QUICK_S
