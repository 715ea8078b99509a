"""Frames in, `Dataset` out: aliases, types, dense ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import polars as pl

from intently.data.dataset import Dataset
from intently.data.histories import DAY_S
from intently.data.ids import IdMap
from intently.data.parse import Parsed, event_names, idents, numbers, rename_columns
from intently.data.parse import canonical as canonical
from intently.data.parse_times import guess_day_first, times
from intently.errors import InputError
from intently.schema import EVENT_CODES, ITEM_COLUMNS
from intently.store.base import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from narwhals.typing import IntoFrame

    from intently.store import EventStore


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


def dataset_from_frames(events: IntoFrame, items: IntoFrame | None, users: IntoFrame | None) -> Dataset:
    """See Dataset.from_frames."""
    raw = to_polars(events)
    wanted = ("user_id", "item_id", "timestamp", "event", *NUMBERS, "session_id")
    raw = raw.rename(rename_columns(raw.columns, wanted))
    missing = [name for name in ("user_id", "item_id", "timestamp") if name not in raw.columns]
    if missing:
        raise InputError(
            f"events lack {', '.join(missing)}; got columns {', '.join(raw.columns)}",
            hint="rename the columns; the aliases are in intently.schema.COLUMN_ALIASES",
            field=missing[0],
        )
    read = {"user_id": idents(raw["user_id"]), "item_id": idents(raw["item_id"])}
    read["timestamp"] = times(raw["timestamp"], day_first=guess_day_first(raw["timestamp"]))
    if "event" in raw.columns:
        read["event"] = event_names(raw["event"])
    read |= {name: numbers(raw[name]) for name in NUMBERS if name in raw.columns}
    for name, parsed in read.items():
        _refuse_faults(name, parsed, raw)
    purchase = np.full(raw.height, EVENT_CODES["purchase"], np.uint8)
    table = pl.DataFrame(
        [
            read["user_id"].values.alias("user_id"),
            read["item_id"].values.alias("item_id"),
            read["event"].values.alias("event") if "event" in read else pl.Series("event", purchase),
            read["timestamp"].values.alias("time_s"),
            *(_number(name, read.get(name), raw.height) for name in NUMBERS),
            _session(raw),
        ]
    )
    return build(table, _table(items, "item_id"), _table(users, "user_id"))


def dataset_from_store(store: EventStore) -> Dataset:
    """See Dataset.from_store."""
    events = store.events().with_columns(session=_session_codes(pl.col("session_id"))).drop("session_id")
    return build(events, store.items(), store.users())


def build(table: pl.DataFrame, item_table: pl.DataFrame | None, user_table: pl.DataFrame | None) -> Dataset:
    """Dense ids for a clean event table (user_id, item_id, event, time_s, value, ..., session).

    Ids are given in sorted order of the tables' and the events' ids: the same shop, the same ids.
    """
    item_ids, item_table = _complete(table["item_id"], item_table, "item_id")
    user_ids, user_table = _complete(table["user_id"], user_table, "user_id")
    events = (
        table.with_columns(user=_dense(table["user_id"], user_ids), item=_dense(table["item_id"], item_ids))
        .select("user", "item", "event", "time_s", *NUMBERS, "session")
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
            **{name: pl.Series([None] * rows, dtype=pl.Float32) for name in NUMBERS},
            "session": pl.Series(np.full(rows, -1, np.int64)),
        }
    )
    user_table = pl.DataFrame({"user_id": pl.Series(names, dtype=pl.String)})
    made = build(table, _table(items, "item_id"), user_table)
    return Dataset(made.events, made.users, made.items, made.item_table, made.user_table, timed=False)


def _refuse_faults(name: str, parsed: Parsed, raw: pl.DataFrame) -> None:
    for rows, reason in parsed.faults:
        row = int(rows.argmax())
        raise InputError(
            f"{name} of row {row} {reason}: got {str(raw[name][row])[:80]!r}",
            hint="`intently import` keeps such rows in a rejects file",
            field=name,
        )


def _number(name: str, parsed: Parsed | None, n: int) -> pl.Series:
    if parsed is None:
        return pl.Series(name, [None] * n, dtype=pl.Float32)
    return parsed.values.cast(pl.Float32).alias(name)


def _session(raw: pl.DataFrame) -> pl.Series:
    if "session_id" not in raw.columns:
        return pl.Series("session", np.full(raw.height, -1, np.int64))
    text = idents(raw["session_id"], required=False).values
    return pl.DataFrame({"session": text}).select(_session_codes(pl.col("session")))["session"]


def _session_codes(names: pl.Expr) -> pl.Expr:
    """Dense numbers of session names, -1 for none."""
    return names.rank("dense").cast(pl.Int64).fill_null(-1)


def _table(frame: IntoFrame | None, key: str) -> pl.DataFrame | None:
    if frame is None:
        return None
    table = to_polars(frame)
    wanted = ITEM_COLUMNS if key == "item_id" else (key,)
    table = table.rename(rename_columns(table.columns, wanted))
    if key not in table.columns:
        raise InputError(f"the table lacks {key}; got columns {', '.join(table.columns)}", field=key)
    table = table.with_columns(idents(table[key]).values.alias(key)).filter(pl.col(key).is_not_null())
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
