"""The model that answers now, and the swap to the next one.

A thread looks at the pointer file every two seconds (one `stat`). A new version is loaded and checked
beside the old one, then a single attribute changes: a request keeps the model it began with, so none
is dropped. A damaged version is refused, said so in `trouble`, and the old one goes on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import polars as pl

from intently import artifact
from intently.artifact import Artifact
from intently.data import Histories
from intently.errors import IntentlyError
from intently.models import Recommender
from intently.schema import FloatArray, IntArray
from intently.serving.state.memory import Numbers

POLL_S = 2.0
log = logging.getLogger("intently.serving")


class ReasonLike(Protocol):
    """Why an item is answered: plain words, how much they add to the score, and what fills them."""

    @property
    def code(self) -> str:
        """Family of evidence."""
        ...

    @property
    def text(self) -> str:
        """English words."""
        ...

    @property
    def effect(self) -> float:
        """What it adds, in log-odds."""
        ...

    @property
    def values(self) -> dict[str, float]:
        """The figures in the text, to word it in another language."""
        ...


@runtime_checkable
class Calibrated(Protocol):
    """A model whose scores are probabilities and that can say why."""

    calibrated: bool

    def probability(self, histories: Histories, items: list[list[int]]) -> list[FloatArray]:
        """P(event within the horizon) of these items, one array a history."""
        ...

    def reasons(self, histories: Histories, items: list[int]) -> Sequence[Sequence[ReasonLike]]:
        """Reasons of these items for a batch of one."""
        ...


class Standing:
    """One loaded artifact and the table from the memory's item numbers to its dense ids.

    calibrated: the model as one that gives probabilities, None when its scores are only an order.
    """

    def __init__(self, made: Artifact, numbers: Numbers) -> None:
        self.artifact = made
        self.titles = _texts(made, "title")
        self.categories = _texts(made, "category")
        self.prices = _numbers(made, "price")
        model = made.model
        self.calibrated = model if isinstance(model, Calibrated) and model.calibrated else None
        self._numbers = numbers
        self._dense: IntArray = made.items.indices(list(numbers.ids))

    @property
    def model(self) -> Recommender:
        """What ranks."""
        return self.artifact.model

    def fact(self, name: str, default: Any) -> Any:
        """A value of the manifest."""
        value = self.artifact.manifest.get(name)
        return default if value is None else value

    def words(self, item_id: str) -> tuple[str, str]:
        """Title and category of an outside id, '' where nothing is known."""
        dense = self.artifact.items.get(item_id)
        return (self.titles[dense], self.categories[dense]) if dense >= 0 else ("", "")

    def price(self, item_id: str) -> float | None:
        """The catalogue's price, None where there is none."""
        dense = self.artifact.items.get(item_id)
        return self.prices[dense] if dense >= 0 else None

    def dense(self, numbers: IntArray) -> IntArray:
        """Dense ids of memory numbers, -1 for items the artifact has never seen."""
        table = self._dense
        if len(numbers) and int(numbers.max()) >= len(table):
            fresh = self.artifact.items.indices(self._numbers.ids[len(table) :])
            table = self._dense = np.concatenate([table, fresh])
        return table[numbers]


class LiveModel:
    """Holds the `Standing` that answers; `current` is None until something was promoted."""

    def __init__(self, root: Path, numbers: Numbers) -> None:
        self._root = root
        self._numbers = numbers
        self._seen: tuple[int, int] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="intently-swap", daemon=True)
        self.current: Standing | None = None
        self.trouble = ""
        self.swaps = 0

    def start(self) -> None:
        """Load what is live and begin to watch."""
        self.refresh()
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def refresh(self) -> None:
        """Load the live version if the pointer changed since the last look; never raises."""
        try:
            stat = (self._root / "live.json").stat()
        except OSError:
            return
        seen = (stat.st_mtime_ns, stat.st_ino)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            folder = artifact.live(self._root)
            if folder is not None and (self.current is None or folder != self.current.artifact.folder):
                self.current = Standing(artifact.load(folder), self._numbers)
                self.swaps += 1
                log.info("model %s answers now", folder.name)
            self.trouble = ""
        except Exception as error:  # whatever is wrong with the new one, the old one goes on
            reason = error.message if isinstance(error, IntentlyError) else type(error).__name__
            self.trouble = f"the published model was refused: {reason}"
            log.warning(self.trouble)

    def _watch(self) -> None:
        while not self._stop.wait(POLL_S):
            self.refresh()


def _texts(made: Artifact, column: str) -> list[str]:
    if column not in made.item_table.columns:
        return [""] * len(made.items)
    return made.item_table[column].cast(pl.String).fill_null("").to_list()


def _numbers(made: Artifact, column: str) -> list[float | None]:
    if column not in made.item_table.columns:
        return [None] * len(made.items)
    values = made.item_table[column].cast(pl.Float64, strict=False)
    return [None if v is None or not isfinite(v) else round(v, 4) for v in values.to_list()]
