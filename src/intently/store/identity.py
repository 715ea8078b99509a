"""What makes two events the same event: a stable 64-bit identity.

Each column is mixed with the splitmix64 finaliser (Steele, Lea and Flood, OOPSLA 2014) and chained;
texts enter as words of eight bytes, long ones as BLAKE2b. It is our own because it is kept on disk:
frame libraries change their hashes between releases. Among n events some two different ones share an
identity with a chance of n²/2⁶⁵: 1 in 92,000 for 20 million events.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from intently.schema import DoubleArray, LongArray
from intently.store.base import EVENT_TYPES

Words = NDArray[np.uint64]

_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_M1: Final = np.uint64(0xBF58476D1CE4E5B9)
_M2: Final = np.uint64(0x94D049BB133111EB)
_NOTHING: Final = 0x6E6F7468696E6721
_SHORT: Final = 40  # bytes: a UUID with its dashes fits
_NUMBERS: Final = ("value", "quantity", "price")
_TEXTS: Final = ("session_id", "recommendation_id")


def identities(frame: pl.DataFrame, users: LongArray, items: LongArray) -> LongArray:
    """One signed 64-bit number an event, (n,).

    frame: the typed rows; users, items: the store's own keys of their ids, which never change.
    """
    moments = micros(frame["time_s"].to_numpy())
    events = frame["event"].to_numpy()
    words = _keyed(users, items, events, moments)
    words = _chained(words, (_numbers(frame[name]) for name in _NUMBERS))
    words = _chained(words, (_texts(frame[name]) for name in _TEXTS))
    named = frame["event_id"].is_not_null().to_numpy()
    if named.any():
        words = np.where(named, _mix(_texts(frame["event_id"])), words)
    return words.view(np.int64)


def row_identities(
    columns: Sequence[Sequence[Any]], users: LongArray, items: LongArray, moments: LongArray
) -> LongArray:
    """The same numbers from the columns of a few plain rows (store.base.EventRow), without a frame.

    moments: whole microseconds, (n,).
    """
    by_name = dict(zip(EVENT_TYPES, columns, strict=True))
    event_ids = by_name["event_id"]
    if None not in event_ids:
        return _mix(_listed_texts(event_ids)).view(np.int64)
    words = _keyed(users, items, np.array(by_name["event"], np.uint8), moments)
    words = _chained(words, (_listed_numbers(by_name[name]) for name in _NUMBERS))
    words = _chained(words, (_listed_texts(by_name[name]) for name in _TEXTS))
    named = np.array([one is not None for one in event_ids])
    return np.where(named, _mix(_listed_texts(event_ids)), words).view(np.int64)


def micros(time_s: DoubleArray) -> LongArray:
    """Whole microseconds since 1970, as kept on disk."""
    return np.rint(time_s * 1e6).astype(np.int64)


def _keyed(users: LongArray, items: LongArray, events: NDArray[np.uint8], moments: LongArray) -> Words:
    """Who, what, how and when, chained."""
    words = _mix(users.astype(np.uint64)) + _STEP
    return _chained(words, (items.astype(np.uint64), events.astype(np.uint64), moments.view(np.uint64)))


def _chained(words: Words, more: Iterable[Words]) -> Words:
    for each in more:
        words = _mix(words ^ each) + _STEP
    return words


def _mix(words: Words) -> Words:
    words = (words ^ (words >> np.uint64(30))) * _M1
    words = (words ^ (words >> np.uint64(27))) * _M2
    return words ^ (words >> np.uint64(31))


def _numbers(column: pl.Series) -> Words:
    if column.null_count() == len(column):
        return np.full(len(column), _NOTHING, np.uint64)
    filled = column.fill_null(0.0).to_numpy() + 0.0  # minus zero becomes zero
    return np.where(column.is_null().to_numpy(), np.uint64(_NOTHING), filled.view(np.uint64))


def _listed_numbers(values: Sequence[float | None]) -> Words:
    filled = np.array([0.0 if value is None else value for value in values], np.float64) + 0.0
    absent = np.array([value is None for value in values])
    return np.where(absent, np.uint64(_NOTHING), filled.view(np.uint64))


def _texts(column: pl.Series) -> Words:
    if column.null_count() == len(column):
        return np.full(len(column), _NOTHING, np.uint64)
    words = _text_words(column.fill_null("").cast(pl.Binary).to_list())
    words[column.is_null().to_numpy()] = _NOTHING
    return words


def _listed_texts(values: Sequence[str | None]) -> Words:
    words = _text_words([b"" if value is None else value.encode() for value in values])
    if None in values:
        words[np.array([value is None for value in values])] = _NOTHING
    return words


def _text_words(texts: list[bytes]) -> Words:
    """Up to _SHORT bytes of UTF-8 as zero-padded words, chained with the length; longer as BLAKE2b."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    padded = np.array(texts, dtype=f"S{_SHORT}").view("<u8").reshape(len(texts), -1)  # (n, words)
    words = _mix(lengths.astype(np.uint64))
    for position in range(padded.shape[1]):
        words = _mix(words ^ padded[:, position]) + _STEP
    for row in np.flatnonzero(lengths > _SHORT).tolist():
        digest = hashlib.blake2b(texts[row], digest_size=8).digest()
        words[row] = int.from_bytes(digest, "little")
    return words
