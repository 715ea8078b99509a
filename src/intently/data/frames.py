"""Frames in, `Dataset` out: aliases, types, dense ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import polars as pl

from intently.data.dataset import Dataset
from intently.data.histories import DAY_S
from intently.data.ids import IdMap
from intently.errors import InputError
from intently.schema import COLUMN_ALIASES, EVENT_ALIASES, EVENT_CODES, EVENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from narwhals.typing import IntoFrame

_NUMBERS = ("value", "quantity", "price")


def canonical(name: str) -> str:
    """Lower case, spaces and dashes as underscores."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def rename_columns(columns: Sequence[str], wanted: Sequence[str]) -> dict[str, str]:
    """Source column -> our column, exact names first, then schema.COLUMN_ALIASES.

    >>> rename_columns(["CustomerID", "title"], ["user_id", "title"])
    {'title': 'title', 'CustomerID': 'user_id'}
    """
    found: dict[str, str] = {}
    by_name = {canonical(column): column for column in reversed(columns)}
    for ours in wanted:
        if ours in by_name:
            found[by_name[ours]] = ours
    for ours in wanted:
        if ours in found.values():
            continue
        for alias in COLUMN_ALIASES.get(ours, ()):
            source = by_name.get(alias)
            if source is not None and source not in found:
                found[source] = ours
                break
    return found


def to_polars(frame: Any) -> pl.DataFrame:
    """Any frame narwhals knows (polars, pandas, pyarrow, ...) as polars; a lazy one is collected."""
    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    try:
        eager = nw.from_native(frame, eager_only=True)
    except TypeError as error:
        raise InputError(f"expected a polars or pandas frame, got {type(frame).__name__}") from error
    return pl.DataFrame({name: eager[name].to_list() for name in eager.columns})


def time_seconds(column: pl.Series) -> pl.Series:
    """Seconds since 1970 from datetimes, dates, ISO text or epoch numbers (s, ms, us by size)."""
    dtype = column.dtype
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        return column.cast(pl.Datetime("us")).dt.epoch("us") / 1e6
    if dtype.is_numeric():
        values = column.cast(pl.Float64)
        scale = pl.when(values.abs() > 1e14).then(1e6).when(values.abs() > 1e11).then(1e3)
        return pl.select(values / pl.select(scale.otherwise(1.0)).to_series()).to_series()
    parsed = column.cast(pl.String).str.to_datetime(strict=False, time_zone="UTC")
    return parsed.dt.epoch("us") / 1e6


def event_codes(column: pl.Series) -> pl.Series:
    """Codes of schema.EVENTS; null for a name nobody knows."""
    table = EVENT_CODES | {alias: EVENT_CODES[name] for alias, name in EVENT_ALIASES.items()}
    names = column.cast(pl.String).str.strip_chars().str.to_lowercase().str.replace_all("[ -]", "_")
    return names.replace_strict(table, default=None, return_dtype=pl.UInt8)


def dataset_from_frames(events: IntoFrame, items: IntoFrame | None, users: IntoFrame | None) -> Dataset:
    """See Dataset.from_frames."""
    raw = to_polars(events)
    wanted = ("user_id", "item_id", "timestamp", "event", *_NUMBERS, "session_id")
    raw = raw.rename(rename_columns(raw.columns, wanted))
    missing = [name for name in ("user_id", "item_id", "timestamp") if name not in raw.columns]
    if missing:
        raise InputError(
            f"events lack {', '.join(missing)}; got columns {', '.join(raw.columns)}",
            hint="rename the columns; the aliases are in intently.schema.COLUMN_ALIASES",
            field=missing[0],
        )
    time_s = time_seconds(raw["timestamp"])
    purchase = pl.Series(np.full(raw.height, EVENT_CODES["purchase"], np.uint8))
    codes = event_codes(raw["event"]) if "event" in raw.columns else purchase
    for name, column in (("timestamp", time_s), ("event", codes), ("user_id", raw["user_id"])):
        _refuse_nulls(name, column, raw)
    _refuse_nulls("item_id", raw["item_id"], raw)
    table = pl.DataFrame(
        [
            raw["user_id"].cast(pl.String).alias("user_id"),
            raw["item_id"].cast(pl.String).alias("item_id"),
            codes.alias("event"),
            time_s.cast(pl.Float64).alias("time_s"),
            *(_number(raw, name) for name in _NUMBERS),
            _session(raw),
        ]
    )
    return build(table, _table(items, "item_id"), _table(users, "user_id"))


def build(table: pl.DataFrame, item_table: pl.DataFrame | None, user_table: pl.DataFrame | None) -> Dataset:
    """Dense ids for a clean event table (user_id, item_id, event, time_s, value, ..., session).

    Ids are given in sorted order of the tables' and the events' ids: the same shop, the same ids.
    """
    item_ids, item_table = _complete(table["item_id"], item_table, "item_id")
    user_ids, user_table = _complete(table["user_id"], user_table, "user_id")
    events = (
        table.with_columns(user=_dense(table["user_id"], user_ids), item=_dense(table["item_id"], item_ids))
        .select("user", "item", "event", "time_s", *_NUMBERS, "session")
        .sort("time_s", maintain_order=True)
    )
    return Dataset(events, user_ids, item_ids, item_table, user_table)


def dataset_from_sequences(
    sequences: Sequence[Sequence[str]], users: Sequence[str] | None, items: IntoFrame | None
) -> Dataset:
    """See Dataset.from_sequences; event j of a user lies on day j, which only orders it."""
    names = [str(i) for i in range(len(sequences))] if users is None else list(users)
    lengths = [len(s) for s in sequences]
    rows = int(np.sum(lengths))
    day = np.concatenate([np.arange(n) for n in lengths]) if rows else np.zeros(0)
    table = pl.DataFrame(
        {
            "user_id": pl.Series(np.repeat(np.asarray(names, dtype=object), lengths), dtype=pl.String),
            "item_id": pl.Series([str(i) for s in sequences for i in s], dtype=pl.String),
            "event": pl.Series(np.full(rows, EVENT_CODES["purchase"], np.uint8)),
            "time_s": pl.Series(day * DAY_S, dtype=pl.Float64),
            **{name: pl.Series([None] * rows, dtype=pl.Float32) for name in _NUMBERS},
            "session": pl.Series(np.full(rows, -1, np.int64)),
        }
    )
    user_table = pl.DataFrame({"user_id": pl.Series(names, dtype=pl.String)})
    made = build(table, _table(items, "item_id"), user_table)
    return Dataset(made.events, made.users, made.items, made.item_table, made.user_table, timed=False)


def _refuse_nulls(name: str, column: pl.Series, raw: pl.DataFrame) -> None:
    bad = column.is_null()
    if bad.any():
        row = int(bad.arg_max() or 0)
        got = raw[name][row] if name in raw.columns else None
        allowed = f"; allowed: {', '.join(EVENTS)}" if name == "event" else ""
        raise InputError(
            f"{name} of row {row} cannot be read: got {str(got)[:80]!r}{allowed}",
            hint="`intently import` keeps such rows in a rejects file",
            field=name,
        )


def _number(raw: pl.DataFrame, name: str) -> pl.Series:
    if name not in raw.columns:
        return pl.Series(name, [None] * raw.height, dtype=pl.Float32)
    return raw[name].cast(pl.Float32, strict=False).alias(name)


def _session(raw: pl.DataFrame) -> pl.Series:
    if "session_id" not in raw.columns:
        return pl.Series("session", np.full(raw.height, -1, np.int64))
    return raw["session_id"].cast(pl.String).rank("dense").cast(pl.Int64).fill_null(-1).alias("session")


def _table(frame: IntoFrame | None, key: str) -> pl.DataFrame | None:
    if frame is None:
        return None
    table = to_polars(frame)
    wanted = [key, *(name for name in COLUMN_ALIASES if name not in ("user_id", "item_id"))]
    if key == "user_id":
        wanted = [key]
    table = table.rename(rename_columns(table.columns, wanted))
    if key not in table.columns:
        raise InputError(f"the table lacks {key}; got columns {', '.join(table.columns)}", field=key)
    table = table.with_columns(pl.col(key).cast(pl.String)).filter(pl.col(key).is_not_null())
    return table.unique(key, keep="last", maintain_order=True)


def _complete(used: pl.Series, table: pl.DataFrame | None, key: str) -> tuple[IdMap, pl.DataFrame]:
    """Sorted ids of table and events together, and the table with a row for each."""
    every = used.unique()
    if table is not None:
        every = pl.concat([every, table[key]]).unique()
    ids = pl.DataFrame({key: every.sort()})
    full = ids if table is None else ids.join(table, on=key, how="left", maintain_order="left")
    return IdMap(ids[key].to_list()), full


def _dense(column: pl.Series, ids: IdMap) -> pl.Series:
    frame = ids.frame("id")
    joined = pl.DataFrame({"id": column}).join(frame, on="id", how="left", maintain_order="left")
    return joined["index"].cast(pl.Int32)
