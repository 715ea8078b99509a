"""Two towers: users from what they met, items from what is said of them.

Yi et al. (RecSys 2019): two networks give a user and an item each a vector, the items of a batch are one
another's negatives, and the softmax is corrected for how often an item gets into a batch. We differ:

- The towers begin as something that works. Untrained, an item is its whitened text, a user the mean of
  what was met, weighted by recency; all that is learned is added to that.
- An item has a vector of its own besides, which is left out in some steps of the training. So an item that
  nobody has met is answered for by text, category, brand and price alone.
- The user tower reads the items of the history by their vectors, so that a new user is answered from
  the first event on. It reads no profile: models answer from histories, never from a user id (ADR 0003).
- Items that nobody has met would always stand behind those with a vector of their own. They get a bonus:
  the largest that costs held-back users no more than 5 % of their figure, found on met items that are read
  as if they were new.
- Besides the batch's own items, the softmax holds evenly drawn ones (also corrected) and hard negatives:
  those nearest to the batch's targets, as the towers saw it lately.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from intently.data import Dataset
from intently.errors import InputError, MissingExtraError, NotReadyError
from intently.models.base import State
from intently.models.item_features import ItemReader
from intently.models.next_moments import Moments
from intently.models.pooled import Pooled
from intently.models.space import Choice, Float, Space
from intently.nn.inference import gelu, linear, unit
from intently.nn.past import Past, latest, pooled
from intently.schema import DoubleArray, FloatArray, LongArray

if TYPE_CHECKING:
    from torch import Tensor

    from intently.nn.two_tower import TwoTowers

DAY_S = 86_400.0

BONUSES = np.linspace(0.0, 3.0, 31)
JUDGED = 32
"""Bonuses of new items that are tried, in logits; how many held-back moments are judged at a time."""


class TwoTower(Pooled):
    """score(j) = scale * cosine(user tower, item tower(j)).

    d: width of both vectors. hidden: neurons of the towers' layer. own_dropout: chance that a step reads
    items with a text or an attribute without their own vectors. decay: at the start, weight of one
    moment further back. dropout: in both towers. max_length: moments looked at. text_width: main
    directions of the text vectors that are read. batch: moments a step. epochs: at most. candidates: a
    larger catalogue is sampled down to about this many items in each step's softmax, plus at most `hard`
    hard negatives. text: use `dataset.vectors` when there are some. new_item_cost: share of the held-back
    figure that the bonus of items nobody has met may cost; 0 gives none, as is right where the catalogue is
    full of items that are no longer sold. minutes: 0 means no limit.
    """

    name = "two_tower"
    SPACE: ClassVar[Space] = {
        "d": Choice((64, 128, 256)),
        "hidden": Choice((64, 128, 256)),
        "own_dropout": Float(0.0, 0.7),
        "dropout": Float(0.0, 0.5),
        "learning_rate": Float(5e-4, 1e-2, log=True),
        "candidates": Choice((1024, 2048, 4096, 8192)),
        "hard": Choice((0, 256, 512, 1024)),
    }

    def __init__(  # noqa: PLR0913 - the hyper-parameters
        self,
        d: int = 128,
        hidden: int = 128,
        own_dropout: float = 0.3,
        decay: float = 0.7,
        dropout: float = 0.2,
        max_length: int = 50,
        text_width: int = 256,
        learning_rate: float = 0.003,
        weight_decay: float = 0.01,
        batch: int = 2048,
        epochs: int = 12,
        candidates: int = 2048,
        hard: int = 512,
        text: bool = True,
        new_item_cost: float = 0.05,
        minutes: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.d, self.hidden, self.own_dropout = d, hidden, own_dropout
        self.decay, self.dropout, self.max_length, self.text_width = decay, dropout, max_length, text_width
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.batch, self.epochs, self.candidates, self.hard = batch, epochs, candidates, hard
        self.text, self.new_item_cost, self.minutes, self.seed = text, new_item_cost, minutes, seed
        counts = {
            "d": d, "hidden": hidden, "max_length": max_length, "text_width": text_width, "batch": batch,
            "epochs": epochs, "candidates": candidates,
        }  # fmt: skip
        self._check(counts, decay)
        for field, share in (("own_dropout", own_dropout), ("dropout", dropout)):
            if not 0 <= share < 1:
                raise InputError(f"{field} must be in [0, 1), got {share}", field=field)
        if not 0 <= new_item_cost < 1:
            raise InputError(f"new_item_cost must be in [0, 1), got {new_item_cost}", field="new_item_cost")
        if hard < 0:
            raise InputError(f"hard must not be negative, got {hard}", field="hard")
        self._forget()

    def _forget(self) -> None:
        super()._forget()
        self.reader: ItemReader | None = None
        self.new_item_bonus = np.zeros(1, np.float32)  # added to the scores of items nobody met
        self.item_weights: dict[str, FloatArray] = {}  # the item tower's

    # -- learning ------------------------------------------------------------------------------

    def _network(self, dataset: Dataset, moments: Moments) -> TwoTowers:
        import torch

        from intently.nn.two_tower import ItemTower, TwoTowers, UserTower

        vectors = dataset.vectors if self.text else None
        self.reader = ItemReader.of(dataset, vectors, self.text_width, self.d**-0.5)
        self._features = self.reader.read(dataset, vectors)
        self.known |= self._features.said().astype(np.uint8)
        met = self.vocabulary
        width = self._features.text.shape[1]
        items = ItemTower(self.d, width, len(self.reader.attributes), len(met), self.hidden, self.dropout)
        users = UserTower(self.d, self.max_length, self.decay, self.hidden, self.dropout)
        parts = [torch.from_numpy(part[met]) for part in self._features.columns()]
        share = torch.from_numpy(self.popularity[met])
        return TwoTowers(
            items, users, (parts[0], parts[1], parts[2]), share,
            self.own_dropout, self.candidates, self.hard, self.seed,
        )  # fmt: skip

    def _loss(self, net: Any, asked: Any) -> Tensor:
        import torch

        context = moment_of_asking(asked.asked_s, bool(self.timed[0]))
        out: Tensor = net.loss(asked, torch.from_numpy(context))
        return out

    def _learn(self, dataset: Dataset, moments: Moments) -> Any:
        net = super()._learn(dataset, moments)
        self.item_weights = {name: value.numpy().copy() for name, value in net.items.state_dict().items()}
        if self.new_item_cost and len(moments.held):
            self.new_item_bonus[:] = self._largest_bonus(net, moments)
        del self._features
        return net

    def _largest_bonus(self, net: Any, moments: Moments) -> float:
        """The largest bonus of new items that costs no more than `new_item_cost` of the held-back NDCG@10.

        A tenth of the met items that have a text or an attribute stand for new ones: they are read without
        their own vectors.
        """
        random = np.random.default_rng(self.seed)
        told = self.vocabulary[self._features.said()[self.vocabulary]]
        new = np.zeros(self.n_items, bool)
        new[random.permutation(told)[: len(told) // 10]] = True
        if not new.any():
            return 0.0
        table = self.table
        self.table = self._vectors(net, np.where(new, 0, self._own()))
        gains = np.zeros(len(BONUSES))
        for start in range(0, len(moments.held), JUDGED):
            held = moments.held[start : start + JUDGED]
            rows, truth = moments.bags.between(held, held + 1)
            scores = self._held_scores(moments, held)
            for place, bonus in enumerate(BONUSES):
                above = scores + np.float32(bonus) * new
                rank = (above[rows] > above[rows, truth][:, None]).sum(axis=1)
                gains[place] += np.where(rank < 10, 1 / np.log2(rank + 2.0), 0.0).sum()
        self.table = table
        return float(BONUSES[np.flatnonzero(gains >= (1 - self.new_item_cost) * gains.max())[-1]])

    def _take(self, net: Any) -> None:
        self.table = self._vectors(net, self._own())
        self.scale = net.log_scale.detach().exp().numpy().reshape(1)
        self.weights = {name: value.numpy().copy() for name, value in net.users.state_dict().items()}

    def _vectors(self, net: Any, own: LongArray) -> FloatArray:
        """(n_items, d) vectors of all items, zeros where nothing is known."""
        import torch

        parts = [torch.from_numpy(part) for part in (*self._features.columns(), own)]
        with torch.inference_mode():
            out: FloatArray = net.items(*parts).numpy() * self.known[:, None].astype(np.float32)
        return out

    def _own(self) -> LongArray:
        """(n_items,) the row of each item's own vector; 0, none, for items nobody met."""
        rows = np.zeros(self.n_items, np.int64)
        rows[self.vocabulary] = np.arange(len(self.vocabulary)) + 1
        return rows

    # -- answering -----------------------------------------------------------------------------

    def _products(self, past: Past, asked_s: DoubleArray) -> FloatArray:
        scores = super()._products(past, asked_s)
        if self.new_item_bonus[0] > 0:
            scores += self.new_item_bonus * (self.popularity == 0)
        return scores

    def _user(self, past: Past, asked_s: DoubleArray) -> FloatArray:
        mean = unit(pooled(past, self.table, self.weights))
        context = moment_of_asking(asked_s, bool(self.timed[0]))
        inputs = np.concatenate([mean, unit(latest(past, self.table)), context], axis=1)
        wide = gelu(linear(inputs, self.weights, "deep.widen"))
        return unit(mean + linear(wide, self.weights, "deep.narrow"))

    def export_onnx(self, folder: Path) -> None:
        """Write user_tower.onnx, item_tower.onnx and towers.json, for a service without Intently.

        nn/two_tower_export.py says what the graphs read; towers.json holds the names of the attributes, the
        length of a past and the scale from products to logits.
        Raises NotReadyError before a fit that learned something, MissingExtraError without torch.
        """
        if self.reader is None or not self.item_weights:
            raise NotReadyError("there are no trained towers to export", hint="fit on users who came back")
        try:
            from intently.nn.two_tower_export import export
        except ImportError as error:
            raise MissingExtraError(str(error.name), "train") from error
        folder.mkdir(parents=True, exist_ok=True)
        export(folder, self.item_weights, self.weights, self.reader, self._own())
        facts = {
            "attributes": self.reader.attributes,
            "max_length": self.max_length,
            "new_item_bonus": float(self.new_item_bonus[0]),
            "scale": float(self.scale[0]),
        }
        (folder / "towers.json").write_text(json.dumps(facts, ensure_ascii=False, indent=1))

    # -- keeping -------------------------------------------------------------------------------

    def _state(self) -> State:
        state = {**super()._state(), "new_item_bonus": self.new_item_bonus}
        if self.reader is not None:
            state |= self.reader.state()
        return state | {f"items.{name}": value for name, value in self.item_weights.items()}

    def _restore(self, state: State) -> None:
        super()._restore(state)
        self.new_item_bonus = state["new_item_bonus"]
        self.reader = ItemReader.restored(state)
        inside = "items."
        self.item_weights = {
            name.removeprefix(inside): value for name, value in state.items() if name.startswith(inside)
        }


def moment_of_asking(asked_s: DoubleArray, timed: bool) -> FloatArray:
    """(rows, 4): sine and cosine of the hour of the day and of the day of the week; zeros without a clock."""
    out = np.zeros((len(asked_s), 4), np.float32)
    if timed:
        for at, period in ((0, DAY_S), (2, 7 * DAY_S)):
            angle = 2 * np.pi * (asked_s % period) / period
            out[:, at], out[:, at + 1] = np.sin(angle), np.cos(angle)
    return out
