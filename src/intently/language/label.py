"""Objective *label*: any text with labels, such as intent, sentiment, topic or category."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from intently import progress
from intently.errors import InputError
from intently.language.classification import Classification, Guard
from intently.language.examples import Examples, Parts, numbered, parted


def from_file(
    path: Path,
    text: str,
    label: str,
    folder: Path | None = None,
    *,
    guard: Guard | None = None,
    batch_size: int = 32,
    max_tokens: int = 128,
    test: float = 0.2,
    seed: int = 0,
) -> Classification:
    """The objective of a CSV (also .gz), JSONL or Parquet file with a text and a label column.

    folder: the model whose tokenizer reads; None: the English one. test: share held back, stratified,
    with nothing in it that is also learned from. Raises InputError for a file or column that is not
    there, and for fewer than two classes.
    """
    frame = read_table(Path(path))
    absent = [name for name in (text, label) if name not in frame.columns]
    if absent:
        shown = ", ".join(frame.columns[:12])
        raise InputError(f"{Path(path).name} has no column {absent[0]!r}; it has {shown}", field=absent[0])
    texts = frame[text].cast(pl.String).to_list()
    labels = frame[label].cast(pl.String).to_list()
    return from_texts(
        texts,
        labels,
        folder,
        guard=guard,
        batch_size=batch_size,
        max_tokens=max_tokens,
        test=test,
        seed=seed,
    )


def from_texts(
    texts: Sequence[str | None],
    labels: Sequence[object],
    folder: Path | None = None,
    *,
    guard: Guard | None = None,
    batch_size: int = 32,
    max_tokens: int = 128,
    test: float = 0.2,
    seed: int = 0,
) -> Classification:
    """The same of texts and labels side by side; what lacks one of the two is left out, with a note."""
    parts = parted_texts(texts, labels, test=test, seed=seed)
    return Classification(
        "label", parts, folder, guard=guard, batch_size=batch_size, max_tokens=max_tokens, seed=seed
    )


def parted_texts(
    texts: Sequence[str | None], labels: Sequence[object], *, test: float = 0.2, seed: int = 0
) -> Parts:
    """Clean texts in three parts; see `examples.parted`."""
    if len(texts) != len(labels):
        raise InputError(f"{len(texts)} texts and {len(labels)} labels: there must be one for each")
    pairs = [
        (text, label)
        for text, label in zip(texts, labels, strict=True)
        if text is not None and text.strip() and label is not None and str(label).strip()
    ]
    if len(pairs) < len(texts):
        progress.note(f"{len(texts) - len(pairs)} rows without a text or a label are left out")
    if not pairs:
        raise InputError("no row has both a text and a label", hint="look at the two columns")
    places, names = numbered([label for _, label in pairs])
    if len(names) < 2:
        raise InputError(
            f"there is a single class ({names[0]}): nothing to tell apart", hint="give at least two labels"
        )
    return parted(Examples([text for text, _ in pairs], places), names, test=test, seed=seed)


def read_table(path: Path) -> pl.DataFrame:
    """A CSV, JSONL or Parquet file, the first two also gzipped; everything in a CSV is text."""
    name = path.name.removesuffix(".gz")
    try:
        if name.endswith(".parquet"):
            return pl.read_parquet(path)
        if name.endswith((".jsonl", ".ndjson")):
            return pl.read_ndjson(path.read_bytes() if path.suffix != ".gz" else _unpacked(path))
        if name.endswith((".csv", ".tsv")):
            return pl.read_csv(path, infer_schema=False, separator="\t" if name.endswith(".tsv") else ",")
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path} cannot be read: {str(error)[:200]}") from error
    raise InputError(
        f"{path.name} is no table", hint="give .csv, .tsv, .jsonl or .parquet (.gz is read, too)"
    )


def _unpacked(path: Path) -> bytes:
    import gzip

    with gzip.open(path) as file:
        return file.read()
