"""Matrix factorisation for events without ratings, by alternating least squares.

Hu, Koren & Volinsky, ICDM 2008: a user wants what was met (1) or not (0), and what was met counts more.

    min over x, y   sum over users u, items i of c(u, i) (p(u, i) - x(u)'y(i))^2 + l2 (|x|^2 + |y|^2)
    c(u, i) = alpha * sum over u's events on i of decay ** steps_back, if met; 1 otherwise

We differ in c, which is smaller for what lies further back, in training and in answering. The vectors of
items are made by the library `implicit` (conjugate gradients, Takacs et al., RecSys 2011). Those of users are
not kept: x is worked out from the history that is asked with, exactly, so that an event counts at once, a
stranger gets an answer, and answering needs no library.
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np
from scipy import sparse

from intently import progress
from intently.data import Dataset, Histories
from intently.errors import InputError, MissingExtraError
from intently.models.base import Recommender, State
from intently.models.popular import share_of_best
from intently.models.space import Float, Int, Space
from intently.schema import FloatArray

FILLER: Final = 1e-6
"""Score of the most popular item when nothing speaks for it."""


class Als(Recommender):
    """score(j) = x'y(j), x = (Y'Y + Y'(C - I)Y + l2 I)^-1 Y'C p of the history."""

    name = "als"
    SPACE: ClassVar[Space] = {
        "d": Int(16, 256, log=True),
        "l2": Float(0.01, 300.0, log=True),
        "alpha": Float(1.0, 100.0, log=True),
        "decay": Float(0.5, 1.0),
    }

    def __init__(
        self,
        d: int = 128,
        l2: float = 30.0,
        alpha: float = 60.0,
        decay: float = 0.7,
        iterations: int = 15,
        seed: int = 0,
    ) -> None:
        """d: numbers an item. l2, alpha: above 0. decay: (0, 1]. iterations: 1 or more."""
        super().__init__()
        for field, whole in (("d", d), ("iterations", iterations)):
            if whole < 1:
                raise InputError(f"{field} must be at least 1, got {whole}", field=field)
        for field, value in (("l2", l2), ("alpha", alpha)):
            if not 0 < value < float("inf"):
                raise InputError(f"{field} must be above 0, got {value}", field=field)
        if not 0 < decay <= 1:
            raise InputError(f"decay must be in (0, 1], got {decay}", field="decay")
        self.d = d
        self.l2 = l2
        self.alpha = alpha
        self.decay = decay
        self.iterations = iterations
        self.seed = seed
        self.popularity = np.zeros(0, np.float32)  # (n_items,), 0 to 1
        self.factors = np.zeros((0, d), np.float32)  # (n_items, d)
        self.gram = np.zeros((d, d), np.float32)  # Y'Y + l2 I

    def _fit(self, dataset: Dataset) -> None:
        self.popularity = share_of_best(dataset)
        self.n_items = dataset.n_items
        self.factors = factorised(self._confidence(dataset.histories()), self)
        self._summed()

    def _summed(self) -> None:
        self.gram = self.factors.T @ self.factors + np.float32(self.l2) * np.eye(self.d, dtype=np.float32)

    def _confidence(self, histories: Histories) -> sparse.csr_matrix:
        """(batch, n_items): c of what was met, other items are not stored."""
        weights = np.maximum(self.decay**histories.steps_back, 1e-6)
        return histories.matrix(self.n_items, (self.alpha * weights).astype(np.float32))

    def _users(self, histories: Histories) -> FloatArray:
        """(batch, d): the vector of each history, solved for on its own."""
        known = self._confidence(histories)
        out = np.zeros((len(histories), self.d), np.float32)
        for row in range(len(histories)):
            span = slice(known.indptr[row], known.indptr[row + 1])
            if span.start == span.stop:
                continue
            met, weight = self.factors[known.indices[span]], known.data[span]  # (n, d), (n,)
            system = self.gram + met.T @ ((weight - 1.0)[:, None] * met)
            out[row] = np.linalg.solve(system, weight @ met)
        return out

    def _scores(self, histories: Histories) -> FloatArray:
        out: FloatArray = self._users(histories) @ self.factors.T
        out += np.float32(FILLER) * self.popularity
        return out

    def _state(self) -> State:
        return {"popularity": self.popularity, "factors": self.factors}

    def _restore(self, state: State) -> None:
        self.popularity, self.factors = state["popularity"], state["factors"]
        self._summed()


def factorised(confidence: sparse.csr_matrix, model: Als) -> FloatArray:
    """(n_items, d) vectors of items. Raises MissingExtraError without `implicit`."""
    try:
        from implicit.cpu.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError as error:
        raise MissingExtraError("implicit", "als") from error
    with threadpool_limits(1, "blas"), progress.track("factorising", model.iterations) as advance:
        solver = AlternatingLeastSquares(
            factors=model.d,
            regularization=model.l2,
            iterations=model.iterations,
            random_state=model.seed,
        )
        solver.fit(confidence, show_progress=False, callback=lambda *_: advance(1))
    return np.asarray(solver.item_factors, np.float32)
