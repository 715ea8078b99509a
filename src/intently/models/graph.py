"""Items on the graph of who met what: smoothed vectors for what is far, neighbours for what is near.

LightGCN (He et al., SIGIR 2020) averages vectors over the user-item graph, layer after layer, and nothing
else. We differ four times. Users have no vector of their own: a user is the recency-weighted mean of the
items that were met, so that a new user and a fresh event are answered without a refit (as in INMO, Wu et
al., SIGIR 2022). Two steps over users are one step over items, and that item-item graph is made once, in
closed form, with its edges weighted by distance and order in time as `covisit` counts them; a batch then
smooths only the items that it needs. The loss is a softmax over the catalogue or a sample of it, next
moment by next moment; the paper's pairwise loss (BPR) is a setting. And as in GF-CF (Shen et al., CIKM
2021) the score adds what the graph says directly, a linear filter, to what passes through the vectors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from scipy import sparse

from intently.data import Dataset
from intently.errors import InputError
from intently.models.base import State
from intently.models.covisit import item_graph, largest
from intently.models.next_moments import Moments
from intently.models.pooled import Pooled
from intently.models.products import dense_product
from intently.models.space import Choice, Float, Int, Space
from intently.nn.past import Past
from intently.schema import DoubleArray, FloatArray

if TYPE_CHECKING:
    from intently.nn.graph import Smoothed

LOSSES: Final = ("softmax", "bpr")

GAP, BACKWARD, SHRINK, EDGES = 0.8, 0.5, 30.0, 500
"""The item graph is `covisit`'s, with its defaults: edges of each item, and how they are weighed."""

NEARBY_DECAY: Final = 0.6
"""Weight of one moment further back in the direct part."""

NEARBY: Final = (0.0, 10.0, 30.0, 100.0, 300.0)
NEARBY_UNJUDGED: Final = 30.0
"""Weights of the direct part tried on the held-back users; the one taken where there are none."""


class Graph(Pooled):
    """score(j) = scale * cosine(user, v(j)) + nearby * sum over met i of 0.6 ** steps_back(i) * near(i, j).

        v    = mean over k = 0..layers of S^k own, S = the item graph, `neighbours` a row, rows adding to one
        user = sum over met items of weight(steps back, days back) * v, weights learned

    layers: steps over the item graph; 0 leaves the graph out altogether, and with loss "bpr" that is
    matrix factorisation with users made of their items: the baseline of LightGCN's paper.
    loss: "softmax", or "bpr" with one evenly drawn negative, by products instead of cosines.
    nearby: weight of the direct part; None chooses it on held-back users, after the training.
    decay: at the start, weight of one moment further back. max_length: moments looked at.
    batch: moments a step. epochs: at most. candidates: a larger catalogue is sampled down to about this
    many items in each step's softmax. minutes: 0 means no limit.
    """

    name = "graph"
    SPACE: ClassVar[Space] = {
        "d": Choice((32, 64, 128, 256)),
        "layers": Int(1, 3),
        "neighbours": Choice((20, 50, 100)),
        "learning_rate": Float(1e-3, 3e-2, log=True),
        "weight_decay": Float(1e-3, 1.0, log=True),
    }

    def __init__(  # noqa: PLR0913 - the hyper-parameters
        self,
        d: int = 64,
        layers: int = 1,
        neighbours: int = 50,
        loss: str = "softmax",
        nearby: float | None = None,
        decay: float = 0.7,
        max_length: int = 50,
        learning_rate: float = 0.01,
        weight_decay: float = 0.01,
        batch: int = 2048,
        epochs: int = 30,
        candidates: int = 2048,
        minutes: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.d, self.layers, self.neighbours, self.loss = d, layers, neighbours, loss
        self.nearby, self.decay, self.max_length = nearby, decay, max_length
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.batch, self.epochs, self.candidates = batch, epochs, candidates
        self.minutes, self.seed = minutes, seed
        counts = {
            "d": d, "neighbours": neighbours, "max_length": max_length, "batch": batch,
            "epochs": epochs, "candidates": candidates,
        }  # fmt: skip
        self._check(counts, decay)
        if layers < 0:
            raise InputError(f"layers must not be negative, got {layers}", field="layers")
        if loss not in LOSSES:
            raise InputError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}", field="loss")
        if nearby is not None and not 0 <= nearby < float("inf"):
            raise InputError(f"nearby must be 0 or more, or None, got {nearby}", field="nearby")
        self._forget()

    def _forget(self) -> None:
        super()._forget()
        self.near = sparse.csr_matrix((0, 0), dtype=np.float32)  # (n_items, n_items), 0 by 0 without a graph
        self.near_weight = np.zeros(1, np.float32)

    # -- learning ------------------------------------------------------------------------------

    def _train(self, dataset: Dataset, moments: Moments) -> None:
        histories = dataset.histories()
        if self.layers:
            open_part = moments.without_held(histories)
            self.near = item_graph(open_part, dataset.n_items, GAP, BACKWARD, SHRINK, EDGES)
        net = self._learn(dataset, moments)
        if self.layers:
            self.near_weight[:] = self._judged(moments) if self.nearby is None else self.nearby
            self.near = item_graph(histories, dataset.n_items, GAP, BACKWARD, SHRINK, EDGES)
            net.spread = self._spread()
            self._take(net)

    def _network(self, dataset: Dataset, moments: Moments) -> Smoothed:
        import torch

        from intently.nn.graph import Smoothed
        from intently.nn.recency import Recency

        share = torch.from_numpy(self.popularity[self.vocabulary])
        recency = Recency(self.max_length, self.decay)
        spread = self._spread() if self.layers else None
        return Smoothed(self.d, spread, share, recency, self.loss, self.candidates, self.seed)

    def _spread(self) -> sparse.csr_matrix:
        met = self.vocabulary
        return smoothing(self.near[met][:, met].tocsr(), self.layers, self.neighbours)

    def _take(self, net: Any) -> None:
        self.table = np.zeros((self.n_items, self.d), np.float32)
        self.table[self.vocabulary] = net.table().detach().numpy()
        if self.loss == "softmax":
            self.scale = net.log_scale.detach().exp().numpy().reshape(1)
        self.weights = {f"recency.{n}": v.numpy().copy() for n, v in net.recency.state_dict().items()}

    def _judged(self, moments: Moments) -> float:
        """The weight of the direct part that ranks the held-back moments best."""
        if not len(moments.held):
            return NEARBY_UNJUDGED
        figures = []
        for weight in NEARBY:
            self.near_weight[:] = weight
            figures.append(self._ndcg(moments))
        return NEARBY[int(np.argmax(figures))]

    # -- answering -----------------------------------------------------------------------------

    def _products(self, past: Past, asked_s: DoubleArray) -> FloatArray:
        scores = super()._products(past, asked_s)
        if self.near_weight[0] > 0:
            weights = NEARBY_DECAY**past.steps * self.near_weight[0]
            met = sparse.csr_matrix(
                (weights.astype(np.float32), past.items, past.starts), (len(past), self.n_items)
            )
            scores += dense_product(met, self.near)
        return scores

    # -- keeping -------------------------------------------------------------------------------

    def _state(self) -> State:
        graph = {
            "near_values": self.near.data,
            "near_items": self.near.indices.astype(np.int32),
            "near_indptr": self.near.indptr.astype(np.int64),
            "near_weight": self.near_weight,
        }
        return {**super()._state(), **graph}

    def _restore(self, state: State) -> None:
        super()._restore(state)
        parts = (state["near_values"], state["near_items"], state["near_indptr"])
        n = len(state["near_indptr"]) - 1
        self.near = sparse.csr_matrix(parts, shape=(n, n))
        self.near_weight = state["near_weight"]


def smoothing(near: sparse.csr_matrix, layers: int, neighbours: int) -> sparse.csr_matrix:
    """Mean of the powers 0 to `layers` of the graph whose rows keep `neighbours` edges and add to one.

    >>> pair = sparse.csr_matrix(np.array([[0.0, 0.5], [0.5, 0.0]], np.float32))
    >>> smoothing(pair, 1, 5).toarray().tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    n = near.shape[0]
    step = largest(near, 0, neighbours)
    sums = np.asarray(step.sum(axis=1)).ravel()
    step = sparse.diags((1.0 / np.maximum(sums, 1e-9)).astype(np.float32)) @ step
    power = total = sparse.identity(n, np.float32, "csr")
    for _ in range(layers):
        power = largest((power @ step).tocsr(), n, neighbours)
        total = total + power
    return (total / (layers + 1)).tocsr().astype(np.float32)
