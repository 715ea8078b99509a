"""Which identities are surely new: a filter in memory in front of the tree on disk.

A Bloom filter (Bloom, CACM 1970) with two places an identity, which is a mixed 64-bit number already, so
that its halves are the hashes. With 16 bits an identity 1.4 % of the new ones are taken for known, and only
those are looked up in the tree.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from intently.schema import BoolArray, LongArray

BITS: Final = 16
"""Of the filter for each identity that it has room for; two bytes."""

_WORD: Final = np.uint64(6)  # 2 ** 6 bits
_IN_WORD: Final = np.uint64(63)
_HALF: Final = np.uint64(32)
_ONE: Final = np.uint64(1)


class Sieve:
    """Holds identities, with room for `room` of them; 2 ** 32 bits, 500 MB, at most.

    >>> sieve = Sieve(100)
    >>> sieve.add(np.array([5 << 32 | 7]))
    >>> sieve.may_hold(np.array([5 << 32 | 7, 8 << 32 | 9])).tolist()
    [True, False]
    """

    def __init__(self, room: int) -> None:
        doublings = min(max(BITS * room - 1, 64).bit_length(), 32)
        self.room = 2**doublings // BITS
        self._bits: NDArray[np.uint64] = np.zeros(2**doublings >> 6, np.uint64)
        self._mask = np.uint64(2**doublings - 1)

    def add(self, identities: LongArray) -> None:
        """Hold these, (n,)."""
        for place in self._places(identities):
            np.bitwise_or.at(self._bits, place >> _WORD, _ONE << (place & _IN_WORD))

    def may_hold(self, identities: LongArray) -> BoolArray:
        """(n,): False where it was surely never added."""
        first, second = (
            self._bits[place >> _WORD] >> (place & _IN_WORD) for place in self._places(identities)
        )
        found: BoolArray = (first & second & _ONE).astype(bool)
        return found

    def _places(self, identities: LongArray) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        words = identities.view(np.uint64)
        return words & self._mask, (words >> _HALF) & self._mask
