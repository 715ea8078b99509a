"""What the catalogue says of an item, as numbers: main directions of its text, attributes, price."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from intently.data import Dataset
from intently.models.principal import main_axes
from intently.schema import BoolArray, DoubleArray, FloatArray, LongArray

MOST_TOKENS = 8
"""Attributes of one item that are read: the brand and the parts of the category."""

RAREST = 2
"""Items that must share an attribute, or it says nothing of others."""

PARTS = re.compile(r"\s*[|>;]\s*")


@dataclass(frozen=True)
class ItemFeatures:
    """Row = dense item id. `reader` made them and reads other items the same way."""

    text: FloatArray  # (n_items, width), zeros without a text
    tokens: LongArray  # (n_items, MOST_TOKENS), 0 for none
    price: FloatArray  # (n_items, 2): standardised log(1 + price), 1 where it is known; zeros elsewhere

    def columns(self) -> tuple[FloatArray, LongArray, FloatArray]:
        """(text, tokens, price), as the item tower reads them."""
        return self.text, self.tokens, self.price

    def said(self) -> BoolArray:
        """(n_items,) whether an item has a text or an attribute."""
        found: BoolArray = np.logical_or(self.text.any(axis=1), self.tokens.any(axis=1))
        return found


@dataclass(frozen=True)
class ItemReader:
    """How items are read: learned from a catalogue, never from behaviour."""

    middle: FloatArray  # (raw width,) mean text vector
    axes: FloatArray  # (raw width, width)
    attributes: list[str]  # token i + 1 is attributes[i]: "category=..." or "brand=..."
    price: FloatArray  # (2,) mean and deviation of log(1 + price)

    @staticmethod
    def of(dataset: Dataset, vectors: FloatArray | None, width: int, scale: float) -> ItemReader:
        """Learned from a shop; `scale` multiplies the unit-variance directions of text."""
        middle, axes = directions(vectors, width)
        seen = Counter(word for words in words_of(dataset) for word in words)
        kept = sorted(word for word, count in seen.items() if count >= RAREST)
        logs = log_price(dataset)
        known = logs[~np.isnan(logs)]
        place = (known.mean(), known.std()) if len(known) else (0.0, 1.0)
        return ItemReader(
            middle,
            (axes * scale).astype(np.float32),
            kept,
            np.array([place[0], max(float(place[1]), 1e-3)], np.float32),
        )

    def read(self, dataset: Dataset, vectors: FloatArray | None) -> ItemFeatures:
        """The features of a shop's items."""
        n = dataset.n_items
        text = np.zeros((n, self.axes.shape[1]), np.float32)
        if vectors is not None and self.axes.size:
            said = vectors.any(axis=1)
            text[said] = (vectors[said] - self.middle) @ self.axes
        number = {word: place + 1 for place, word in enumerate(self.attributes)}
        tokens = np.zeros((n, MOST_TOKENS), np.int64)
        for row, words in enumerate(words_of(dataset)):
            found = [number[word] for word in words if word in number][:MOST_TOKENS]
            tokens[row, : len(found)] = found
        logs = log_price(dataset)
        known = ~np.isnan(logs)
        price = np.zeros((n, 2), np.float32)
        price[known, 0] = (logs[known] - self.price[0]) / self.price[1]
        price[:, 1] = known
        return ItemFeatures(text, tokens, price)

    # -- keeping -------------------------------------------------------------------------------

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """Arrays that `restored` makes a reader of."""
        names = json.dumps(self.attributes, ensure_ascii=False).encode()
        return {
            "reader.middle": self.middle,
            "reader.axes": self.axes,
            "reader.price": self.price,
            "reader.attributes": np.frombuffer(names, np.uint8),
        }

    @staticmethod
    def restored(state: Mapping[str, np.ndarray[Any, Any]]) -> ItemReader | None:
        """The reader that `state` told; None where there was none."""
        if "reader.axes" not in state:
            return None
        names = json.loads(state["reader.attributes"].tobytes().decode())
        return ItemReader(state["reader.middle"], state["reader.axes"], names, state["reader.price"])


def directions(vectors: FloatArray | None, width: int) -> tuple[FloatArray, FloatArray]:
    """(middle (raw,), axes (raw, width)) of text vectors, main directions last; empty without texts.

    Each direction has variance one in a large catalogue. The variances are shrunk towards their mean by
    raw / (raw + texts), or a catalogue smaller than its vectors' width would be whitened to noise.
    """
    nothing = np.zeros(0, np.float32), np.zeros((0, 0), np.float32)
    said = vectors[vectors.any(axis=1)] if vectors is not None else np.zeros((0, 0), np.float32)
    n, raw = said.shape
    if n < 2:
        return nothing
    middle, axes = main_axes(said, width)
    variance = 1.0 / np.maximum((axes**2).sum(axis=0), 1e-12)
    shrink, mean = raw / (raw + n), float(said.var(axis=0).mean())
    axes = axes * np.sqrt(variance / ((1.0 - shrink) * variance + shrink * mean))
    return middle.astype(np.float32), axes.astype(np.float32)


def words_of(dataset: Dataset) -> list[list[str]]:
    """The attributes of each item: its brand, then the parts of its category ("Food > Tea|Green")."""
    out: list[list[str]] = [[] for _ in range(dataset.n_items)]
    for column in ("brand", "category"):
        if column not in dataset.item_table.columns:
            continue
        values = dataset.item_table[column].cast(pl.String, strict=False).fill_null("")
        for row, value in enumerate(values):
            parts = PARTS.split(value.strip()) if column == "category" else [value.strip()]
            out[row] += [f"{column}={part}" for part in dict.fromkeys(parts) if part]
    return out


def log_price(dataset: Dataset) -> DoubleArray:
    """(n_items,) log(1 + price); NaN where there is none."""
    if "price" not in dataset.item_table.columns:
        return np.full(dataset.n_items, np.nan)
    values = dataset.item_table["price"].cast(pl.Float64, strict=False).to_numpy()
    usable = np.isfinite(values) & (values >= 0)
    return np.where(usable, np.log1p(np.where(usable, values, 0.0)), np.nan)
