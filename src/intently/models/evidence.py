"""Whether a reason is true: without the evidence that it names, the score falls.

What a person did can be taken back: for "bought 4 times" the model answers again for a history without these
purchases. What is said of the item itself (many buy it, its price is low) cannot, so a two-stage model is
asked about the same pair with this family of evidence as weak as it is among the candidates
(TwoStage.chance_without). The same parts of the history, left out one at a time, say which of them a model
that gives only an order goes by (leave-one-out, as in Koh and Liang 2017, but of the input, not of training).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from intently.data import Histories
from intently.models.base import Recommender
from intently.models.two_stage import TwoStage
from intently.schema import BoolArray, DoubleArray

OWN = frozenset(("habit", "rhythm", "met"))
"""Reasons that rest on what the user did with the item itself."""
MOST_TRIED = 20
"""Of a longer history only the latest this many items are left out in turn."""


def score_of(model: Recommender, histories: Histories, item: int) -> DoubleArray:
    """(batch,) what the model says of one item: a probability where it gives them, else its score."""
    if isinstance(model, TwoStage):
        found = model.probability(histories, [[item]] * len(histories))
        return np.array([float(values[0]) for values in found])
    return model.scores(histories)[:, item].astype(np.float64)


def score_without(model: Recommender, history: Histories, item: int, code: str) -> float | None:
    """The item's score without the evidence of a reason; None where it cannot be taken away.

    history: of one user. code: as in `reasons.Reason`, or "met".
    """
    if code in OWN:
        gone = history.items == item
    elif code == "kind" and isinstance(model, TwoStage):
        gone = model.kin(history.items, item)
    elif isinstance(model, TwoStage):
        return model.chance_without(history, item, code)
    else:
        return None
    return float(score_of(model, without(history, [gone]), item)[0]) if gone.any() else None


def strongest(model: Recommender, history: Histories, item: int) -> tuple[int, float] | None:
    """The item of the history without which the score falls furthest, and to what; None where none does."""
    tried = list(dict.fromkeys(history.items[::-1].tolist()))[:MOST_TRIED]
    if not tried:
        return None
    before = float(score_of(model, history, item)[0])
    after = score_of(model, without(history, [history.items == other for other in tried]), item)
    place = int(np.argmin(after))
    return (tried[place], float(after[place])) if after[place] < before else None


def without(history: Histories, gone: Sequence[BoolArray]) -> Histories:
    """One history several times, each time without the events where a mask is true.

    >>> without(Histories.of([[5, 6, 5]]), [np.array([True, False, True])]).items.tolist()
    [6]
    """
    stays = [~mask for mask in gone]
    n = len(gone)
    return Histories(
        np.concatenate([[0], np.cumsum([int(mask.sum()) for mask in stays])]).astype(np.int64),
        np.concatenate([history.items[mask] for mask in stays]),
        np.concatenate([history.time_s[mask] for mask in stays]),
        np.concatenate([history.events[mask] for mask in stays]),
        np.repeat(history.users, n),
        np.repeat(history.at_s, n),
    )
