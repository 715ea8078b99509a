"""The contract of every model.

A model is fitted on a `Dataset` and answers from `Histories`, never from user ids: a fresh event
counts without a refit and a stranger (empty history) gets an answer. A subclass writes four methods,
`_fit`, `_scores`, `_state` and `_restore`; everything a caller touches is here, written once.

What tests/test_contract.py holds against every model in `intently.models.REGISTRY`: it refuses before fit;
answers at most k items, unique, never an excluded one; asking changes nothing; strangers get an
answer; batch = single; same seed, same bytes; save -> load -> same list; a second fit forgets the
first; it finds the known answer in a tiny shop.
"""

from __future__ import annotations

import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import polars as pl
from safetensors.numpy import load_file, save_file

from intently.data import Dataset, Histories
from intently.errors import ArtifactError, InputError, NotReadyError
from intently.models.ranking import Ranked, rank
from intently.models.space import Space
from intently.schema import FloatArray

if TYPE_CHECKING:
    from intently.models.start import Start

State = Mapping[str, np.ndarray[Any, Any]]
BATCH = 256


class Recommender(ABC):
    """Base of all models; hyper-parameters are the constructor's keyword arguments, all JSON."""

    name: ClassVar[str]
    SPACE: ClassVar[Space] = {}
    """Where `intently search` looks for better settings (space.py); empty: there is nothing to search."""

    def __init__(self) -> None:
        self.n_items = -1
        self.repeats = True  # whether met items may be recommended; `fit` learns it from the data
        self._start: Start | None = None  # while `fit` runs

    # -- what a subclass writes ----------------------------------------------------------------

    @abstractmethod
    def _fit(self, dataset: Dataset) -> None:
        """Learn from the whole of `dataset` (cut it first). Must forget any earlier fit."""

    @abstractmethod
    def _scores(self, histories: Histories) -> FloatArray:
        """(batch, n_items) float32, larger is better, -inf = never recommend. Must not change self.

        Row b depends on history b only (batch = single), apart from float rounding.
        """

    @abstractmethod
    def _state(self) -> State:
        """Fitted arrays by name, enough for `_restore`."""

    @abstractmethod
    def _restore(self, state: State) -> None:
        """Take back what `_state` gave; `n_items` and `repeats` are set already."""

    # -- what a caller uses --------------------------------------------------------------------

    def fit(self, dataset: Dataset, start: Start | None = None) -> Self:
        """Learn from `dataset`; raises InputError when it has no positive events.

        start: a model that was fitted earlier. What is trained step by step goes on from there and takes
        fewer steps; what is solved in closed form is solved anew. It may have seen nothing that this
        model is to be judged on.
        """
        if dataset.n_events == 0 or dataset.n_items == 0:
            raise InputError("the dataset has no events to learn from", hint="import events first")
        self.n_items = dataset.n_items
        self.repeats = dataset.repeat_share > REPEAT_SHARE
        self._start = start
        try:
            self._fit(dataset)
        finally:
            self._start = None
        return self

    @property
    def fitted(self) -> bool:
        """Whether `fit` or `load` has run."""
        return self.n_items >= 0

    def scores(self, histories: Histories) -> FloatArray:
        """(batch, n_items) float32 scores of every item; raises NotReadyError before `fit`."""
        if not self.fitted:
            raise NotReadyError(f"{self.name} is not fitted", hint="call fit(dataset) first")
        return self._scores(histories)

    def top_k(
        self,
        histories: Histories,
        k: int = 10,
        *,
        repeats: bool | None = None,
        exclude: Sequence[Sequence[int]] | None = None,
        only: Sequence[int] | None = None,
    ) -> Ranked:
        """The best `k` items of each history, best first.

        repeats: whether items of the history may come back (None: as learned from the data).
        exclude: dense item ids never to answer, one list a row. only: the allowed items, for all.
        """
        if k < 1:
            raise InputError(f"k must be at least 1, got {k}", field="k")
        allow = self.repeats if repeats is None else repeats
        parts = []
        for start in range(0, len(histories), BATCH):
            batch = histories.select(np.arange(start, min(start + BATCH, len(histories))))
            barred = None if exclude is None else exclude[start : start + BATCH]
            parts.append(rank(self.scores(batch), batch, k, allow, barred, only))
        if not parts:
            self.scores(histories)  # refuses before fit
        return Ranked.concat(parts, k)

    def recommend(self, dataset: Dataset, users: Sequence[str] | None = None, k: int = 10) -> pl.DataFrame:
        """Frame user_id, item_id, rank (from 1), score: outside ids in, outside ids out.

        Users nobody knows get the answer for an empty history.
        """
        names = list(dataset.users.ids) if users is None else list(users)
        ranked = self.top_k(histories_of(dataset, names), k)
        rows, columns = np.nonzero(ranked.items >= 0)
        return pl.DataFrame(
            {
                "user_id": [names[row] for row in rows],
                "item_id": dataset.items.names(ranked.items[rows, columns]),
                "rank": columns.astype(np.int32) + 1,
                "score": ranked.scores[rows, columns],
            },
            schema_overrides={"user_id": pl.String, "item_id": pl.String},
        )

    def similar(self, item: int, k: int = 10) -> Ranked:
        """The `k` items that follow from `item` alone (a history of one), without `item` itself."""
        return self.top_k(Histories.of([[item]]), k, repeats=False)

    # -- keeping -------------------------------------------------------------------------------

    def settings(self) -> dict[str, Any]:
        """Hyper-parameters as given to the constructor."""
        names = inspect.signature(type(self).__init__).parameters
        return {name: getattr(self, name) for name in names if name != "self"}

    def save(self, folder: Path) -> None:
        """Write model.json and arrays.safetensors into `folder` (made if missing)."""
        if not self.fitted:
            raise NotReadyError(f"{self.name} is not fitted", hint="call fit(dataset) first")
        folder.mkdir(parents=True, exist_ok=True)
        facts = {
            "model": self.name,
            "settings": self.settings(),
            "n_items": self.n_items,
            "repeats": self.repeats,
        }
        (folder / "model.json").write_text(json.dumps(facts, indent=1, sort_keys=True))
        arrays = {key: np.ascontiguousarray(value) for key, value in self._state().items()}
        save_file(arrays, folder / "arrays.safetensors")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The model that `save` wrote; raises ArtifactError when it is damaged or another model's."""
        try:
            facts = json.loads((folder / "model.json").read_text())
            arrays = load_file(folder / "arrays.safetensors")
            model = cls(**facts["settings"])
            stored, model.n_items = facts["model"], int(facts["n_items"])
            model.repeats = bool(facts["repeats"])
        except Exception as error:
            raise ArtifactError(f"{folder} holds no readable {cls.name} model: {error}") from error
        if stored != cls.name:
            raise ArtifactError(f"{folder} holds a {stored!r} model, not {cls.name!r}")
        model._restore(arrays)
        return model


REPEAT_SHARE = 0.15
"""A shop repeats when more than this share of its target events repeat an earlier one."""


def histories_of(dataset: Dataset, names: Sequence[str]) -> Histories:
    """Histories of these outside user ids; strangers get an empty one."""
    known = dataset.users.indices(names)
    everyone = dataset.histories()
    if (known >= 0).all():
        return everyone.select(known)
    lengths = np.where(known >= 0, everyone.lengths[known], 0)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    filled = everyone.select(known[known >= 0])
    at_s = np.full(len(names), dataset.end_s, np.float64)
    return Histories(indptr, filled.items, filled.time_s, filled.events, known, at_s)
