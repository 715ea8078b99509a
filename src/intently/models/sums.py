"""What a closed-form model is solved from: sums over users, so that one can be taken out or put in.

    X'X, X'Y       which items stood together in a past, and what followed them, weighted
    heard, met     in how many pasts an item stood, and how often it was met at all
    fame           the popularity behind the evidence, each event worth 0.5 ** (age / 28 days)
    repeats        how often items came back, from which follows whether they may be recommended again

Each is a sum of one part a user, and the solution depends on nothing else. So the sums less a user's
own part give the model of a shop that never had the user, and this is tested against that model. What
is kept are counts of pairs of items. They are personal data as long as a pair may come from one person.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import sparse

from intently.data import Histories
from intently.data.dataset import distinct
from intently.errors import InputError
from intently.models.base import State
from intently.models.moments import LEAST_WEIGHT, next_pairs
from intently.models.popular import decayed
from intently.models.ridge import BLOCK
from intently.schema import EVENT_CODES, TARGETS, DoubleArray, FloatArray, LongArray

NOTHING: Final = LEAST_WEIGHT**2 / 2
"""Half of the least that one past adds to a sum: what is smaller is a rest of rounding."""

PARTS: Final = ("data", "indices", "indptr")


class Pasts:
    """The same figures as `Sums`, worked out from the rows of X and Y when they are asked for."""

    def __init__(self, histories: Histories, n_items: int, decay: float, target: str) -> None:
        """target: next (a moment's past, and what was met then) or self (all that a user met)."""
        self.following = sparse.csr_matrix((0, n_items), dtype=np.float32)  # Y
        if target == "next":
            past, self.following = next_pairs(histories, n_items, decay)
        else:
            past = histories.matrix(n_items)
            past.data[:] = 1.0
        self.turned = past.T.tocsr()  # X', (n_items, rows of X): an item's pasts lie together
        self.turned.has_sorted_indices = True  # transposing sorts
        self.turned.sum_duplicates()

    @property
    def heard(self) -> LongArray:
        """Pasts in which each item stands, (n_items,)."""
        heard: LongArray = np.diff(self.turned.indptr).astype(np.int64)
        return heard

    def gram(self, items: LongArray) -> FloatArray:
        """X'X of these items, dense float32 in Fortran order, (n, n)."""
        turned = self.turned[items]
        past = turned.T.tocsr()
        out = np.zeros((len(items), len(items)), np.float32)
        for start in range(0, len(items), BLOCK):
            out[start : start + BLOCK] = (turned[start : start + BLOCK] @ past).toarray()
        return out.T  # it is symmetric

    def size(self, items: LongArray) -> FloatArray:
        """The diagonal of X'X at these items, (n,)."""
        own = self.turned[items]
        own.data **= 2
        return np.asarray(own.sum(axis=1), np.float32).ravel()

    def after(self, items: LongArray) -> sparse.csr_matrix:
        """X'Y: rows of these items, float32."""
        return (self.turned[items] @ self.following).tocsr()


@dataclass(frozen=True)
class Sums:
    """All sums of a set of users, in float64: adding a user and taking it out again changes nothing."""

    pairs: sparse.csr_matrix  # X'X, (n_items, n_items)
    nexts: sparse.csr_matrix  # X'Y, (n_items, n_items); empty for target self
    heard: LongArray  # (n_items,)
    met: LongArray  # (n_items,)
    fame: DoubleArray  # (n_items,)
    repeats: LongArray  # (len(TARGETS), 2): distinct (user, item, moment), distinct (user, item)
    since_s: float  # the moment at which an event is worth one; nan where only the order is known

    @staticmethod
    def of(histories: Histories, n_items: int, decay: float, target: str, since_s: float) -> Sums:
        """The part of these users."""
        rows = Pasts(histories, n_items, decay, target)
        turned = rows.turned.astype(np.float64)
        nexts = sparse.csr_matrix((n_items, n_items), dtype=np.float64)
        if target == "next":
            nexts = turned @ rows.following.astype(np.float64)
        return Sums(
            without_rests(turned @ turned.T.tocsr()),
            without_rests(nexts),
            rows.heard,
            np.bincount(histories.items, minlength=n_items).astype(np.int64),
            np.bincount(histories.items, decayed(histories.time_s, since_s), n_items).astype(np.float64),
            repeated(histories),
            since_s,
        )

    def plus(self, other: Sums) -> Sums:
        """With the users of `other`."""
        return self._moved(other, 1)

    def minus(self, other: Sums) -> Sums:
        """Without the users of `other`; raises InputError when they were not in it."""
        out = self._moved(other, -1)
        least = [out.pairs.data, out.nexts.data, out.heard, out.met, out.repeats.ravel()]
        if min(float(values.min(initial=0)) for values in least) < 0:
            raise InputError(
                "these histories are not part of the model: a count would fall below 0",
                hint="give each user's whole history as it was when the model was fitted, and only once",
            )
        if not out.met.any():
            raise InputError("without these users no event is left to learn from", hint="fit another shop")
        return out

    def _moved(self, other: Sums, sign: int) -> Sums:
        met = self.met + sign * other.met
        fame = np.where(met > 0, self.fame + sign * other.fame, 0.0)
        return Sums(
            without_rests(self.pairs + sign * other.pairs),
            without_rests(self.nexts + sign * other.nexts),
            self.heard + sign * other.heard,
            met,
            np.maximum(fame, 0.0),
            self.repeats + sign * other.repeats,
            self.since_s,
        )

    # -- what a solution asks for --------------------------------------------------------------

    def gram(self, items: LongArray) -> FloatArray:
        """X'X of these items, dense float32 in Fortran order, (n, n)."""
        out: FloatArray = self.pairs[items][:, items].astype(np.float32).toarray().T
        return out

    def size(self, items: LongArray) -> FloatArray:
        """The diagonal of X'X at these items, (n,)."""
        own: FloatArray = self.pairs.diagonal()[items].astype(np.float32)
        return own

    def after(self, items: LongArray) -> sparse.csr_matrix:
        """X'Y: rows of these items, float32."""
        return self.nexts[items].astype(np.float32)

    @property
    def popularity(self) -> FloatArray:
        """`fame` as a share of the most popular item's, (n_items,)."""
        share: FloatArray = (self.fame / max(float(self.fame.max(initial=0.0)), 1e-30)).astype(np.float32)
        return share

    @property
    def repeat_share(self) -> float:
        """As `Dataset.repeat_share`: of the strongest event that is left."""
        present = self.repeats[self.repeats[:, 0] > 0]
        return 1.0 - float(present[0, 1] / present[0, 0]) if len(present) else 0.0

    # -- keeping -------------------------------------------------------------------------------

    def state(self) -> State:
        """Arrays by name."""
        out = {"sums_heard": self.heard, "sums_met": self.met, "sums_fame": self.fame}
        out |= {"sums_repeats": self.repeats, "sums_since_s": np.array([self.since_s])}
        for name, matrix in (("pairs", self.pairs), ("nexts", self.nexts)):
            out |= {f"sums_{name}_{part}": getattr(matrix, part) for part in PARTS}
        return out

    @staticmethod
    def restored(state: State, n_items: int) -> Sums:
        """What `state` gave."""
        pairs, nexts = (
            sparse.csr_matrix(tuple(state[f"sums_{name}_{part}"] for part in PARTS), (n_items, n_items))
            for name in ("pairs", "nexts")
        )
        heard, met, fame, repeats = (state[f"sums_{name}"] for name in ("heard", "met", "fame", "repeats"))
        return Sums(pairs, nexts, heard, met, fame, repeats, float(state["sums_since_s"][0]))


def without_rests(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Without what a difference leaves of sums that are zero."""
    matrix = matrix.tocsr()
    matrix.data[np.abs(matrix.data) < NOTHING] = 0.0
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix


def repeated(histories: Histories) -> LongArray:
    """(len(TARGETS), 2): distinct (user, item, moment) and (user, item) of each kind of event."""
    out = np.zeros((len(TARGETS), 2), np.int64)
    for place, name in enumerate(TARGETS):
        chosen = histories.events == EVENT_CODES[name]
        indptr = np.concatenate([[0], np.cumsum(chosen)])[histories.indptr]
        out[place] = distinct(indptr, histories.items[chosen], histories.time_s[chosen])
    return out
