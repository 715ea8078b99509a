"""An answer in the making: what the stages of answer/recommend.py hand on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import repeat
from typing import Final

import numpy as np

from intently.schema import BoolArray, ByteArray, DoubleArray, IntArray, LongArray
from intently.serving.answer.judged import Judged
from intently.serving.decisions.record import Barred
from intently.serving.rules.filters import STRANGER, Shopper
from intently.serving.rules.force import Force
from intently.serving.shapes.answers import Arm, RecommendationRequest
from intently.serving.state.scenarios import Scenario
from intently.serving.state.view import View

SOURCES: Final = (
    "model", "popular", "catalogue", "similar", "together", "own", "trending", "new", "query", "page",
    "explore", "pin", "caller", "welcome",
)  # fmt: skip
"""Who named an item; `Draft.sources` holds places in it. "model" is told as the live model's name."""

CODE: Final = {name: code for code, name in enumerate(SOURCES)}


@dataclass(slots=True)
class Bar(Barred):
    """Items that must not be answered, and why: `numbers`, or all where `mask` is true.

    stage: who said so ("removed", "excluded", "met", "bought", "cart", "served", "rule:ID", "filter").
    mask: (n,) by item number; numbers beyond it are not barred.
    """

    def hits(self, numbers: IntArray) -> BoolArray:
        """Which of these are barred."""
        if self.mask is None:
            mine = set([] if self.numbers is None else self.numbers.tolist())  # for few: quicker than isin
            return np.fromiter((number in mine for number in numbers.tolist()), bool, len(numbers))
        inside = numbers < len(self.mask)
        return inside & self.mask[np.where(inside, numbers, 0)]


@lru_cache(maxsize=256)
def certain(n: int) -> DoubleArray:
    """(n,) ones, the same array each time: most lists draw nothing, and hundreds of orders are remembered."""
    out: DoubleArray = np.ones(n)
    out.flags.writeable = False
    return out


@dataclass(slots=True)
class Draft:
    """Candidates best first, in four arrays of one length; stages change them through the methods.

    scores are on the ranking's scale: probabilities where `calibrated`, else any order. `bars` are set
    before candidates are looked for, so that the list can be filled behind them; `allowed` is what they
    leave, by item number. `dropped` holds (item number, stage) of candidates that the bars or a later
    stage took out: it is for the decision log.
    """

    view: View
    request: RecommendationRequest
    scenario: Scenario
    n: int
    arm: Arm | None = None  # that the scenario's settings are from
    unit: str = ""  # the user or guest whose arm it is
    calibrated: bool = False
    numbers: IntArray = field(default_factory=lambda: np.zeros(0, np.int32))
    scores: DoubleArray = field(default_factory=lambda: np.zeros(0, np.float64))
    sources: ByteArray = field(default_factory=lambda: np.zeros(0, np.uint8))
    propensity: DoubleArray = field(default_factory=lambda: np.zeros(0, np.float64))
    judged: Judged | None = None  # what the model says of all items
    bars: list[Bar] = field(default_factory=list)
    allowed: BoolArray = field(default_factory=lambda: np.zeros(0, bool))
    dropped: list[tuple[int, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    force: Force | None = None  # the shop's rules and the request's, None where there are none
    shopper: Shopper = STRANGER  # who asks, as rules see them
    learned: LongArray | None = None  # order that the online layer gave the head of the list
    failed: bool = False  # the model raised: popular items are answered

    def __len__(self) -> int:
        return len(self.numbers)

    def bar(self, bar: Bar) -> None:
        """Take these out of `allowed`; before candidates are looked for."""
        self.bars.append(bar)
        if bar.mask is not None:
            self.allowed[: len(bar.mask)] &= ~bar.mask[: len(self.allowed)]
        elif bar.numbers is not None:
            self.allowed[bar.numbers] = False

    def extend(self, numbers: IntArray, scores: DoubleArray, source: str) -> None:
        """Behind what is there: those of `numbers` that are allowed and not there yet."""
        fresh = self.allowed.take(numbers)
        if not len(self.numbers):
            at = fresh.nonzero()[0]
            self.numbers, self.scores = numbers.take(at), scores.take(at)
            self.sources = np.full(len(at), CODE[source], np.uint8)
            self.propensity = certain(len(at))
            return
        there = np.zeros(len(self.allowed), bool)
        there[self.numbers] = True
        fresh &= ~there[numbers]
        chosen = numbers[fresh]
        self.numbers = np.concatenate([self.numbers, chosen])
        self.scores = np.concatenate([self.scores, scores[fresh]])
        self.sources = np.concatenate([self.sources, np.full(len(chosen), CODE[source], np.uint8)])
        self.propensity = np.concatenate([self.propensity, np.ones(len(chosen))])

    def reorder(self, order: LongArray | IntArray | Sequence[int]) -> None:
        """Places in the new order; those left out are gone (call `drop` if they were taken out)."""
        at = np.asarray(order, np.int64)
        self.numbers, self.scores = self.numbers.take(at), self.scores.take(at)
        self.sources, self.propensity = self.sources.take(at), self.propensity.take(at)

    def cut(self, n: int) -> None:
        """Keep the first `n`."""
        self.numbers, self.scores = self.numbers[:n].copy(), self.scores[:n].copy()
        self.sources, self.propensity = self.sources[:n].copy(), self.propensity[:n].copy()

    def drop(self, mask: BoolArray, stage: str) -> None:
        """Take out the candidates where `mask` is true; `stage` says who did."""
        left = (~mask).nonzero()[0]
        if len(left) < len(mask):
            self.dropped += zip(self.numbers[mask].tolist(), repeat(stage))
            self.reorder(left)

    def barred(self, numbers: IntArray) -> None:
        """Note which candidates the bars took out, by the first bar that does."""
        left = numbers
        if len(self.bars) == 1 and self.force is None:  # nothing else can have taken them out
            self.dropped += zip(left.tolist(), repeat(self.bars[0].stage))
            return
        for bar in self.bars:
            if not len(left):
                return
            hit = bar.hits(left)
            self.dropped += [(number, bar.stage) for number in left[hit].tolist()]
            left = left[~hit]
