"""What `graph` and `two_tower` share: an item is a vector, a user is pooled from the items that were met.

The training asks, at every moment but a user's first, what the next one holds. A user's last moment is held
back for a tenth of the users and chooses the epoch. Answers need no torch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from intently.data import Dataset, Histories
from intently.errors import InputError
from intently.evaluate import metrics
from intently.models.base import BATCH, Recommender, State
from intently.models.next_moments import Moments, bags_of
from intently.models.ranking import top_k
from intently.nn.inference import unit
from intently.nn.past import Past, look_back, pooled
from intently.schema import DoubleArray, FloatArray, IntArray, LongArray

if TYPE_CHECKING:
    from torch import Tensor, nn

    from intently.nn.next_moment import Asked

PATIENCE, TOLERANCE = 3, 0.02
"""These models are done early, and later epochs learn the training users by heart: on Amazon Beauty the
held-back figure peaks at epoch 5, and the next item is found no better after 12 epochs than after 4."""

KEPT = ("vocabulary", "popularity", "table", "scale", "known", "timed", "curve")


class Pooled(Recommender):
    """Base of models that score by products of a user's and an item's vector.

    A subclass makes the network (`_network`, with the method `loss` of a batch), reads off its vectors
    (`_take`), and may say how a user's vector comes from the past (`_user`).
    """

    d: int
    max_length: int
    batch: int
    epochs: int
    learning_rate: float
    weight_decay: float
    minutes: float
    seed: int

    def _check(self, counts: dict[str, int], decay: float) -> None:
        for field, value in counts.items():
            if value < 1:
                raise InputError(f"{field} must be at least 1, got {value}", field=field)
        if not 0 < decay <= 1:
            raise InputError(f"decay must be in (0, 1], got {decay}", field="decay")
        if not self.learning_rate > 0:
            raise InputError(
                f"learning_rate must be above 0, got {self.learning_rate}", field="learning_rate"
            )
        for field in ("weight_decay", "minutes"):
            if not getattr(self, field) >= 0:
                raise InputError(f"{field} must not be negative, got {getattr(self, field)}", field=field)

    def _forget(self) -> None:
        self.vocabulary: IntArray = np.zeros(0, np.int32)  # dense ids of the items that were met
        self.popularity: FloatArray = np.zeros(0, np.float32)  # (n_items,) share of events
        self.table: FloatArray = np.zeros((0, self.d), np.float32)  # (n_items, d), zeros where unknown
        self.scale: FloatArray = np.ones(1, np.float32)  # of products to logits
        self.known = np.zeros(0, np.uint8)  # (n_items,) whether an item has a vector
        self.timed = np.zeros(1, np.uint8)  # whether the shop has a clock
        self.weights: dict[str, FloatArray] = {}  # the network's parts that answers need; none: untrained
        self.curve: FloatArray = np.zeros((0, 2), np.float32)  # loss and NDCG@10 of each epoch

    # -- what a subclass writes ----------------------------------------------------------------

    @abstractmethod
    def _network(self, dataset: Dataset, moments: Moments) -> Any:
        """An untrained torch module with `loss(Asked)`, for columns of `moments.vocabulary`."""

    @abstractmethod
    def _take(self, net: Any) -> None:
        """Set `table`, `scale` and `weights` from the network."""

    def _loss(self, net: Any, asked: Asked) -> Tensor:
        """The network's loss of a batch."""
        out: Tensor = net.loss(asked)
        return out

    def _user(self, past: Past, asked_s: DoubleArray) -> FloatArray:
        """(rows, d) vectors of users; `past` holds dense item ids."""
        return unit(pooled(past, self.table, self.weights))

    def _products(self, past: Past, asked_s: DoubleArray) -> FloatArray:
        """(rows, n_items) scores of all items."""
        users: FloatArray = self._user(past, asked_s) * self.scale
        return users @ self.table.T

    # -- learning ------------------------------------------------------------------------------

    def _fit(self, dataset: Dataset) -> None:
        self._forget()
        histories = dataset.histories()
        counts = np.bincount(histories.items, minlength=dataset.n_items)
        if not counts.any():
            raise InputError("the dataset has no positive events", hint="views, clicks or purchases")
        self.popularity = (counts / counts.sum()).astype(np.float32)
        self.known = (counts > 0).astype(np.uint8)
        self.vocabulary = np.flatnonzero(counts).astype(np.int32)
        self.table = np.zeros((dataset.n_items, self.d), np.float32)
        self.timed = np.array([dataset.timed], np.uint8)
        moments = Moments(histories, dataset.timed, self.seed)
        if len(moments.taught):
            self._train(dataset, moments)

    def _train(self, dataset: Dataset, moments: Moments) -> None:
        self._learn(dataset, moments)

    def _learn(self, dataset: Dataset, moments: Moments) -> Any:
        """The trained network, its vectors taken."""
        import torch

        from intently.nn.training import Plan, train

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            net: nn.Module = self._network(dataset, moments)

        def validate() -> float:
            self._take(net)
            return self._ndcg(moments)

        def loss(asked: Asked) -> Tensor:
            return self._loss(net, asked)

        plan = Plan(
            self.epochs,
            self.learning_rate,
            self.weight_decay,
            patience=PATIENCE,
            tolerance=TOLERANCE,
            minutes=self.minutes,
            seed=self.seed,
        )

        def batches() -> Iterator[Asked]:
            return moments.batches(self.batch, self.max_length)

        done = train(net, batches, loss, validate if len(moments.held) else None, plan)
        self._take(net)
        self.curve = np.array([(e.loss, e.validation) for e in done], np.float32)
        return net

    def _ndcg(self, moments: Moments) -> float:
        """Mean NDCG@10 of the held-back moments among the items that were met."""
        total = 0.0
        for start in range(0, len(moments.held), BATCH):
            held = moments.held[start : start + BATCH]
            scores = self._held_scores(moments, held)
            _, truth = moments.bags.between(held, held + 1)
            sizes = np.diff(moments.bags.starts)[held]
            found = metrics.hits(
                top_k(scores, 10).items, np.append(0, np.cumsum(sizes)), truth.astype(np.int32)
            )
            total += float(metrics.ndcg(found, sizes, 10).sum())
        return total / len(moments.held)

    def _held_scores(self, moments: Moments, held: LongArray) -> FloatArray:
        """(held, n_items) scores of what might be met at these moments; -inf elsewhere."""
        scores = self._products(moments.before(held, self.max_length), moments.asked_s(held))
        scores[:, self.popularity == 0] = -np.inf
        if not self.repeats:
            rows, met = moments.bags.between(moments.first[held], held)
            scores[rows, met] = -np.inf
        return scores

    # -- answering -----------------------------------------------------------------------------

    def _scores(self, histories: Histories) -> FloatArray:
        bags, moment_s = bags_of(histories, self.known.astype(bool), bool(self.timed[0]))
        scores = np.repeat(np.log(np.maximum(self.popularity, 1e-9))[None, :], len(histories), axis=0)
        asked = np.flatnonzero(bags.lengths > 0) if self.weights else np.zeros(0, np.int64)
        if len(asked):
            first, stop, at_s = bags.ends[asked], bags.ends[asked + 1], histories.at_s[asked]
            past = look_back(bags, first, stop, self.max_length, moment_s, at_s)
            scores[asked] = self._products(past, at_s)
        unknown = self.known == 0
        if unknown.any():
            scores[:, unknown] = scores.min(axis=1, keepdims=True) - 1.0
        return scores.astype(np.float32, copy=False)

    # -- keeping -------------------------------------------------------------------------------

    def _state(self) -> State:
        own = {name: getattr(self, name) for name in KEPT}
        return own | {f"network.{name}": value for name, value in self.weights.items()}

    def _restore(self, state: State) -> None:
        for name in KEPT:
            setattr(self, name, state[name])
        inside = "network."
        self.weights = {
            name.removeprefix(inside): value for name, value in state.items() if name.startswith(inside)
        }
