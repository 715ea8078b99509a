"""Items that the live model has never seen: scored by the items that read most alike.

A newcomer's score for a user is the mean of its nearest known items' scores, weighted by how alike their
texts (and pictures) are; that works for any model. Where none of them has one, as a two-stage model scores
its candidates alone, the nearest says it by the probability that the model gives when asked for it. Items
are read as training reads them, in a thread of its own, so that nothing waits for it; what the catalogue
held at the last training comes from the cache of vectors.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from intently.config import Settings
from intently.errors import IntentlyError
from intently.models.principal import main_axes
from intently.nn.inference import unit
from intently.schema import BoolArray, DoubleArray, FloatArray, IntArray
from intently.serving.state.catalogue import Catalogue
from intently.serving.state.model import LiveModel, Standing

if TYPE_CHECKING:
    from intently.reader import ItemReader

NEIGHBOURS: Final = 8
CLOSE: Final = 4.0
"""Power of the cosine: the nearest says most."""
LOOK_S: Final = 2.0
ASKED: Final = 100
"""Newcomers without a scored neighbour, the last that came, whose nearest the model is asked for."""
MOST: Final = 2000
"""Newcomers that are scored; older ones wait for the next training."""
DIRECTIONS: Final = 64
"""How many main directions of the vectors say whether two items of one list are alike."""

log = logging.getLogger("intently.serving")


@dataclass(frozen=True)
class Placed:
    """Newcomers of one version: item numbers; their neighbours' dense ids and weights, (m, NEIGHBOURS)."""

    standing: Standing | None
    numbers: IntArray
    near: IntArray
    weights: FloatArray


NOBODY: Final = Placed(
    None, np.zeros(0, np.int32), np.zeros((0, NEIGHBOURS), np.int32), np.zeros((0, NEIGHBOURS), np.float32)
)


class HasAll(Protocol):
    """Scores of every item of the model, -inf where it leaves one out, and its word on those."""

    @property
    def all(self) -> FloatArray:
        """(n_items,)."""
        ...

    def beyond(self, dense: IntArray) -> DoubleArray:
        """Scores of items that `all` leaves out."""
        ...


class Newcomers:
    """Reads new items as they come; `placed` is what answers use."""

    def __init__(self, settings: Settings, catalogue: Catalogue, live: LiveModel) -> None:
        self._settings, self._catalogue, self._live = settings, catalogue, live
        self._reader: ItemReader | None = None  # its vectors are by dense id, of the version below
        self._read: Standing | None = None
        self._came: queue.Queue[int | None] = queue.Queue()
        self._waiting: dict[int, None] = {}
        self._thread = threading.Thread(target=self._work, name="intently-newcomers", daemon=True)
        self._short: tuple[Standing | None, FloatArray] = (None, np.zeros((0, 0), np.float32))
        self.placed = NOBODY
        self.trouble = ""

    def start(self) -> None:
        """Begin to read, where the catalogue was read for the live model too."""
        if (self._settings.home / "vectors").is_dir():
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        if self._thread.is_alive():
            self._came.put(None)
            self._thread.join(timeout=10)

    def came(self, number: int) -> None:
        """An item was put into the catalogue."""
        if self._thread.is_alive():
            self._came.put(number)

    def any(self, standing: Standing) -> bool:
        """Whether there are some whom this version has not seen."""
        placed = self.placed
        return placed.standing is standing and len(placed.numbers) > 0

    def scores(self, standing: Standing, judged: HasAll, allowed: BoolArray) -> tuple[IntArray, DoubleArray]:
        """(numbers, scores) of the newcomers that are allowed and whose neighbours have scores."""
        placed = self.placed
        if placed.standing is not standing or not len(placed.numbers):
            return NOBODY.numbers, np.zeros(0)
        near = judged.all[placed.near].astype(np.float64)
        alone = np.flatnonzero(allowed[placed.numbers] & ~np.isfinite(near).any(axis=1))[-ASKED:]
        nearest = placed.weights[alone].argmax(axis=1)
        near[alone, nearest] = judged.beyond(placed.near[alone, nearest])
        weights = np.where(np.isfinite(near), placed.weights, 0.0)
        total = weights.sum(axis=1)
        mean = (np.where(np.isfinite(near), near, 0.0) * weights).sum(axis=1) / np.maximum(total, 1e-9)
        fine = (total > 0) & allowed[placed.numbers]
        return placed.numbers[fine], mean[fine]

    def vectors(self, standing: Standing) -> FloatArray | None:
        """(n_items of the model, <= DIRECTIONS) unit vectors of its items; None while they are not read."""
        known, short = self._short
        return short if known is standing and short.size else None

    # -- the thread -----------------------------------------------------------------------------

    def _work(self) -> None:
        if not self._try(self._read_known):
            return
        going = True
        while going:
            going = self._gather()
            swapped = self._reader is not None and self.placed.standing is not self._live.current
            if going and (self._waiting or swapped):
                self._try(self._place)

    def _gather(self) -> bool:
        """What came, waiting a moment for it; False when it is time to end."""
        try:
            number = self._came.get(timeout=LOOK_S)
            while number is not None:
                self._waiting[number] = None
                number = self._came.get_nowait()
        except queue.Empty:
            return True
        return False

    def _try(self, step: Callable[[], None]) -> bool:
        try:
            step()
            self.trouble = ""
        except Exception as error:  # whatever is wrong with the encoder, the service goes on
            said = error.message if isinstance(error, IntentlyError) else type(error).__name__
            self.trouble = f"new items are not read: {said}"
            log.exception(self.trouble)
            self._waiting = {}
        return not self.trouble

    def _read_known(self) -> None:
        """The vectors of what the live model knows."""
        from intently.reader import ItemReader

        standing = self._live.current
        if standing is None:
            return
        self._reader = ItemReader.of(standing.artifact.item_table, self._settings)
        self._read = standing
        self._short = (standing, directions(self._reader.vectors))
        self._reader.ready()
        self._waiting[-1] = None  # items that came while no service ran

    def _place(self) -> None:
        """Neighbours of everything that waits and that the live model does not know."""
        standing = self._live.current
        if standing is None:
            return
        if self._read is not standing or self._reader is None:
            self._read_known()
        assert self._reader is not None
        frame, self._waiting = self._catalogue.frame(), {}
        every = np.arange(frame.height, dtype=np.int32)
        numbers = every[(standing.dense(every) < 0) & self._catalogue.allowed()[: frame.height]][-MOST:]
        vectors, known = self._reader.read(frame[numbers.tolist()]), self._reader.vectors
        told = vectors.any(axis=1)
        numbers, vectors = numbers[told], vectors[told]
        if not len(numbers) or not len(known):
            self.placed = Placed(standing, NOBODY.numbers, NOBODY.near, NOBODY.weights)
            return
        alike = vectors @ known.T
        most = min(NEIGHBOURS, alike.shape[1])
        near = np.argpartition(alike, alike.shape[1] - most, axis=1)[:, -most:].astype(np.int32)
        weights = np.maximum(np.take_along_axis(alike, near, axis=1), 0.0) ** CLOSE
        self.placed = Placed(standing, numbers, near, weights.astype(np.float32))


def directions(vectors: FloatArray) -> FloatArray:
    """(n, <= DIRECTIONS) unit vectors along the main directions of items, centred; zero for items without."""
    if not vectors.size:
        return vectors
    told = vectors.any(axis=1)
    mean, axes = main_axes(vectors[told], DIRECTIONS)
    axes /= np.linalg.norm(axes, axis=0)
    out = np.zeros((len(vectors), axes.shape[1]), np.float32)
    out[told] = unit(((vectors[told] - mean) @ axes).astype(np.float32))
    return out
