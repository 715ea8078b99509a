"""Which text of an item is read, and the vectors of a whole catalogue."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl

from intently.data import Dataset
from intently.language.choice import encoder_for
from intently.language.choice import mostly_han as mostly_han
from intently.language.encoder import TextEncoder
from intently.schema import IntArray

PARTS = {"title": 300, "category": 100, "brand": 60, "description": 200}
"""Column -> characters read from it, in the order they are put together."""

_NOTHING = ("", "null", "none", "nan", "n/a", "unknown")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
_WORD = re.compile(r"\w+")


def catalogue_text(dataset: Dataset) -> list[str]:
    """One text an item of a shop: see `texts_of`."""
    return texts_of(dataset.item_table)


def texts_of(table: pl.DataFrame) -> list[str]:
    """One text an item: title, category, brand and the start of the description, whatever is there.

    A part whose words the text already contains is not said twice; empty cells and the words that stand
    for them (null, none, nan, n/a) are left out. '' when nothing is known.
    """
    texts = [""] * table.height
    for name, limit in PARTS.items():
        if name not in table.columns:
            continue
        for row, part in enumerate(_column(table[name], limit)):
            text = texts[row]
            if part and not _said(part.casefold(), text.casefold()):
                texts[row] = f"{text}, {part}" if text else part
    return texts


def category_numbers(dataset: Dataset) -> IntArray:
    """A number for each item's whole category path, -1 where there is none, (n_items,)."""
    if "category" not in dataset.item_table.columns:
        return np.full(dataset.n_items, -1, np.int32)
    column = dataset.item_table["category"]
    if isinstance(column.dtype, pl.List | pl.Array):
        column = column.cast(pl.List(pl.String)).list.join(" > ", ignore_nulls=True)
    ranks = column.cast(pl.String).rank("dense").cast(pl.Int32) - 1
    return ranks.fill_null(-1).to_numpy().astype(np.int32)


def encode_catalogue(
    dataset: Dataset, encoder: TextEncoder | None = None, *, cache: Path | None = None
) -> Dataset:
    """The shop with `vectors`: (n_items, d) float32, unit length, zeros for an item without text.

    encoder: default is the English or the multilingual one, by what the texts are written in. cache:
    folder of the vectors, in place of the encoder's own. Raises MissingExtraError when no model is
    installed, ArtifactError for a damaged one.
    """
    texts = catalogue_text(dataset)
    chosen = TextEncoder(encoder_for(texts), cache=cache) if encoder is None else encoder
    if encoder is not None and cache is not None:
        chosen = encoder.with_cache(cache)
    return dataset.with_vectors(chosen.encode(texts))


def _column(column: pl.Series, limit: int) -> list[str]:
    """Clean text cells of one column, at most `limit` characters each, white space as single blanks."""
    if isinstance(column.dtype, pl.List | pl.Array):
        column = column.cast(pl.List(pl.String)).list.join(" ", ignore_nulls=True)
    text = column.cast(pl.String).fill_null("").str.slice(0, 4 * limit)
    text = text.str.replace_all(r"[\s\p{C}]+", " ").str.strip_chars()
    return ["" if cell.lower() in _NOTHING else shorten(cell, limit) for cell in text.to_list()]


def shorten(text: str, limit: int) -> str:
    """The first words of `text` that fit in `limit` characters; a single long word is cut.

    >>> shorten("green tea bags", 11)
    'green tea'
    """
    if len(text) <= limit:
        return text
    head, blank, _ = text[: limit + 1].rpartition(" ")
    return head if blank and head else text[:limit]


def _said(part: str, text: str) -> bool:
    """Whether `text` contains all words of `part`, or the whole of it where Chinese has no blanks.

    >>> _said("salads/dips", "salsa (salads / dips), 16 oz"), _said("tea", "steam iron")
    (True, False)
    """
    if _HAN.search(part) and part in text:
        return True
    return set(_WORD.findall(part)) <= set(_WORD.findall(text))
