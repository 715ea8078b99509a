"""Objective *click*: will this user, who did this, click or buy that? A pair of texts, two classes.

First text: the user's behaviour as of a moment, as far as it bears on the candidate (behaviour.py). Second:
the candidate's title, category and brand. Class 1: the event came within the horizon after that moment.
Everything of a pair, its negatives and their popularity too, is known at its moment; the windows of training,
validation and test follow each other and never overlap.

Negatives are what the user did not choose in the window, in turn from three sources:

    popular    drawn by the number of events to the power 0.75 (as in word2vec, Mikolov et al., 2013)
    category   the same, among the categories of the user's own past
    seen       what the user met before

A source that has nothing for a user leaves its turn to the first. So chances are those among such
candidates and among users who act at all, not those of the whole shop.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from intently.data import Dataset
from intently.errors import InputError
from intently.language.behaviour import BehaviourWriter
from intently.language.catalogue import catalogue_text, category_numbers, shorten
from intently.language.classification import Classification, Guard
from intently.language.examples import Examples, Parts
from intently.schema import EVENT_CODES, DoubleArray, IntArray

SOURCES: Final = ("popular", "category", "seen")
_DAY_S = 86400.0
_CANDIDATE_CHARS = 120
_POWER = 0.75
_TRIES = 8


@dataclass(frozen=True)
class ClickSettings:
    """What is asked and of whom.

    event: which event counts; '': the shop's strongest. horizon_days: after the moment of asking.
    negatives: for each positive. windows: of training, one horizon each. max_pairs: of training, over
    all windows; validation and test have at most a quarter of it each. max_events: of behaviour.
    """

    event: str = ""
    horizon_days: float = 28.0
    negatives: int = 3
    windows: int = 3
    max_pairs: int = 20_000
    max_events: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        if self.event and self.event not in EVENT_CODES:
            raise InputError(
                f"unknown event {self.event!r}; allowed: {', '.join(EVENT_CODES)}", field="event"
            )
        if not self.horizon_days > 0.0:
            raise InputError(f"horizon_days must be over 0, got {self.horizon_days}", field="horizon_days")
        for name in ("negatives", "windows", "max_events"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be 1 or more, got {getattr(self, name)}", field=name)
        if self.max_pairs < 8 * (1 + self.negatives):
            raise InputError(f"max_pairs is too small, got {self.max_pairs}", field="max_pairs")


@dataclass(frozen=True)
class Pairs:
    """Users and candidates at one moment, dense ids; all four (n,)."""

    users: IntArray
    items: IntArray
    labels: IntArray
    cold: IntArray  # 1 where nobody had met the candidate before the moment

    def __len__(self) -> int:
        return len(self.users)


def from_shop(
    shop: Dataset,
    settings: ClickSettings | None = None,
    folder: Path | None = None,
    *,
    guard: Guard | None = None,
    batch_size: int = 32,
    max_tokens: int = 128,
    seed: int = 0,
) -> Classification:
    """The objective of one shop: the last horizon tests, the one before validates, those before teach.

    Raises InputError for a shop without times, or too short for its windows.
    """
    parts = shop_parts(shop, settings or ClickSettings(seed=seed))
    return Classification(
        "click",
        parts,
        folder,
        metric="auc",
        guard=guard,
        batch_size=batch_size,
        max_tokens=max_tokens,
        seed=seed,
    )


def shop_parts(shop: Dataset, settings: ClickSettings) -> Parts:
    """Pairs written as texts, in three parts that follow each other in time."""
    if not shop.timed:
        raise InputError("click needs the times of events; this shop has only their order")
    span_days = (shop.end_s - shop.start_s) / _DAY_S
    if span_days < 4 * settings.horizon_days:
        raise InputError(
            f"click needs four horizons of {settings.horizon_days:g} days, the shop has {span_days:.1f} days",
            hint="lower horizon_days",
        )
    writer = BehaviourWriter(shop, max_events=settings.max_events)
    candidates = [shorten(text, _CANDIDATE_CHARS) for text in catalogue_text(shop)]
    horizon_s = settings.horizon_days * _DAY_S

    def window(back: int, most: int) -> Examples:
        cut_s = shop.end_s - back * horizon_s
        found = pairs(shop, cut_s, settings, most=most, seed=settings.seed + back)
        return Examples(
            writer.write(found.users, cut_s, found.items),
            found.labels,
            [candidates[item] for item in found.items],
            ["cold" if cold else "warm" for cold in found.cold],
        )

    n_windows = min(settings.windows, int(span_days / settings.horizon_days) - 2)
    taught = [window(2 + at, settings.max_pairs // n_windows) for at in range(1, n_windows + 1)]
    most = settings.max_pairs // 4
    return Parts(_joined(taught), window(2, most), window(1, most), ("no", "yes"))


def pairs(shop: Dataset, cut_s: float, settings: ClickSettings, *, most: int, seed: int = 0) -> Pairs:
    """At most `most` pairs asked at `cut_s` (seconds since 1970), each positive with its negatives."""
    code = EVENT_CODES[settings.event or shop.target]
    until_s = cut_s + settings.horizon_days * _DAY_S
    past = shop.as_of(cut_s)
    histories = past.histories(at=cut_s)
    known = histories.lengths > 0  # (n_users,)
    chosen = (
        shop.since(cut_s)
        .events.filter((pl.col("time_s") < until_s) & (pl.col("event") == code))
        .select("user", "item")
        .unique(maintain_order=True)
    )
    chosen = chosen.filter(pl.Series(known[chosen["user"].to_numpy()]))
    if chosen.is_empty():
        return Pairs(*(np.zeros(0, np.int32) for _ in range(4)))
    rng = np.random.default_rng([settings.seed, seed])
    taken: dict[int, set[int]] = {}
    for user, item in chosen.iter_rows():
        taken.setdefault(user, set()).add(item)
    rows = rng.permutation(chosen.height)[: max(1, most // (1 + settings.negatives))]
    counts = np.bincount(past.events["item"].to_numpy(), minlength=shop.n_items).astype(np.int32)
    draw = _Draw(counts, category_numbers(shop), rng)
    users, items, labels = [], [], []
    for user, item in chosen[rows.tolist()].iter_rows():
        own = np.unique(histories.items[histories.indptr[user] : histories.indptr[user + 1]])
        refused = set(taken[user])
        wrong = [draw.one(SOURCES[turn % 3], own, refused) for turn in range(settings.negatives)]
        answers = [item, *(other for other in wrong if other >= 0)]
        users += [user] * len(answers)
        items += answers
        labels += [1] + [0] * (len(answers) - 1)
    candidate = np.array(items, np.int32)
    cold = (counts[candidate] == 0).astype(np.int32)
    return Pairs(np.array(users, np.int32), candidate, np.array(labels, np.int32), cold)


class _Draw:
    """Draws candidates that were not chosen."""

    def __init__(self, counts: IntArray, categories: IntArray, rng: np.random.Generator) -> None:
        weight = counts.astype(np.float64) ** _POWER
        self.cumulated = np.cumsum(weight)
        self.weight, self.categories, self.rng = weight, categories, rng
        order = np.argsort(categories, kind="stable")
        edges = np.searchsorted(categories[order], np.arange(categories.max(initial=-1) + 2))
        self.members = [order[start:end] for start, end in pairwise(edges)]

    def one(self, source: str, own: IntArray, refused: set[int]) -> int:
        """An item that is not in `refused`, which it joins; -1 when none was found."""
        for attempt in range(_TRIES):
            found = self._try(source if attempt < _TRIES // 2 else "popular", own)
            if found not in refused:
                refused.add(found)
                return found
        return -1

    def _try(self, source: str, own: IntArray) -> int:
        if source == "seen":
            return int(own[self.rng.integers(len(own))])
        if source == "category":
            category = self.categories[own[self.rng.integers(len(own))]]
            members = self.members[category] if category >= 0 else own
            if len(members) > 1 and self.weight[members].sum() > 0:
                return int(members[self._place(np.cumsum(self.weight[members]))])
        return self._place(self.cumulated)

    def _place(self, cumulated: DoubleArray) -> int:
        at = np.searchsorted(cumulated, self.rng.random() * cumulated[-1], side="right")
        return int(min(at, len(cumulated) - 1))


def _joined(parts: list[Examples]) -> Examples:
    return Examples(
        [text for part in parts for text in part.texts],
        np.concatenate([part.labels for part in parts]),
        [other for part in parts for other in part.others or []],
        [group for part in parts for group in part.groups or []],
    )
