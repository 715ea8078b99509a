"""A list whose items are not all alike: maximal marginal relevance (Carbonell & Goldstein 1998).

Place after place goes to the candidate with the highest

    (1 - share) * relevance - share * likeness to the most alike item that is in the list already

We differ in the relevance, which falls with the place in the order and not with the score: scores of one list
differ by powers of ten and those of another hardly, and one share must mean the same for both. Likeness is
the cosine of texts along their main directions; for items without, whether they are of one category.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from intently.schema import BoolArray, DoubleArray, FloatArray, IntArray, LongArray
from intently.serving.answer.draft import Draft
from intently.serving.state.engine import Engine

LOOKED_AT: Final = 100
"""Candidates among which places are given; those behind keep their order."""
MOST: Final = 50
"""Places that are given; what follows keeps its order."""


def spread(engine: Engine, draft: Draft) -> None:
    """The first n of the draft, diverse to the share that the request or its scenario asks for."""
    share = draft.request.diversity
    if not share or len(draft) < 3:
        return
    numbers = draft.numbers[:LOOKED_AT]
    order = mmr(likeness(engine, draft, numbers), min(draft.n, MOST), share)
    draft.reorder(np.concatenate([order, np.arange(len(numbers), len(draft))]))


def mmr(alike: FloatArray, n: int, share: float) -> LongArray:
    """Places of m candidates in their new order: the first n diverse, the others as they were.

    alike: (m, m), candidates best first.

    >>> mmr(np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], np.float32), 2, 0.5).tolist()
    [0, 2, 1]
    """
    m = len(alike)
    value = ((1.0 - share) * relevance(m)).astype(np.float32)
    weighted = alike * np.float32(share)
    nearest, gain = np.full(m, -np.inf, np.float32), np.empty(m, np.float32)
    chosen = [0][:m]  # nothing is in the list yet, so the best goes first
    while len(chosen) < min(n, m):
        value[chosen[-1]] = -np.inf
        np.maximum(nearest, weighted[chosen[-1]], out=nearest)
        np.subtract(value, nearest, out=gain)
        chosen.append(int(gain.argmax()))
    rest: BoolArray = np.ones(m, bool)
    rest[chosen] = False
    return np.concatenate([np.array(chosen, np.int64), np.flatnonzero(rest)])


def relevance(m: int) -> DoubleArray:
    """(m,) 1 for the first, falling with the logarithm of the place, as NDCG's weights do."""
    out: DoubleArray = 1.0 / np.log2(np.arange(m) + 2.0)
    return out


def likeness(engine: Engine, draft: Draft, numbers: IntArray) -> FloatArray:
    """(m, m) in 0 to 1: how alike these items are."""
    standing = draft.view.standing
    vectors = engine.newcomers.vectors(standing) if standing is not None else None
    if standing is None or vectors is None:
        return _same(engine, numbers)
    dense = standing.dense(numbers)
    rows = vectors[np.maximum(dense, 0)]
    cosine: FloatArray = np.maximum(rows @ rows.T, 0.0)
    unread = np.flatnonzero(dense < 0)
    if len(unread):
        same = _same(engine, numbers)
        cosine[unread], cosine[:, unread] = same[unread], same[:, unread]
    return cosine


def _same(engine: Engine, numbers: IntArray) -> FloatArray:
    """(m, m) 1 where two items are of one category; an item without one is like itself alone."""
    kinds = [engine.catalogue.category(number) or at for at, number in enumerate(numbers.tolist())]
    codes = {kind: code for code, kind in enumerate(dict.fromkeys(kinds))}
    code = np.fromiter((codes[kind] for kind in kinds), np.int32, len(kinds))
    out: FloatArray = (code[:, None] == code).astype(np.float32)
    return out
