"""What the shop says of every item now: the artifact's table, the store's over it, and what came since.

Rows are the memory's item numbers. Lists of titles, categories and prices are kept beside the frame, as an
answer of twenty items must not ask a frame for each.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

import numpy as np
import orjson
import polars as pl

from intently.schema import BoolArray, IntArray
from intently.serving.state.numbers import Numbers
from intently.store.attributes import as_number, as_path, column

REMOVED: Final = "removed_at"
"""Attribute of an item that was taken out of the shop: it is never answered again."""

NUMBER: Final = ":number"
"""The column of item numbers: no attribute can have that name."""

MOST_WORDED: Final = 50_000
"""Items whose words are kept as bytes: some 200 each."""

Attributes = Mapping[str, Any]


class Catalogue:
    """Current attributes; `version` rises with every change."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self._base = pl.DataFrame({NUMBER: pl.Series([], dtype=pl.Int32)})
        self._fresh: dict[int, dict[str, Any]] = {}
        self._writing = threading.RLock()
        self._frame: pl.DataFrame | None = None
        self._newest: tuple[tuple[int, int], IntArray] = ((-1, -1), np.zeros(0, np.int32))
        self.version = 0
        self.titles: list[str] = []
        self.categories: list[str] = []
        self.prices: list[float | None] = []
        self.alive: BoolArray = np.zeros(0, bool)
        self._words: dict[int, bytes] = {}

    # -- writing --------------------------------------------------------------------------------

    def learn(self, table: pl.DataFrame, *, over: bool = True) -> None:
        """Take in a table with item_id; over: its cells win, else only items of which nothing is known count.

        Rows without any attribute say nothing.
        """
        table = table.filter(~pl.all_horizontal(pl.all().exclude("item_id").is_null()))
        if table.is_empty() or table.width < 2:
            return
        numbers = self._numbers.add_all(table["item_id"].to_list())
        table = table.drop("item_id").with_columns(pl.Series(NUMBER, numbers, pl.Int32))
        table = table.unique(NUMBER, keep="last", maintain_order=True)
        nested = [name for name, kind in table.schema.items() if kind.is_nested()]
        table = table.with_columns(column(name, table[name].to_list()) for name in nested)
        with self._writing:
            self._fold()
            if not over:
                table = table.filter(~pl.col(NUMBER).is_in(self._base[NUMBER].implode()))
            self._base = _merged(table, self._base)
            self._changed()

    def put(self, item_id: str, given: Attributes) -> int:
        """Merge attributes into an item, a new one if nobody knows it; returns its number."""
        number = self._numbers.add(item_id)
        with self._writing:
            self._set(number, {**self.of(number), **given})
        return number

    def replace(self, given: Mapping[str, Attributes]) -> None:
        """Attributes by item id become exactly these."""
        numbers = self._numbers.add_all(given)
        with self._writing:
            self._fold()
            self._base = self._base.filter(~pl.col(NUMBER).is_in(numbers.tolist()))
            for number, attributes in zip(numbers.tolist(), given.values(), strict=True):
                self._set(number, dict(attributes))

    def _set(self, number: int, attributes: dict[str, Any]) -> None:
        self._fresh[number] = attributes
        self._frame = None
        self.version += 1
        self._grow()
        self._tell(number, attributes)
        self._words.pop(number, None)

    # -- reading --------------------------------------------------------------------------------

    def of(self, number: int) -> dict[str, Any]:
        """Attributes of one item that are known, without its id."""
        fresh = self._fresh.get(number)
        if fresh is not None:
            return dict(fresh)
        rows = self._base.filter(pl.col(NUMBER) == number)
        if rows.is_empty():
            return {}
        row = rows.row(0, named=True)
        return {name: value for name, value in row.items() if value is not None and name != NUMBER}

    def frame(self) -> pl.DataFrame:
        """item_id and every attribute; row = item number, for all items known by now."""
        frame = self._frame
        if frame is not None and frame.height == len(self._numbers):
            return frame
        with self._writing:
            if self._frame is not None and self._frame.height < len(self._numbers):
                self.version += 1
            self._fold()
            self._grow()
            ids = self._numbers.ids[: len(self.alive)]
            numbers = pl.int_range(len(ids), dtype=pl.Int32, eager=True).alias(NUMBER)
            every = pl.DataFrame({"item_id": pl.Series(ids, dtype=pl.String), NUMBER: numbers})
            joined = every.join(self._base, on=NUMBER, how="left", maintain_order="left")
            self._frame = joined.drop(NUMBER)
            return self._frame

    def title(self, number: int) -> str:
        """'' where nothing is known."""
        return self.titles[number] if number < len(self.titles) else ""

    def category(self, number: int) -> str:
        """'' where nothing is known."""
        return self.categories[number] if number < len(self.categories) else ""

    def price(self, number: int) -> float | None:
        """None where nothing is known."""
        return self.prices[number] if number < len(self.prices) else None

    def told(self) -> tuple[list[str], list[str], list[float | None]]:
        """Titles, categories and prices by item number, of all items that are known by now."""
        self._keep_up()
        return self.titles, self.categories, self.prices

    def worded(self, numbers: list[int]) -> list[bytes]:
        """What an answer says of each item, as members of a JSON object: id, title, category and price."""
        self._keep_up()
        words = self._words
        return [words.get(number) or self._word(number) for number in numbers]

    def _word(self, number: int) -> bytes:
        with self._writing:  # what is kept was not changed meanwhile
            said = {
                "item_id": self._numbers.ids[number],
                "title": self.titles[number],
                "category": self.categories[number],
                "price": self.prices[number],
            }
            if len(self._words) >= MOST_WORDED:
                self._words.clear()
            words = self._words[number] = orjson.dumps(said)[1:-1]
            return words

    def allowed(self) -> BoolArray:
        """(n_items,) a fresh mask: every item that was not removed."""
        self._keep_up()
        return self.alive.copy()

    def _keep_up(self) -> None:
        if len(self.alive) < len(self._numbers):
            with self._writing:
                self._grow()

    def newest(self, allowed: BoolArray, most: int) -> IntArray:
        """Numbers of allowed items that came last: by created_at where it is known, else by arrival."""
        version, order = self._newest
        if version != (self.version, len(self._numbers)):
            frame = self.frame().with_row_index(NUMBER)
            by = [name for name in ("created_at",) if name in frame.columns]
            ordered = frame.sort([*by, NUMBER], descending=True, nulls_last=True)
            order = ordered[NUMBER].to_numpy().astype(np.int32)
            self._newest = ((self.version, len(self._numbers)), order)
        chosen = order[allowed[order]]
        return chosen[:most]

    def about(self, text: str, category: bool) -> IntArray:
        """Numbers of items whose title holds every word of a text, or whose category it is."""
        frame = self.frame()
        if category:
            if "category" not in frame.columns:
                return np.zeros(0, np.int32)
            found = (pl.col("category").cast(pl.String).str.to_lowercase() == text.lower()).fill_null(False)
        else:
            words, title = text.lower().split(), pl.col("title").cast(pl.String).str.to_lowercase()
            if "title" not in frame.columns or not words:
                return np.zeros(0, np.int32)
            found = pl.all_horizontal(title.str.contains(word, literal=True) for word in words).fill_null(
                False
            )
        return np.flatnonzero(frame.select(found).to_series().to_numpy()).astype(np.int32)

    # -- inside ---------------------------------------------------------------------------------

    def _fold(self) -> None:
        """What came one by one, into the table."""
        if not self._fresh:
            return
        rows = self._fresh.values()
        names = dict.fromkeys(name for given in rows for name in given)
        columns = [column(name, [given.get(name) for given in rows]) for name in names]
        fresh = pl.DataFrame([pl.Series(NUMBER, list(self._fresh), pl.Int32), *columns])
        self._base = _merged(fresh, self._base)
        self._fresh = {}

    def _changed(self) -> None:
        self._frame = None
        self.version += 1
        self._grow()
        base, numbers = self._base, self._base[NUMBER].to_list()
        for name, kept in (("title", self.titles), ("category", self.categories)):
            if name in base.columns:
                texts = base[name].cast(pl.String).fill_null("").to_list()
                for number, text in zip(numbers, texts, strict=True):
                    kept[number] = text
        if "price" in base.columns:
            for number, value in zip(numbers, base["price"].cast(pl.Float64, strict=False), strict=True):
                self.prices[number] = _price(value)
        if REMOVED in base.columns:
            self.alive[base[NUMBER].to_numpy()] = base[REMOVED].is_null().to_numpy()
        self._words = {}

    def _tell(self, number: int, given: Attributes) -> None:
        self.titles[number] = _text(given.get("title"))
        self.categories[number] = _text(given.get("category"))
        self.prices[number] = _price(as_number(given.get("price")))
        self.alive[number] = given.get(REMOVED) is None

    def _grow(self) -> None:
        more = len(self._numbers) - len(self.alive)
        if more > 0:
            self.titles += [""] * more
            self.categories += [""] * more
            self.prices += [None] * more
            self.alive = np.concatenate([self.alive, np.ones(more, bool)])


def _merged(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """Rows of both by number; cells of `first` win where they are not null."""
    shared = [name for name in second.columns if name in first.columns and name != NUMBER]
    both = first.join(second, on=NUMBER, how="full", coalesce=True, suffix=":second")
    for name in shared:
        one, other = both[name], both.drop_in_place(f"{name}:second")
        both = both.with_columns(_one_column(one, other).alias(name))
    return both


def _one_column(one: pl.Series, other: pl.Series) -> pl.Series:
    """Cells of `one`, of `other` where they are null; of the kind that most have where the two differ."""
    alike = one.dtype == other.dtype or pl.Null in (one.dtype, other.dtype)
    if alike or (one.dtype.is_numeric() and other.dtype.is_numeric()):
        return pl.select(pl.coalesce(one, other)).to_series()
    return column(
        one.name, [b if a is None else a for a, b in zip(one.to_list(), other.to_list(), strict=True)]
    )


def _text(value: Any) -> str:
    return "" if value is None else as_path(value)


def _price(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return round(float(value), 4)
