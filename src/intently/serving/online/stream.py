"""A shop's log as a stream: visits in order of time, what was true of each, and a planted shift."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from intently.data import Dataset, Histories
from intently.errors import InputError
from intently.schema import EVENT_CODES, POSITIVE, BoolArray, ByteArray, DoubleArray, IntArray, LongArray
from intently.serving.online.decay import first_of_run
from intently.serving.online.features import Facts
from intently.serving.online.visits import SESSION_S


@dataclass(frozen=True)
class Stream:
    """Positive events by user and time, and the visits among them that hold a target event.

    Visit v is of user `user[v]`; before it the user did events `begin[v]:start[v]` of the arrays, in it
    `start[v]:stop[v]`; its distinct target items are `truth[indptr[v]:indptr[v+1]]`. Visits come in order of
    time.
    """

    items: IntArray
    time_s: DoubleArray
    events: ByteArray
    users: IntArray
    user: IntArray
    at_s: DoubleArray  # (visits,) the moment of the first event
    begin: LongArray
    start: LongArray
    stop: LongArray
    indptr: LongArray
    truth: IntArray

    def __len__(self) -> int:
        return len(self.user)

    @property
    def in_order(self) -> LongArray:
        """Events in order of time."""
        return np.argsort(self.time_s, kind="stable")

    def histories(self, visits: LongArray) -> Histories:
        """What was known of each visit's user when it began."""
        begin, lengths = self.begin[visits], (self.start - self.begin)[visits]
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        take = np.arange(indptr[-1]) + np.repeat(begin - indptr[:-1], lengths)
        parts = self.items[take], self.time_s[take], self.events[take]
        return Histories(indptr, *parts, self.user[visits], self.at_s[visits])


def stream_of(dataset: Dataset) -> Stream:
    """The stream of a shop; raises InputError when the data has no times."""
    if not dataset.timed:
        raise InputError("this data has an order but no times, so it cannot be replayed")
    positive = dataset.events.filter(pl.col("event").is_in([EVENT_CODES[name] for name in POSITIVE]))
    frame = positive.sort("user", maintain_order=True)
    users, items = frame["user"].to_numpy(), frame["item"].to_numpy()
    time_s, events = frame["time_s"].to_numpy(), frame["event"].to_numpy()
    new = first_of_run(users)
    new[1:] |= time_s[1:] - time_s[:-1] > SESSION_S
    visit = np.cumsum(new) - 1
    start = np.flatnonzero(new)
    stop = np.append(start[1:], len(users))
    aimed = events == EVENT_CODES[dataset.target]
    pairs = np.unique(visit[aimed].astype(np.int64) * dataset.n_items + items[aimed])
    owner, truth = pairs // dataset.n_items, (pairs % dataset.n_items).astype(np.int32)
    counts = np.bincount(owner, minlength=len(start))
    edges = np.concatenate([[0], np.cumsum(counts)])
    first = np.flatnonzero(first_of_run(users))
    begin = first[np.searchsorted(first, start, side="right") - 1]
    chosen = np.flatnonzero(counts)
    chosen = chosen[np.argsort(time_s[start[chosen]], kind="stable")]
    indptr = np.concatenate([[0], np.cumsum(counts[chosen])]).astype(np.int64)
    take = np.arange(indptr[-1]) + np.repeat(edges[chosen] - indptr[:-1], counts[chosen])
    return Stream(
        items, time_s, events, users, users[start[chosen]], time_s[start[chosen]],
        begin[chosen], start[chosen], stop[chosen], indptr, truth[take],
    )  # fmt: skip


def facts_of(table: pl.DataFrame) -> Facts:
    """Categories and prices of a catalogue whose row is the item's number."""
    facts = Facts.unknown(table.height)
    if "category" in table.columns:
        codes = table["category"].cast(pl.String).rank("dense").fill_null(0).to_numpy().astype(np.int32)
        facts = replace(facts, category=codes - 1)
    if "price" in table.columns:
        price = table["price"].cast(pl.Float32, strict=False).fill_null(0.0).fill_nan(0.0).to_numpy()
        facts = replace(facts, price=np.where(np.isfinite(price) & (price > 0), price, 0).astype(np.float32))
    return facts


@dataclass(frozen=True)
class Shift:
    """From `at_s` on, what was bought of the moved categories becomes something of their new ones.

    becomes: (n_items,) the item that is bought instead; itself where nothing moves. share: of all events
    before the shift, those on items that move.
    """

    at_s: float
    becomes: IntArray
    moved: BoolArray
    share: float

    def apply(self, dataset: Dataset) -> Dataset:
        """The shop with the shift in it."""
        item = dataset.events["item"].to_numpy()
        late = dataset.events["time_s"].to_numpy() >= self.at_s
        shifted = np.where(late, self.becomes[item], item).astype(np.int32)
        return replace(dataset, events=dataset.events.with_columns(item=pl.Series(shifted)))


def plant(dataset: Dataset, at_s: float, share: float, seed: int) -> Shift:
    """A shift that moves about `share` of the purchases: drawn categories become other ones by a seeded map.

    Item for item: the most bought item of a moved category becomes the most bought one of its new category,
    and so on around. Raises InputError without at least two categories.
    """
    if not 0 < share <= 1:
        raise InputError(f"the share that shifts must lie above 0 and up to 1, got {share}", field="shift")
    category = facts_of(dataset.item_table).category
    known = np.unique(category[category >= 0])
    if len(known) < 2:
        raise InputError(
            "a category shift needs items of at least two categories", hint="import the catalogue"
        )
    before = dataset.as_of(at_s).events["item"].to_numpy()
    bought = np.bincount(before, minlength=dataset.n_items)
    weight = np.bincount(category[category >= 0], weights=bought[category >= 0], minlength=known[-1] + 1)[
        known
    ]
    random = np.random.default_rng(seed)
    order = random.permutation(len(known))
    n = max(int(np.searchsorted(np.cumsum(weight[order]) / max(bought.sum(), 1), share)) + 1, 1)
    drawn = known[order[: min(max(n, 2), len(known))]]
    becomes = np.arange(dataset.n_items, dtype=np.int32)
    ranked = np.argsort(-bought, kind="stable")
    for old, new in zip(drawn, np.roll(drawn, 1), strict=True):
        source, target = ranked[category[ranked] == old], ranked[category[ranked] == new]
        becomes[source] = target[np.arange(len(source)) % len(target)]
    moved = becomes != np.arange(dataset.n_items)
    return Shift(at_s, becomes, moved, float(bought[moved].sum() / max(bought.sum(), 1)))
