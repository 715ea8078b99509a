"""What the catalogue says: text vectors answer for items that nobody has met.

    user vector  = weighted mean of the history's item vectors, decay ** steps_back, unit length
    score(j)     = cosine(user vector M, item vector j)

Two steps make raw sentence vectors fit for a shop, both closed form. The vectors are centred and
whitened over the catalogue (Su et al., "Whitening sentence representations", 2021), because what all of
a shop's titles have in common says nothing; we differ by shrinking the covariance towards a multiple
of the identity, as a catalogue smaller than the vectors' width would be whitened to noise. And the map
M from past to next item is a ridge regression on behaviour that shrinks to a multiple of the identity,
so that without behaviour it is the plain cosine.
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from intently.data import Dataset, Histories
from intently.errors import InputError
from intently.language.whitening import whitened
from intently.models.base import Recommender, State
from intently.models.moments import next_pairs
from intently.models.popular import share_of_best
from intently.models.products import decayed
from intently.models.space import Choice, Float, Space
from intently.nn.inference import unit
from intently.schema import FloatArray

FILLER: Final = 1e-6
"""Score of the most popular item when the history has no text."""

BLOCK: Final = 8192


class Content(Recommender):
    """Cosine of text vectors, whitened over the catalogue and bent by what followed what.

    Needs `dataset.vectors`. Items without text (zero vectors) stand in the middle, at 0; an empty
    history gets the popular items.
    """

    name = "content"
    SPACE: ClassVar[Space] = {
        "decay": Float(0.3, 1.0),
        "l2": Float(5.0, 50_000.0, log=True),
        "learned": Choice((True, False)),
    }

    def __init__(self, decay: float = 0.6, l2: float = 500.0, learned: bool = True) -> None:
        """decay: (0, 1], weight of one moment earlier. l2: pull of M to the identity, in events.

        learned: False leaves M out, so that no behaviour but the user's own counts.
        """
        super().__init__()
        if not 0 < decay <= 1:
            raise InputError(f"decay must be in (0, 1], got {decay}", field="decay")
        if not 0 < l2 < float("inf"):
            raise InputError(f"l2 must be above 0, got {l2}", field="l2")
        self.decay = decay
        self.l2 = l2
        self.learned = learned
        self.popularity = np.zeros(0, np.float32)  # (n_items,), 0 to 1
        self.vectors = np.zeros((0, 0), np.float32)  # (n_items, d), unit length or zero
        self.bend = np.zeros((0, 0), np.float32)  # M, (d, d)

    def _fit(self, dataset: Dataset) -> None:
        if dataset.vectors is None:
            raise InputError(
                "content needs text vectors, and this dataset has none",
                hint="dataset = intently.language.encode_catalogue(dataset)",
            )
        self.popularity = share_of_best(dataset)
        half = unit(whitened(dataset.vectors)).astype(np.float16)  # as it is kept on disk
        self.vectors = half.astype(np.float32)
        width = self.vectors.shape[1]
        self.bend = self._bend(dataset) if self.learned else np.eye(width, dtype=np.float32)

    def _bend(self, dataset: Dataset) -> FloatArray:
        """M of the ridge |U M - Y|^2 + l2 |M - c I|^2, where c is the best single number."""
        past, following = next_pairs(dataset.histories(), dataset.n_items, self.decay)
        width = self.vectors.shape[1]
        gram = np.zeros((width, width))
        cross = np.zeros((width, width))
        for start in range(0, past.shape[0], BLOCK):
            before = unit(past[start : start + BLOCK] @ self.vectors)
            after = following[start : start + BLOCK]
            size = np.maximum(np.diff(after.indptr), 1).astype(np.float32)
            gram += before.T @ before
            cross += before.T @ ((after @ self.vectors) / size[:, None])
        best = max(float(np.trace(cross)) / max(float(np.trace(gram)), 1e-9), 0.0) or 1.0
        pull = self.l2 * np.eye(width)
        return np.linalg.solve(gram + pull, cross + best * pull).astype(np.float32)

    def _scores(self, histories: Histories) -> FloatArray:
        wanted = unit(decayed(histories, self.n_items, self.decay) @ self.vectors)
        out: FloatArray = unit(wanted @ self.bend) @ self.vectors.T
        out += np.float32(FILLER) * self.popularity
        return out

    def _state(self) -> State:
        return {
            "popularity": self.popularity,
            "vectors": self.vectors.astype(np.float16),
            "bend": self.bend,
        }

    def _restore(self, state: State) -> None:
        self.popularity = state["popularity"]
        self.vectors = state["vectors"].astype(np.float32)
        self.bend = state["bend"]
