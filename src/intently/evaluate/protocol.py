"""What a model may learn from, what it is asked, and what would have been right: a `Case`.

Two protocols. `temporal` cuts the shop at a moment: everything before it may be learned from, the
target events of the next `horizon_days` are the truth. `leave_one_out` holds back each user's last
event; other users' later events stay in the training part, so it is the milder question, kept for
comparison with published figures. Both rank the whole catalogue, never a sample of it (Krichene &
Rendle, KDD 2020). Users with nothing to predict are not ranked for, and counted in `Case.left_out`; where
they are known, `Case.quiet` holds them, because a probability must hold for those who stay away as well.

Groups by what the training part knew: a cold user or item has no event there, a warm one 1 to 4, a hot
one 5 or more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from intently.data import Dataset, Histories
from intently.data.dataset import seconds
from intently.data.histories import DAY_S
from intently.errors import InputError
from intently.schema import EVENT_CODES, POSITIVE, BoolArray, IntArray, LongArray

GROUPS = ("hot", "warm", "cold")
HOT_FROM = 5
"""Events in training from which a user or an item is hot."""


@dataclass(frozen=True)
class Case:
    """One question to a model, fixed before any model is fitted.

    Row b of `histories` asks for the user `histories.users[b]`, whose truth is the distinct items
    `truth[indptr[b]:indptr[b+1]]`, never empty.
    """

    protocol: str  # "temporal" or "leave-one-out"
    train: Dataset  # all that a model may learn from
    histories: Histories  # what is known of each asked user at the moment of asking
    indptr: LongArray  # (users + 1,)
    truth: IntArray  # distinct dense item ids
    target: str  # the event that makes an item true
    repeats: bool | None  # may met items be answered: None = as the model learned from the shop
    cut_s: float  # temporal: the moment of the cut; else the end of the training part
    horizon_days: float  # temporal: how far the future reaches; else 0
    left_out: int  # users without anything to predict
    quiet: Histories  # those of them with a history: asked for probabilities, never for an order

    def __len__(self) -> int:
        return len(self.histories)

    @property
    def n_true(self) -> LongArray:
        """Items to be found, by user, (users,)."""
        return np.diff(self.indptr)

    def user_groups(self) -> dict[str, BoolArray]:
        """Masks (users,) of hot, warm and cold users; every user is in exactly one."""
        return _groups(self.histories.lengths)

    def item_groups(self) -> dict[str, BoolArray]:
        """Masks (n_items,) of hot, warm and cold items; every item is in exactly one."""
        return _groups(self.item_counts())

    def item_counts(self) -> LongArray:
        """Positive training events of each item, (n_items,)."""
        codes = [EVENT_CODES[name] for name in POSITIVE]
        met = self.train.events.filter(self.train.events["event"].is_in(codes))["item"]
        return np.bincount(met.to_numpy(), minlength=self.train.n_items).astype(np.int64)

    def only_items(self, mask: BoolArray) -> tuple[LongArray, IntArray]:
        """(indptr, truth) restricted to the items of `mask` (n_items,); users may end up with none."""
        kept = mask[self.truth]
        total = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
        return total[self.indptr], self.truth[kept]


def temporal(
    dataset: Dataset,
    cut: datetime | float | None = None,
    *,
    horizon_days: float = 28.0,
    target: str | None = None,
) -> Case:
    """Learn before `cut`, predict the target events of `horizon_days` from it.

    cut: a moment, a naive one is UTC; None: `horizon_days` before the end of the data.
    target: an event name; None: the strongest event of the training part.
    Raises InputError when the data has no times, or when a side of the cut is empty.
    """
    if not dataset.timed:
        raise InputError("this data has an order but no times, so it cannot be cut", hint="use leave-one-out")
    if not horizon_days > 0:
        raise InputError(f"horizon_days must be above 0, got {horizon_days}", field="horizon_days")
    moment = dataset.end_s - horizon_days * DAY_S if cut is None else seconds(cut)
    train = dataset.as_of(moment)
    if train.n_events == 0:
        raise InputError(f"nothing happened before the cut {_day(moment)}; {_span(dataset)}", field="cut")
    wanted = _target(target, train)
    future = dataset.since(moment).as_of(moment + horizon_days * DAY_S)
    indptr, items = future.baskets(wanted)
    users = np.flatnonzero(np.diff(indptr)).astype(np.int32)
    everyone = dataset.histories(at=moment)
    quiet = np.flatnonzero((np.diff(indptr) == 0) & (everyone.lengths > 0))
    if len(users) == 0:
        raise InputError(
            f"no {wanted} in the {horizon_days:g} days from {_day(moment)}; {_span(dataset)}",
            hint="choose an earlier cut or another target",
            field="cut",
        )
    return Case(
        protocol="temporal",
        train=train,
        histories=everyone.select(users),
        indptr=indptr[np.concatenate([users, [len(indptr) - 1]])],
        truth=items,
        target=wanted,
        repeats=None,
        cut_s=moment,
        horizon_days=horizon_days,
        left_out=dataset.n_users - len(users),
        quiet=everyone.select(quiet),
    )


def leave_one_out(dataset: Dataset, *, repeats: bool | None = False) -> Case:
    """Hold back each user's last positive event; users with fewer than two are not asked.

    The moment of asking is that of the held event, so that ages are what a live request would see.

    repeats: False masks what the user has met (the published protocol); None leaves it to the model.
    Raises InputError when no user has two events.
    """
    train, held = dataset.leave_one_out()
    users = np.flatnonzero(held >= 0).astype(np.int32)
    if len(users) == 0:
        raise InputError("no user has two events, so none can be left out", hint="import more events")
    return Case(
        protocol="leave-one-out",
        train=train,
        histories=_asked_then(dataset, train, users),
        indptr=np.arange(len(users) + 1, dtype=np.int64),
        truth=held[users],
        target=dataset.target,
        repeats=repeats,
        cut_s=train.end_s,
        horizon_days=0.0,
        left_out=dataset.n_users - len(users),
        quiet=train.histories(users[:0]),
    )


def _asked_then(dataset: Dataset, train: Dataset, users: IntArray) -> Histories:
    """Histories without the held event, asked at its moment (at the end where there are no times)."""
    histories = train.histories(users)
    if not dataset.timed:
        return histories
    full = dataset.histories(users)
    return replace(histories, at_s=full.time_s[full.indptr[1:] - 1])


def _groups(counts: LongArray) -> dict[str, BoolArray]:
    return {
        "hot": counts >= HOT_FROM,
        "warm": (counts > 0) & (counts < HOT_FROM),
        "cold": counts == 0,
    }


def _target(target: str | None, train: Dataset) -> str:
    if target is None or target == "":
        return train.target
    if target not in POSITIVE:
        raise InputError(
            f"unknown target {target!r}; allowed: {', '.join(POSITIVE)}", hint="names are in schema.py"
        )
    return target


def _day(moment: float) -> str:
    return str(np.datetime64(int(moment), "s"))


def _span(dataset: Dataset) -> str:
    return f"the data runs from {_day(dataset.start_s)} to {_day(dataset.end_s)}"
