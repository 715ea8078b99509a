"""TIFU-kNN (Hu, He, Gao, Zhang, SIGIR 2020, "Modeling Personalized Item Frequency Information for
Next-basket Recommendation"), written from the paper: what a basket model has to beat.

A user's baskets, oldest first, are cut into groups of `group_size` counted from the latest, so that only
the first may be smaller. A basket is a 0/1 vector of items; a group's vector is the mean of its baskets
times `within` ** (baskets of the group after it); the user's vector is the mean of the groups times
`between` ** (groups after it). Scores are `alpha` times the own vector and 1 - `alpha` times the mean
vector of the `neighbours` nearest other users in Euclidean distance.

Needs numpy and scipy only. Rows are in the layout of a CSR matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.floating[Any]]

GRID: dict[str, tuple[float, ...]] = {
    "alpha": (0.1, 0.3, 0.5, 0.7, 0.9, 1.0),
    "neighbours": (50, 100, 300, 600, 900),
    "between": (0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    "within": (0.6, 0.7, 0.8, 0.9, 1.0),
    "group_size": (1, 3, 7, 12, 23),
}
"""What is tried of each setting, those of the paper's figures and some between."""

ROUNDS = 2
"""Times that each setting is looked at again, the others as found."""


@dataclass(frozen=True)
class Settings:
    """Where the paper's authors start from."""

    group_size: int = 7
    within: float = 0.9
    between: float = 0.7
    neighbours: int = 300
    alpha: float = 0.7


def frequencies(indptr: Ints, items: Ints, time_s: Floats, n_items: int, given: Settings) -> Any:
    """Sparse (users, n_items): each user's item frequencies with their decay; equal times are one basket.

    Baskets a, ab, b with groups of two, within .5, between .1: groups [a] and [ab, b], so that
    a has (.1 * 1 + .5 / 2) / 2 and b (.5 / 2 + 1 / 2) / 2.

    >>> at = Settings(group_size=2, within=0.5, between=0.1)
    >>> times = np.array([1.0, 2.0, 2.0, 3.0])
    >>> frequencies(np.array([0, 4]), np.array([0, 0, 1, 1]), times, 2, at).toarray()
    array([[0.175, 0.375]])
    """
    n_users = len(indptr) - 1
    rows = np.repeat(np.arange(n_users), np.diff(indptr))
    if len(items) == 0:
        return sparse.csr_matrix((n_users, n_items))
    new = np.ones(len(items), bool)
    new[1:] = (rows[1:] != rows[:-1]) | (time_s[1:] != time_s[:-1])
    basket = np.cumsum(new) - 1
    owner = rows[new]
    first, last = np.searchsorted(owner, rows), np.searchsorted(owner, rows, side="right") - 1
    back, size = last - basket, last - first + 1  # baskets after this one, baskets of the user
    group = back // given.group_size  # groups after this one
    groups = -(-size // given.group_size)
    in_group = np.where(group == groups - 1, size - group * given.group_size, given.group_size)
    weight = given.within ** (back % given.group_size) / in_group * given.between**group / groups
    once = np.unique(basket * np.int64(n_items) + items, return_index=True)[1]
    table = sparse.csr_matrix((weight[once], (rows[once], items[once])), shape=(n_users, n_items))
    table.sum_duplicates()
    return table


class TifuKnn:
    """The known users, and scores for them or for others."""

    def __init__(self, known: Any, given: Settings) -> None:
        """known: `frequencies` of the users who may be neighbours."""
        self.known, self.given = known, given
        self.known_t = known.T.tocsr()
        self.lengths = np.asarray(known.multiply(known).sum(axis=1)).ravel()

    def scores(self, asked: Any, own: Ints) -> npt.NDArray[np.float32]:
        """(batch, n_items); asked: their `frequencies`; own: the row of each in `known`, -1 for none."""
        near = self._nearest(asked, own)
        blend = self.given.alpha * asked + (1.0 - self.given.alpha) * (near @ self.known)
        return np.asarray(blend.todense(), np.float32)

    def _nearest(self, asked: Any, own: Ints) -> Any:
        """Sparse (batch, known): 1 / neighbours at the nearest other users."""
        square = self.lengths[None, :] - 2.0 * np.asarray((asked @ self.known_t).todense())
        there = np.flatnonzero(own >= 0)
        square[there, own[there]] = np.inf  # nobody is a neighbour of oneself
        k = max(min(self.given.neighbours, square.shape[1] - 1), 1)
        columns = np.argpartition(square, k - 1, axis=1)[:, :k]
        rows = np.repeat(np.arange(len(square)), k)
        shape = (len(square), square.shape[1])
        return sparse.csr_matrix((np.full(rows.shape, 1.0 / k), (rows, columns.ravel())), shape=shape)


def search(judge: Callable[[Settings], float]) -> tuple[Settings, float]:
    """The best settings found by going along one setting at a time, and their figure."""
    best, figure = Settings(), judge(Settings())
    for _ in range(ROUNDS):
        before = best
        for name, values in GRID.items():
            for value in values:
                tried = replace(best, **{name: type(getattr(best, name))(value)})
                if tried == best:
                    continue
                found = judge(tried)
                if found > figure:
                    best, figure = tried, found
        if best == before:
            break
    return best, figure
