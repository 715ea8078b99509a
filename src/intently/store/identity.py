"""What makes two events the same event: a stable 64-bit identity.

Each column is mixed with the splitmix64 finaliser (Steele, Lea and Flood, OOPSLA 2014) and chained;
texts enter as words of eight bytes, long ones as BLAKE2b. It is our own because it is kept on disk:
frame libraries change their hashes between releases. Among n events some two different ones share an
identity with a chance of n²/2⁶⁵: 1 in 92,000 for 20 million events.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from intently.schema import LongArray

Words = NDArray[np.uint64]

_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_M1: Final = np.uint64(0xBF58476D1CE4E5B9)
_M2: Final = np.uint64(0x94D049BB133111EB)
_NOTHING: Final = 0x6E6F7468696E6721
_SHORT: Final = 40  # bytes: a UUID with its dashes fits


def identities(frame: pl.DataFrame, users: LongArray, items: LongArray) -> LongArray:
    """One signed 64-bit number an event, (n,).

    frame: the typed rows; users, items: the store's own keys of their ids, which never change.
    """
    words = _mix(users.astype(np.uint64)) + _STEP
    words = _mix(words ^ items.astype(np.uint64)) + _STEP
    words = _mix(words ^ frame["event"].to_numpy().astype(np.uint64)) + _STEP
    words = _mix(words ^ micros(frame["time_s"]).view(np.uint64)) + _STEP
    for name in ("value", "quantity", "price"):
        words = _mix(words ^ _numbers(frame[name])) + _STEP
    for name in ("session_id", "recommendation_id"):
        words = _mix(words ^ _texts(frame[name])) + _STEP
    named = frame["event_id"].is_not_null().to_numpy()
    if named.any():
        words = np.where(named, _mix(_texts(frame["event_id"])), words)
    return words.view(np.int64)


def micros(time_s: pl.Series) -> LongArray:
    """Whole microseconds since 1970, as kept on disk."""
    return np.rint(time_s.to_numpy() * 1e6).astype(np.int64)


def _mix(words: Words) -> Words:
    words = (words ^ (words >> np.uint64(30))) * _M1
    words = (words ^ (words >> np.uint64(27))) * _M2
    return words ^ (words >> np.uint64(31))


def _numbers(column: pl.Series) -> Words:
    if column.null_count() == len(column):
        return np.full(len(column), _NOTHING, np.uint64)
    filled = column.fill_null(0.0).to_numpy() + 0.0  # minus zero becomes zero
    return np.where(column.is_null().to_numpy(), np.uint64(_NOTHING), filled.view(np.uint64))


def _texts(column: pl.Series) -> Words:
    """Up to _SHORT bytes of UTF-8 as zero-padded words, chained with the length; longer as BLAKE2b."""
    if column.null_count() == len(column):
        return np.full(len(column), _NOTHING, np.uint64)
    texts = column.fill_null("").cast(pl.Binary).to_list()
    lengths = column.str.len_bytes().fill_null(0).to_numpy()
    padded = np.array(texts, dtype=f"S{_SHORT}").view("<u8").reshape(len(texts), -1)  # (n, words)
    words = _mix(lengths.astype(np.uint64))
    for position in range(padded.shape[1]):
        words = _mix(words ^ padded[:, position]) + _STEP
    for row in np.flatnonzero(lengths > _SHORT).tolist():
        digest = hashlib.blake2b(texts[row], digest_size=8).digest()
        words[row] = int.from_bytes(digest, "little")
    words[column.is_null().to_numpy()] = _NOTHING
    return words
