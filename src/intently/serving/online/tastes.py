"""What to ask a newcomer, and what their answers say: a normal model of who likes which popular item.

Each known user is a row of zeros and ones over the ITEMS most met items; their mean and covariance are a
normal prior of a newcomer's row. An answer is one noisy entry of it, so the posterior is that of a Gaussian
process (Rasmussen & Williams 2006, 2.2). Asked next is the item whose answer takes most variance off all
others (A-optimal design; Rubens, Kaplan & Sugiyama, Active learning in recommender systems, 2011). We differ:
that gain is weighed by how open the answer still is, p (1 - p) under the posterior against the prior, so that
what is asked depends on what was answered, as in the trees of Golbandi, Koren & Lempel (WSDM 2011), without a
tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from scipy import sparse

from intently.schema import BoolArray, DoubleArray, IntArray

ITEMS: Final = 400
NOISE: Final = 0.5
"""Variance of an answer, as a share of the item's own p (1 - p)."""
LEAST_USERS: Final = 20
SHRINK: Final = 20.0
"""Users' worth of independence that the covariance is shrunk by."""


GROUP_SHRINK: Final = 50.0
"""Users' worth of everyone's mean in the mean of a group."""

Group = tuple[str, str]
"""An attribute of users and one of its values."""


@dataclass(frozen=True)
class Tastes:
    """items: (m,) item numbers, most met first. mean, covariance: of a user's row over them."""

    items: IntArray
    mean: DoubleArray  # (m,)
    covariance: DoubleArray  # (m, m)
    n_users: int
    groups: Mapping[Group, tuple[int, DoubleArray]] = field(default_factory=dict)  # users, their mean

    @staticmethod
    def of(
        users: IntArray,
        items: IntArray,
        n_items: int,
        groups: Mapping[Group, IntArray] | None = None,
        most: int = ITEMS,
    ) -> Tastes:
        """From pairs (user, item), in any number; without LEAST_USERS users there is nothing to ask.

        groups: the users who share a value of an attribute; those of fewer than LEAST_USERS are left out.
        """
        known, row = np.unique(users, return_inverse=True)
        n_users = int(row.max(initial=-1)) + 1
        whole = sparse.csr_matrix((np.ones(len(row)), (row, items)), shape=(n_users, n_items))
        whole.data[:] = 1.0
        counts = np.asarray(whole.sum(axis=0)).ravel()
        chosen = np.argsort(-counts, kind="stable")[:most]
        chosen = chosen[counts[chosen] > 0]
        if n_users < LEAST_USERS:
            chosen = chosen[:0]
        part = whole[:, chosen]
        mean = counts[chosen] / max(n_users, 1)
        together = np.asarray((part.T @ part).todense()) / max(n_users, 1) - np.outer(mean, mean)
        apart = np.diag(mean * (1.0 - mean) + 1e-9)
        share = SHRINK / (n_users + SHRINK)
        means = {}
        for name, members in (groups or {}).items():
            rows = np.flatnonzero(np.isin(known, members))
            if len(rows) >= LEAST_USERS:
                means[name] = (len(rows), np.asarray(part[rows].mean(axis=0)).ravel())
        covariance = (1.0 - share) * together + share * apart
        return Tastes(chosen.astype(np.int32), mean, covariance, n_users, means)

    def of_profile(self, profile: Mapping[str, Any]) -> Tastes:
        """With the mean of those who are like this: each known value moves it by its own group's, shrunk.

        The moves are averaged, as attributes go together (age and income): a sum would count twice.
        """
        held = [
            self.groups[name, str(value)]
            for name, value in profile.items()
            if (name, str(value)) in self.groups
        ]
        if not held:
            return self
        moves = [n / (n + GROUP_SHRINK) * (mean - self.mean) for n, mean in held]
        return replace(self, mean=np.clip(self.mean + np.mean(moves, axis=0), 1e-6, 1.0))

    def told(self, answers: dict[int, bool]) -> Told:
        """What is believed of a newcomer after these answers: item number -> liked; others are left out."""
        place = {int(item): at for at, item in enumerate(self.items)}
        at = np.array([place[item] for item in answers if item in place], np.int64)
        said = np.array([float(liked) for item, liked in answers.items() if item in place])
        if not len(at):
            return Told(self, self.mean, self.covariance)
        noise = NOISE * self.mean[at] * (1.0 - self.mean[at]) + 1e-9
        rows = self.covariance[at]  # (answers, m)
        gain = np.linalg.solve(rows[:, at] + np.diag(noise), rows)
        return Told(self, self.mean + (said - self.mean[at]) @ gain, self.covariance - rows.T @ gain)


@dataclass(frozen=True)
class Told:
    """A newcomer as believed by now."""

    tastes: Tastes
    mean: DoubleArray
    covariance: DoubleArray

    def next(self, n: int, free: BoolArray) -> IntArray:
        """The `n` items to ask for next, each the best after those before it; `free` (m,) may be asked."""
        covariance, prior = self.covariance, self.tastes.mean * (1.0 - self.tastes.mean) + 1e-9
        chance = np.clip(self.mean, 0.0, 1.0)
        open_still = np.minimum(chance * (1.0 - chance) / prior, 4.0)
        noise, left, out = NOISE * prior, free.copy(), []
        for _ in range(min(n, int(free.sum()))):
            gain = np.square(covariance).sum(axis=0) / (np.maximum(covariance.diagonal(), 0.0) + noise)
            at = int(np.argmax(np.where(left, gain * open_still, -1.0)))
            out.append(at)
            left[at] = False
            row = covariance[at]
            covariance = covariance - np.outer(row, row) / (max(row[at], 0.0) + noise[at])
        return self.tastes.items[out]

    def best(self, n: int, free: BoolArray) -> IntArray:
        """The `n` items that the newcomer most likely likes."""
        order = np.argsort(-np.where(free, self.mean, -np.inf), kind="stable")[: min(n, int(free.sum()))]
        return self.tastes.items[order]


def diverse(items: IntArray, weights: DoubleArray, groups: IntArray, n: int) -> IntArray:
    """Places of `n` items: the heaviest first, each group worth half as much for every item it has already.

    A greedy cover of the groups (Nemhauser, Wolsey & Fisher 1978). items, weights (above 0), groups: (m,).

    >>> diverse(np.arange(4), np.array([9.0, 8.0, 5.0, 1.0]), np.array([0, 0, 1, 1]), 3).tolist()
    [0, 2, 1]
    """
    worth, out = weights.astype(np.float64).copy(), []
    for _ in range(min(n, len(items))):
        at = int(np.argmax(worth))
        out.append(at)
        worth[groups == groups[at]] *= 0.5
        worth[at] = -1.0
    return np.array(out, np.int64)
