"""Closed-form linear models: recency-weighted past -> next items, and EASE as a setting.

    next   B = (X'X + l2 I)^-1 X'Y     row of X: sum over earlier moments of decay ** distance,
                                       row of Y: the items of the moment that came next
    self   B = I - P diag(1 / diag P)  P = (X'X + l2 I)^-1, row of X: all that a user met

`next` is the family of SLIT in Choi et al., "Session-aware linear item-item models", WWW 2021; we
differ: only the one next moment is a target, earlier moments weigh less geometrically instead of by
minutes, products of one basket share a moment, and one ridge holds for all. `self` is EASE (Steck,
WWW 2019), asked with the same recency weights. Both are one Cholesky factor and its inverse, in place.
"""

from __future__ import annotations

from typing import ClassVar, Final, Self

import numpy as np
from scipy import sparse

from intently import progress
from intently.data import Dataset, Histories
from intently.errors import InputError, NotReadyError
from intently.models.base import REPEAT_SHARE, Recommender, State
from intently.models.popular import share_of_best
from intently.models.products import decayed, dense_product
from intently.models.ridge import ease_rows, largest, largest_stored, next_rows, place, ridge_inverse
from intently.models.space import Choice, Float, Space
from intently.models.sums import Pasts, Sums
from intently.schema import FloatArray, LongArray

FILLER: Final = 1e-6
"""Score of the most popular item when nothing speaks for it; predictions are about 0.01."""

MAX_ITEMS: Final = 3_000

AT_ONCE: Final = 1024
"""Rare items that are looked at together."""

KEEP: Final = ("weights", "sums")


class Linear(Recommender):
    """score(j) = sum over the history's items i of decay ** steps_back(i) * B[i, j].

    B is solved exactly over the `max_items` most frequent items (memory: 4 * max_items^2 bytes, time:
    max_items^3); an item beyond them can be recommended too, and as part of a history speaks for
    what followed it. More exact items cost more and do not rank better: on validation, of Amazon Beauty's
    12,101 items 3,000 rank as well as 6,000 and better than 8,000. Of each row of B the `n_kept` largest
    entries by size are kept.

    With keep = "sums" users can be removed and added afterwards, exactly. The artifact then holds
    counts of pairs of items: those are personal data where a pair may come from one person, and they
    are what must be changed when that person is erased. They are never given away by an answer.
    """

    name = "linear"
    SPACE: ClassVar[Space] = {
        "decay": Float(0.3, 1.0),
        "l2": Float(1.0, 3_000.0, log=True),
        "target": Choice(("next", "self")),
    }

    def __init__(
        self,
        decay: float = 0.7,
        l2: float = 100.0,
        target: str = "next",
        max_items: int = MAX_ITEMS,
        n_kept: int = 300,
        keep: str = "weights",
    ) -> None:
        """decay: (0, 1], weight of one moment earlier. l2: above 0, in events. target: next or self.

        keep: weights (all that answers need) or sums (counts of pairs of items besides, from which a user
        can be removed or added).
        """
        super().__init__()
        if not 0 < decay <= 1:
            raise InputError(f"decay must be in (0, 1], got {decay}", field="decay")
        if not 0 < l2 < float("inf"):
            raise InputError(f"l2 must be above 0, got {l2}", field="l2")
        if target not in ("next", "self"):
            raise InputError(f"target must be 'next' or 'self', got {target!r}", field="target")
        if keep not in KEEP:
            raise InputError(f"keep must be one of {', '.join(KEEP)}, got {keep!r}", field="keep")
        for field, value in (("max_items", max_items), ("n_kept", n_kept)):
            if value < 1:
                raise InputError(f"{field} must be at least 1, got {value}", field=field)
        self.decay = decay
        self.l2 = l2
        self.target = target
        self.max_items = max_items
        self.n_kept = n_kept
        self.keep = keep
        self.popularity = np.zeros(0, np.float32)  # (n_items,), 0 to 1
        self.weights = sparse.csr_matrix((0, 0), dtype=np.float32)  # B, (n_items, n_items)
        self._sums: Sums | None = None  # what B was solved from, when it is kept

    def _fit(self, dataset: Dataset) -> None:
        histories = dataset.histories()
        if self.keep == "weights":
            self._sums = None
            self.popularity = share_of_best(dataset)
            self._solve(Pasts(histories, dataset.n_items, self.decay, self.target))
        else:
            since_s = dataset.end_s if dataset.timed else float("nan")
            self._take(Sums.of(histories, dataset.n_items, self.decay, self.target, since_s))

    def remove_users(self, histories: Histories) -> Self:
        """The model of the same shop without these users, as `fit` would make it, without its log.

        histories: all that each of them did, as it was when the model was fitted
        (`dataset.histories([user])`). Everything follows: weights, popularity, which items are solved
        together, whether items may come back. What differs from a new fit is rounding, at the size of
        1e-6. Only the ids of items stay, as they do in `Dataset.as_of`.

        Raises NotReadyError without `keep`, InputError when they are not part of the model.
        """
        self._take(self._known().minus(self._part(histories)))
        return self

    def add_users(self, histories: Histories) -> Self:
        """The model of the same shop with these users besides, as `fit` would make it.

        A user who is known and did more is removed with the old history, then added with the new one.
        """
        self._take(self._known().plus(self._part(histories)))
        return self

    def _known(self) -> Sums:
        if not self.fitted:
            raise NotReadyError(f"{self.name} is not fitted", hint="call fit(dataset) first")
        if self._sums is None:
            raise NotReadyError(
                "this model keeps only its weights, so no user can be taken out of it or put in",
                hint="fit it with keep='sums'",
            )
        return self._sums

    def _part(self, histories: Histories) -> Sums:
        """The sums of these users alone."""
        if histories.items.max(initial=-1) >= self.n_items:
            wrong = int(histories.items.max())
            raise InputError(f"item {wrong} is not of this model; items are 0 to {self.n_items - 1}")
        return Sums.of(histories, self.n_items, self.decay, self.target, self._known().since_s)

    def _take(self, sums: Sums) -> None:
        """Become the model of these sums."""
        self._solve(sums)
        self._sums = sums
        self.popularity = sums.popularity
        self.repeats = sums.repeat_share > REPEAT_SHARE

    def _solve(self, source: Pasts | Sums) -> None:
        """B: rows of frequent items together, rows of the rest each on its own."""
        heard = source.heard
        frequent = np.sort(np.argsort(-heard, kind="stable")[: self.max_items])
        frequent = frequent[heard[frequent] > 0].astype(np.int64)
        rest = np.setdiff1d(np.flatnonzero(heard), frequent).astype(np.int64)
        parts = [(frequent, self._together(source, frequent)), (rest, self._alone(source, rest))]
        self.weights = place(self.n_items, parts)

    def _together(self, source: Pasts | Sums, items: LongArray) -> sparse.csr_matrix:
        """Rows of B for frequent items."""
        if len(items) == 0:
            return sparse.csr_matrix((0, self.n_items), dtype=np.float32)
        inverse = ridge_inverse(source.gram(items), self.l2)
        ease = self.target == "self"
        blocks = ease_rows(inverse) if ease else next_rows(inverse, source.after(items))
        with progress.track("solving for the next item", len(items)) as advance:
            parts = []
            for block in blocks:
                parts.append(largest(block, self.n_kept))
                advance(len(block))
        solved = sparse.vstack(parts, format="csr", dtype=np.float32)
        if not ease:
            return solved
        wide = (solved.data, items[solved.indices], solved.indptr)  # its columns are the same items
        return sparse.csr_matrix(wide, shape=(len(items), self.n_items))

    def _alone(self, source: Pasts | Sums, items: LongArray) -> sparse.csr_matrix:
        """Rows of B for rare items: each on its own, as if it were the only one in every past.

        EASE has none: an item beyond `max_items` says nothing there.
        """
        parts = [sparse.csr_matrix((0, self.n_items), dtype=np.float32)]
        if self.target == "self":
            return sparse.csr_matrix((len(items), self.n_items), dtype=np.float32)
        for start in range(0, len(items), AT_ONCE):
            block = items[start : start + AT_ONCE]
            scale = sparse.diags((1.0 / (source.size(block) + self.l2)).astype(np.float32))
            parts.append(largest_stored((scale @ source.after(block)).tocsr(), self.n_kept))
        return sparse.vstack(parts, format="csr", dtype=np.float32)

    def _scores(self, histories: Histories) -> FloatArray:
        scores = dense_product(decayed(histories, self.n_items, self.decay), self.weights)
        scores += np.float32(FILLER) * self.popularity
        return scores

    def _state(self) -> State:
        weights = {
            "popularity": self.popularity,
            "weight_values": self.weights.data,
            "weight_items": self.weights.indices.astype(np.int32),
            "weight_indptr": self.weights.indptr.astype(np.int64),
        }
        return weights if self._sums is None else weights | dict(self._sums.state())

    def _restore(self, state: State) -> None:
        self.popularity = state["popularity"]
        parts = (state["weight_values"], state["weight_items"], state["weight_indptr"])
        self.weights = sparse.csr_matrix(parts, shape=(self.n_items, self.n_items))
        self._sums = Sums.restored(state, self.n_items) if self.keep == "sums" else None
