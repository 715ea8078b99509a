"""Timed baskets from any table, and the two questions asked of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from intently import Dataset
from intently.data.histories import DAY_S
from intently.data.ingest_columns import assign
from intently.data.shops import complete_journey
from intently.errors import InputError
from intently.evaluate import Case, temporal
from intently.schema import EVENT_CODES

HORIZON, NEXT = "horizon", "next basket"
NEEDED = ("user_id", "item_id", "timestamp")
KEPT = (*NEEDED, "quantity", "price", "session_id")


@dataclass(frozen=True)
class Baskets:
    """A shop of purchases; how many rows had no user, no item or no time, and how many were returns."""

    name: str
    dataset: Dataset
    read: int
    unnamed: int
    returned: int


def of_file(path: Path, columns: dict[str, str]) -> Baskets:
    """columns: our column -> the file's, where the usual names do not say it. Raises InputError."""
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path.name} is no readable Parquet file: {type(error).__name__}") from error
    for ours, theirs in columns.items():
        if theirs not in frame.columns:
            raise InputError(
                f"{path.name} has no column {theirs!r}; got {', '.join(frame.columns)}", field=ours
            )
    found = assign("events", frame.columns, {theirs: ours for ours, theirs in columns.items()})
    missing = [ours for ours in NEEDED if ours not in found]
    if missing:
        raise InputError(
            f"{path.name} lacks {', '.join(missing)}; its columns are: {', '.join(frame.columns)}",
            hint="say which they are by --user, --item and --time",
            field=missing[0],
        )
    if "session_id" not in columns:  # a session is a basket only where the caller says so
        found.pop("session_id", None)
    chosen = frame.select(pl.col(found[ours]).alias(ours) for ours in KEPT if ours in found)
    return of_frame(path.parent.name if path.stem in ("data", "events") else path.stem, chosen, None)


def of_shop() -> Baskets:
    """The demonstration's shop, with its catalogue. Raises MissingExtraError without its package."""
    shop = complete_journey()
    return of_frame(shop.name, shop.events.select(KEPT), shop.items)


def of_frame(name: str, frame: pl.DataFrame, items: pl.DataFrame | None) -> Baskets:
    """Rows without a user, an item or a time, and returns (quantity 0 or less), are left out and counted.

    Lines of one session_id count at its first line's moment: one moment of a user is one basket.
    """
    named = frame.drop_nulls(list(NEEDED))
    kept = named
    if "quantity" in named.columns:
        kept = named.filter(pl.col("quantity").is_null() | (pl.col("quantity") > 0))
    if kept.is_empty():
        raise InputError(f"{name} has no row with a user, an item, a time and a quantity above 0")
    if "session_id" in kept.columns:
        first = pl.col("timestamp").min().over("user_id", "session_id")
        together = pl.when(pl.col("session_id").is_null()).then("timestamp").otherwise(first)
        kept = kept.with_columns(timestamp=together)
    dataset = Dataset.from_frames(kept, items)
    assert set(dataset.event_names()) == {"purchase"}  # the frame has no other column of events
    return Baskets(name, dataset, frame.height, frame.height - named.height, named.height - kept.height)


def questions(dataset: Dataset, horizon_days: float) -> dict[str, Case]:
    """HORIZON: what a user buys in the days after the cut; NEXT: what the first basket of them holds.

    Both ask, as of the cut, the users who have a past and a future. Raises InputError when there are none.
    """
    case = temporal(dataset, horizon_days=horizon_days)
    rows = np.flatnonzero(case.histories.lengths > 0)
    if len(rows) == 0:
        raise InputError(f"nobody buys both before and in the last {horizon_days:g} days")
    asked = only(case, rows)
    return {HORIZON: asked, NEXT: replace(asked, **_first_baskets(dataset, asked))}


def only(case: Case, rows: np.ndarray) -> Case:  # type: ignore[type-arg]
    """The case with only these users."""
    parts = [case.truth[case.indptr[row] : case.indptr[row + 1]] for row in rows]
    indptr = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    left_out = case.left_out + len(case) - len(rows)
    truth = np.concatenate(parts)
    return replace(case, histories=case.histories.select(rows), indptr=indptr, truth=truth, left_out=left_out)


def _first_baskets(dataset: Dataset, case: Case) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    """indptr and truth of each asked user's first basket after the cut."""
    future = dataset.since(case.cut_s).as_of(case.cut_s + case.horizon_days * DAY_S).events
    bought = future.filter(pl.col("event") == EVENT_CODES[case.target])
    first = bought.filter(pl.col("time_s") == pl.col("time_s").min().over("user"))
    pairs = first.select("user", "item").unique().sort("user", "item")
    asked = pl.DataFrame({"user": case.histories.users, "row": np.arange(len(case))})
    joined = asked.join(pairs, on="user", how="inner", maintain_order="left_right")
    counts = np.bincount(joined["row"].to_numpy(), minlength=len(case))
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return {"indptr": indptr, "truth": joined["item"].to_numpy()}
