"""How long the live model works on a list: seconds of its thread, as a busy machine changes the clock's."""

from __future__ import annotations

from typing import Final

QUICK_S: Final = 0.002
"""A model that is quicker is asked where the request came in; a slower one in a thread."""

LEAST: Final = 20
"""Answers before anything is known of a model."""

_WEIGHT: Final = 0.05  # of the latest answer


class Pace:
    """Running mean of one version's answers."""

    def __init__(self) -> None:
        self._version: object = None
        self._n = 0
        self._mean_s = 0.0

    def took(self, version: object, seconds: float) -> None:
        """One answer; a new version begins anew."""
        if version is not self._version:
            self._version, self._n, self._mean_s = version, 0, seconds
        self._n += 1
        self._mean_s += _WEIGHT * (seconds - self._mean_s)

    @property
    def quick(self) -> bool:
        """Whether an answer may be waited for."""
        return self._n >= LEAST and self._mean_s < QUICK_S
