"""The model that answers now, and the swap to the next one.

A thread looks at the pointer file every two seconds (one `stat`); `promote` and `roll_back` move it at
once. A new version is loaded and checked beside the old one, then a single attribute changes: a request
keeps the model it began with, so none is dropped. A damaged version is refused, said so in `trouble`, and
the old one goes on; at a start, when there is no old one, the latest whole one that was live before answers.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from intently import artifact
from intently.artifact import Artifact
from intently.data import Histories
from intently.errors import ArtifactError, IntentlyError, UnknownIdError
from intently.models import Recommender
from intently.models.stateful import Stateful
from intently.schema import FloatArray, IntArray
from intently.serving.state.catalogue import Catalogue
from intently.serving.state.numbers import Numbers

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
    """One loaded artifact, and how the memory's item numbers and its dense ids map to each other.

    calibrated: the model as one that gives probabilities, None when its scores are only an order.
    stateful: the model as one that carries a user from event to event, None when it reads histories anew.
    number: (n_items,) the memory's number of each dense id.
    """

    def __init__(self, made: Artifact, numbers: Numbers) -> None:
        self.artifact = made
        model = made.model
        self.calibrated = model if isinstance(model, Calibrated) and model.calibrated else None
        self.stateful: Stateful[Any] | None = model if isinstance(model, Stateful) else None
        self._numbers = numbers
        self.number: IntArray = numbers.add_all(made.items.ids)
        self._dense: IntArray = self._table()

    @property
    def model(self) -> Recommender:
        """What ranks."""
        return self.artifact.model

    def fact(self, name: str, default: Any) -> Any:
        """A value of the manifest."""
        value = self.artifact.manifest.get(name)
        return default if value is None else value

    def dense(self, numbers: IntArray) -> IntArray:
        """Dense ids of memory numbers, -1 for items the artifact has never seen."""
        if len(numbers) and int(numbers.max()) >= len(self._dense):
            self._dense = self._table()
        return self._dense[numbers]

    def unseen(self, numbers: IntArray) -> int:
        """How many of these memory numbers are of items that the artifact has never seen."""
        if len(self.number) == len(self._numbers):  # it has seen every item there is
            return 0
        return int(np.count_nonzero(self.dense(numbers) < 0))

    def _table(self) -> IntArray:
        table = np.full(len(self._numbers), -1, np.int32)
        table[self.number] = np.arange(len(self.number), dtype=np.int32)
        return table


class LiveModel:
    """Holds the `Standing` that answers; `current` is None until something was promoted."""

    def __init__(self, root: Path, catalogue: Catalogue, numbers: Numbers) -> None:
        self._root = root
        self._catalogue = catalogue
        self._numbers = numbers
        self._seen: tuple[int, int] | None = None
        self._stop = threading.Event()
        self._swapping = threading.RLock()
        self._thread = threading.Thread(target=self._watch, name="intently-swap", daemon=True)
        self.current: Standing | None = None
        self._before: Standing | None = None  # stays loaded, so that a roll-back is a check and a swap
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
        with self._swapping:
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
                    self._take(self._loaded(folder.name))
                self.trouble = ""
            except Exception as error:  # whatever is wrong with the new one, the old one goes on
                self.trouble = f"the published model was refused: {_said(error)}"
                log.warning(self.trouble)
                if self.current is None:
                    self._fall_back()

    def promote(self, version: str) -> Standing:
        """Check and load `version`, make it the live one, and answer from it at once.

        Raises ArtifactError when there is no such version or it is damaged; nothing has changed then.
        """
        with self._swapping:
            if version not in artifact.versions(self._root):
                raise UnknownIdError(
                    "no such version is published", hint="GET /v1/models lists them", field="version"
                )
            standing = self._loaded(version)
            artifact.promote(self._root, version)
            return self._take(standing)

    def roll_back(self) -> Standing:
        """Go back to the latest whole version that was live before; raises ArtifactError without one."""
        with self._swapping:
            standing = self._earlier()
            artifact.roll_back(self._root, standing.artifact.version if standing else "")
            assert standing is not None  # without one, nothing could be gone back to
            return self._take(standing)

    def _earlier(self) -> Standing | None:
        """The latest of the versions that were live before and can be loaded, None without one."""
        for version in artifact.history(self._root)[1:]:
            try:
                return self._loaded(version)
            except ArtifactError as error:
                log.warning("not gone back to: %s", error.message)
        return None

    def _loaded(self, version: str) -> Standing:
        for known in (self.current, self._before):
            if known is not None and known.artifact.version == version:
                artifact.verify(self._root / version)
                return known
        try:
            made = artifact.load(self._root / version)
            self._catalogue.learn(made.item_table, over=False)
            return Standing(made, self._numbers)
        except IntentlyError:
            raise
        except Exception as error:  # its files are as published, and still this release cannot read them
            raise ArtifactError(f"{version} cannot be read: {type(error).__name__}") from error

    def _take(self, standing: Standing) -> Standing:
        """What was loaded answers from now on."""
        if standing is not self.current:
            self._before = self.current
        self.current = standing
        self.swaps += 1
        self.trouble = ""
        log.info("model %s answers now", standing.artifact.version)
        return standing

    def _fall_back(self) -> None:
        """At a start with a damaged live version: the latest before it that is whole."""
        try:
            standing = self._earlier()
        except ArtifactError:  # the pointer itself is damaged
            return
        if standing is not None:
            trouble = self.trouble
            self._take(standing)
            self.trouble = f"{trouble}; {standing.artifact.version} answers instead"

    def _watch(self) -> None:
        while not self._stop.wait(POLL_S):
            self.refresh()


def _said(error: Exception) -> str:
    return error.message if isinstance(error, IntentlyError) else type(error).__name__
