"""Questions that behaviour asks of texts: given these past items, which item comes?

A shop's events become rows of (recent past, what came), split so that a tuned encoder can be judged on
items that no training question has shown:

    test        what each user did last; cold where the item is one of a random tenth of the items
    validation  earlier moments, of another tenth of the items
    training    all other earlier moments, without the items of both tenths

Whoever buys a thing again is no question here: repeats are told by counting, not by reading.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from intently.data import Dataset, Histories
from intently.errors import InputError
from intently.schema import BoolArray, FloatArray, IntArray

RECENT = 8
"""Past items that a training question shows."""
LONGEST = 50
"""Past items that a test question shows, and that are no answer to it."""
_LEAST = 2


@dataclass(frozen=True)
class Questions:
    """past: (n, length) items, the newest first, -1 behind the last; back: (n, length) moments ago, from 0.

    target: (n,) the item that came.
    """

    past: IntArray
    back: IntArray
    target: IntArray

    def __len__(self) -> int:
        return len(self.target)

    def weights(self, decay: float) -> FloatArray:
        """(n, length) decay ** moments ago, 0 where there is no item."""
        return np.where(self.past >= 0, decay**self.back, 0.0).astype(np.float32)

    def select(self, rows: IntArray) -> Questions:
        """These rows, in this order."""
        return Questions(self.past[rows], self.back[rows], self.target[rows])


@dataclass(frozen=True)
class Split:
    """Training, validation and test questions, and the items that are new in the latter two."""

    train: Questions
    validation: Questions
    test: Questions
    cold: BoolArray  # (n_items,) met in no training or validation question
    held: BoolArray  # (n_items,) met in no training question, answers of the validation


def split(
    shop: Dataset,
    *,
    cold_share: float = 0.1,
    recent: int = RECENT,
    most_train: int = 400_000,
    most_validation: int = 20_000,
    most_test: int = 25_000,
    baskets: bool = False,
    seed: int = 0,
) -> Split:
    """Split a shop's behaviour as the module says; the same for the same seed.

    baskets: other items of the same moment belong to the past, too. recent: moments are read back until
    so many items are found. most_*: more questions are sampled down.
    Raises InputError when nothing is left to learn from or to judge on.
    """
    if not 0.0 < cold_share < 0.5:
        raise InputError(f"cold_share must lie between 0 and 0.5, got {cold_share}", field="cold_share")
    rng = np.random.default_rng([seed, 41])
    cold, held = _two_tenths(shop.n_items, cold_share, rng)
    histories = shop.histories()
    new = _first_time(histories)
    known = ~(cold | held)
    source = _Source(histories, histories.rows, histories.steps_back, baskets)
    earlier = (source.back > 0) & new
    items = histories.items
    train = _sample(np.flatnonzero(earlier & known[items]), most_train, rng)
    validation = _sample(np.flatnonzero(earlier & held[items]), most_validation, rng)
    test = _sample(np.flatnonzero(new & _last_of_user(histories)), most_test, rng)
    found = Split(
        train=_ask(source, train, recent, known),
        validation=_ask(source, validation, LONGEST, ~cold),
        test=_ask(source, test, LONGEST, np.ones(shop.n_items, bool)),
        cold=cold,
        held=held,
    )
    for name in ("train", "validation", "test"):
        if len(getattr(found, name)) < _LEAST:
            raise InputError(
                f"this shop's behaviour gives {len(getattr(found, name))} questions for {name}: too few",
                hint="import more users who met three different items or more",
            )
    return found


def _two_tenths(n_items: int, share: float, rng: np.random.Generator) -> tuple[BoolArray, BoolArray]:
    order = rng.permutation(n_items)
    size = max(1, round(share * n_items))
    cold, held = np.zeros(n_items, bool), np.zeros(n_items, bool)
    cold[order[:size]] = True
    held[order[size : 2 * size]] = True
    return cold, held


def _first_time(histories: Histories) -> BoolArray:
    """Whether an event is the user's first one with its item, (n_events,)."""
    pairs = histories.rows.astype(np.int64) * (int(histories.items.max(initial=0)) + 1) + histories.items
    first = np.zeros(len(pairs), bool)
    first[np.unique(pairs, return_index=True)[1]] = True
    return first


def _last_of_user(histories: Histories) -> BoolArray:
    last = np.zeros(len(histories.items), bool)
    last[histories.indptr[1:][histories.lengths > 0] - 1] = True
    return last


def _sample(
    rows: np.ndarray[tuple[int], np.dtype[np.int64]], most: int, rng: np.random.Generator
) -> IntArray:
    chosen = rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))
    return chosen.astype(np.int32)


@dataclass(frozen=True)
class _Source:
    """Histories with each event's user's row, and its moments before the user's last one."""

    histories: Histories
    rows: IntArray
    back: IntArray
    baskets: bool


def _ask(source: _Source, events: IntArray, length: int, shown: BoolArray) -> Questions:
    """The questions that end in `events`, with the latest `length` items before their moment; none without.

    shown: (n_items,) items that may stand in the past.
    """
    items, back = source.histories.items, source.back
    past = np.full((len(events), length), -1, np.int32)
    ago = np.zeros((len(events), length), np.int32)
    for line, event in enumerate(events):
        start = int(source.histories.indptr[source.rows[event]])
        end = int(event)
        if not source.baskets:  # what came in the same moment is not past
            end = start + int(np.searchsorted(-back[start:event], -back[event], side="left"))
        before = np.arange(end - 1, max(start, end - 4 * length) - 1, -1)
        before = before[shown[items[before]] & (items[before] != items[event])]
        found, places = np.unique(items[before], return_index=True)
        order = np.argsort(places)[:length]
        past[line, : len(order)] = found[order]
        ago[line, : len(order)] = np.maximum(back[before[places[order]]] - back[event] - 1, 0)
    asked = past[:, 0] >= 0
    return Questions(past[asked], ago[asked], items[events[asked]])
