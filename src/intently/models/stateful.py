"""Models whose answer for one user is carried from event to event, without reading the history again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

from intently.data import Histories
from intently.errors import InputError
from intently.models.ranking import Ranked, enough, top_k
from intently.schema import ByteArray, DoubleArray, FloatArray, IntArray

S = TypeVar("S")


@runtime_checkable
class Stateful(Protocol[S]):
    """What a model has besides the contract when `isinstance(model, Stateful)`.

    A state is a value: nothing changes it, `advance` gives another one, and both may be used in several
    threads. Whatever the way to it, it answers as a full reading of the same history would, to float
    rounding. It belongs to the fitted model that made it, and to no other.
    """

    def begin(self, history: Histories) -> S:
        """The state after a history (a batch of one; an empty one for a stranger). Raises InputError."""
        ...

    def advance(self, state: S, items: IntArray, time_s: DoubleArray, events: ByteArray) -> S:
        """The state after more positive events, in the columns of Histories.

        Events may come late (older than what the state has seen). Raises InputError when the columns
        differ in length or hold an item that is none.
        """
        ...

    def vector(self, state: S) -> FloatArray:
        """(d,) what the model holds of the user; zeros where it knows nothing of them."""
        ...

    def scores_of(self, state: S) -> FloatArray:
        """(n_items,) what `scores` says of the same history."""
        ...

    def best(
        self, state: S, k: int = 10, *, repeats: bool | None = None, exclude: Iterable[int] = ()
    ) -> Ranked:
        """What `top_k` answers to the same history; a batch of one. Raises InputError when k < 1."""
        ...


def checked(
    n_items: int, items: IntArray, time_s: DoubleArray, events: ByteArray
) -> tuple[IntArray, DoubleArray, ByteArray]:
    """The columns of an advance as arrays; raises InputError when they do not fit together."""
    items, time_s = np.asarray(items, np.int32), np.asarray(time_s, np.float64)
    events = np.asarray(events, np.uint8)
    if not items.shape == time_s.shape == events.shape or items.ndim != 1:
        raise InputError(
            f"items, time_s and events must be columns of one length, got shapes {items.shape}, "
            f"{time_s.shape} and {events.shape}"
        )
    given = items.tolist()  # of one or some: quicker than a reduction of the array
    if given and not 0 <= min(given) <= max(given) < n_items:
        raise InputError(f"items must be in 0 to {n_items - 1}, got {min(given)} to {max(given)}")
    return items, time_s, events


def best_of(scores: FloatArray, k: int) -> tuple[IntArray, FloatArray]:
    """(places, scores) of the best finite `k` of one row, best first; ties go to the smaller place.

    One pass to find the score that is just good enough and one to find who has it: for 12,000 items a
    third of what sorting out a whole row costs. Where most places have no score the others are picked first.

    >>> [part.tolist() for part in best_of(np.array([1.0, 3.0, 2.0, 3.0], np.float32), 3)]
    [[1, 3, 2], [3.0, 3.0, 2.0]]
    """
    n = len(scores)
    if k >= n or 2 * np.count_nonzero(scores > -np.inf) < n:
        ranked = top_k(scores[None], min(k, n))
        found = ranked.items[0][ranked.items[0] >= 0]
        return found, scores[found]
    pool = np.flatnonzero(scores >= enough(scores, k))
    pool = pool[np.argsort(-scores[pool], kind="stable")[:k]]
    best = scores[pool]
    there = np.isfinite(best)
    return pool[there].astype(np.int32), best[there]
