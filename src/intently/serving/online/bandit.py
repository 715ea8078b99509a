"""Exploration of new items with a logged chance: Thompson sampling (Thompson 1933; Chapelle & Li, NIPS 2011).

Each new item is an arm with a Beta posterior of how often it is met within the window after being shown;
what stands in the slot anyway is one more arm, with the posterior of all that stood there. An arm is drawn
with the chance that it is the best one under the posteriors. We differ in how it is drawn: that chance is
worked out on a grid (P(best) = integral of the arm's density times all others' distribution functions), kept
until posteriors have moved, and the arm drawn from it by the request's seed. So the logged propensity is
exact, and the same seed and posteriors give the same draw. A second slot draws from what the first one left:
propensities are given the slots before.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from scipy.special import betainc

from intently.schema import BoolArray, DoubleArray, IntArray

KEEP = -1
"""The arm of whatever stands in the slot."""

POOL = 64
"""New items that are arms at once."""

START = (1.0, 9.0)
"""Beta before anything was shown: one in ten, worth ten showings; a wide prior is what makes one explore."""

MOVED = 20
"""Outcomes after which the chances are worked out anew."""

GRID = 400
MOST_WAITING = 20_000


@dataclass(frozen=True, slots=True)
class Drawn:
    """An item for a slot (KEEP: what stands there), and how likely it was to be drawn."""

    item: int
    propensity: float


class Explorer:
    """Posteriors of new items, their chances, and what is waited for."""

    def __init__(self, share: float, window_s: float) -> None:
        self.share, self.window_s = share, window_s
        self._shown: dict[int, int] = {}
        self._met: dict[int, int] = {}
        self._waiting: OrderedDict[tuple[int, int], tuple[float, int]] = OrderedDict()
        self._chances: tuple[IntArray, DoubleArray] = (np.zeros(0, np.int32), np.ones(1))
        self._moved = 0
        self._lock = threading.Lock()

    # -- drawing -------------------------------------------------------------------------------

    def draw(self, pool: IntArray, free: BoolArray, seed: str, slots: int) -> list[Drawn]:
        """For each slot an arm: one of `pool` where `free` is true, or KEEP.

        pool: new items, those to be looked at first in front; only POOL of them are arms.
        """
        arms, best = self._best(pool[:POOL])
        chance = np.append(self.share * best[:-1] * free[: len(arms)], 0.0)
        chance[-1] = 1.0 - chance.sum()  # also the share that does not explore, and arms that are not free
        out = []
        for slot in range(slots):
            place = int(np.searchsorted(np.cumsum(chance), uniform(seed, slot), side="right"))
            place = min(place, len(arms))
            if place == len(arms) or chance[place] <= 0:
                out.append(Drawn(KEEP, float(chance[-1])))
                continue
            out.append(Drawn(int(arms[place]), float(chance[place])))
            chance[-1] += chance[place]  # an item stands once in a list
            chance[place] = 0.0
        return out

    def _best(self, pool: IntArray) -> tuple[IntArray, DoubleArray]:
        """(arms, chance of each to be the best, KEEP's last)."""
        with self._lock:
            arms, best = self._chances
            if self._moved < MOVED and np.array_equal(arms, pool) and len(best) == len(pool) + 1:
                return arms, best
            beta = np.array([self._posterior(int(item)) for item in (*pool, KEEP)])
            self._chances, self._moved = (pool, best_of(beta)), 0
            return self._chances

    def _posterior(self, item: int) -> tuple[float, float]:
        met = self._met.get(item, 0)
        return START[0] + met, START[1] + self._shown.get(item, 0) - met

    # -- learning ------------------------------------------------------------------------------

    def shown(self, user: int, item: int, stood: int, at_s: float) -> None:
        """A slot was shown: `stood` is the item in it, `item` the arm that it counts for."""
        with self._lock:
            self._shown[item] = self._shown.get(item, 0) + 1
            self._waiting[user, stood] = (at_s, item)
            if len(self._waiting) > MOST_WAITING:
                self._waiting.popitem(last=False)
            self._moved += 1

    @property
    def waits(self) -> bool:
        """Whether anything that was shown may still be met."""
        return bool(self._waiting)

    def met(self, user: int, item: int, time_s: float) -> None:
        """The user met an item; within the window after it was shown that is a success, once."""
        if (user, item) not in self._waiting:
            return
        with self._lock:
            at_s, arm = self._waiting.pop((user, item), (np.inf, KEEP))
            if 0 <= time_s - at_s <= self.window_s:
                self._met[arm] = self._met.get(arm, 0) + 1
                self._moved += 1

    def forget(self, user: int) -> None:
        """Wait for nothing of this user."""
        with self._lock:
            for key in [key for key in self._waiting if key[0] == user]:
                del self._waiting[key]

    # -- telling and keeping -------------------------------------------------------------------

    def told(self, names: list[str]) -> list[dict[str, Any]]:
        """Of each arm shown so far: how often, how often met, its chance to be the best; most shown first."""
        arms, best = self._chances
        chance = dict(zip((*arms.tolist(), KEEP), best.tolist(), strict=True))
        order = sorted(self._shown, key=lambda item: -self._shown[item])
        return [
            {
                "item_id": None if item == KEEP else names[item],
                "shown": self._shown[item],
                "met": self._met.get(item, 0),
                "best": round(chance.get(item, 0.0), 6),
            }
            for item in order
        ]

    def state(self, names: list[str]) -> dict[str, list[int]]:
        """(shown, met) by outside id, "" for KEEP: numbers change at a restart."""
        return {
            ("" if item == KEEP else names[item]): [n, self._met.get(item, 0)]
            for item, n in self._shown.items()
        }

    def restore(self, state: Mapping[str, list[int]], numbers: Mapping[str, int]) -> None:
        """Take back what `state` gave; `numbers` are the items' of now."""
        for name, (shown, met) in state.items():
            item = KEEP if name == "" else numbers.get(name, -2)
            if item >= KEEP:
                self._shown[item], self._met[item] = int(shown), int(met)


def best_of(beta: DoubleArray) -> DoubleArray:
    """P(best) of each arm under its Beta (a, b), (arms, 2) -> (arms,), on a grid; sums to 1.

    >>> best_of(np.array([[5.0, 5.0], [5.0, 5.0]])).round(3).tolist()
    [0.5, 0.5]
    """
    edges = np.concatenate(
        [[0.0], np.geomspace(1e-6, 0.05, GRID // 2), np.linspace(0.05, 1.0, GRID // 2)[1:]]
    )
    below = betainc(beta[:, :1], beta[:, 1:], edges[None, :])  # (arms, edges)
    mass = np.diff(below, axis=1)
    middle = np.log(np.maximum(0.5 * (below[:, 1:] + below[:, :-1]), 1e-300))
    won = (mass * np.exp(middle.sum(axis=0) - middle)).sum(axis=1)
    return np.asarray(won / won.sum(), np.float64)


def uniform(seed: str, slot: int) -> float:
    """A number in [0, 1) that the seed and the slot decide.

    >>> uniform("rec_1", 0) == uniform("rec_1", 0) != uniform("rec_1", 1)
    True
    """
    said = blake2b(f"{seed}:{slot}".encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(said, "big") / 2.0**64
