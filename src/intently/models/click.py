"""The network on top: what a language model reads in a user's behaviour and in an item -> P(event).

    candidate = the item's text vector in its `width` main directions
    agreement = candidate times profile, the decayed mean of the text vectors of what the user did
    facts     = point-in-time numbers of the pair, the inner models' scores, the cosine of the texts
    P         = calibrated sigmoid of a network on all of these, standardised

The network is `deep`: two hidden layers of 64; `cross`: DCN-v2 (Wang et al., WWW 2021), cross layers beside
those; or `interest`: DIN (Zhou et al., KDD 2018), attention of the candidate over what the user did
(interests.py), whose pooling stands beside the other inputs.

The profile enters through the agreement and the cosine only: given alone, it lets the network learn the
few thousand users by heart (docs/LOG.md).

The wide part of Cheng et al. (Wide & Deep, 2016) is missing: no ids enter, so that a new item and a
new user are answered like any other. Candidates, tables of the past and calibration are those of
`boosted` (two_stage.py); the language model may be frozen or tuned, all that is read is `dataset.vectors`.
Training needs torch, answering does not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from intently.data import Dataset, Histories
from intently.errors import InputError
from intently.evaluate.classification import log_loss
from intently.features import ItemFacts
from intently.features.facts import ITEM_FACTS
from intently.features.scale import Scale
from intently.models.base import State
from intently.models.calibration import sigmoid
from intently.models.candidates import reading
from intently.models.interests import Attended, attended, main_items, told_of_ties
from intently.models.principal import main_axes
from intently.models.space import Choice, Float, Int, Space
from intently.models.tables import Pairs, Table
from intently.models.two_stage import TwoStage
from intently.nn.inference import log_odds, log_odds_slope, pooled
from intently.schema import DoubleArray, FloatArray

if TYPE_CHECKING:
    from torch import Tensor

    from intently.nn.deep import Deep

ROWS = 20_000
"""Pairs that are answered at once."""

FEW_ROWS = 4_096
"""Pairs whose histories are pooled at once."""

SCALED_BY = 100_000
"""Pairs, about, that the places of the features are read off."""

KEPT = ("axes", "middle", "spread", "curve")
PAIR_PARTS = ("rows", "items", "listed", "features", "profiles")

NETWORKS = ("deep", "cross", "interest")

STEPS = 16
"""Points between a stranger and the user at which a reason's slopes are taken."""


class Click(TwoStage):
    """A deep network over candidates; settings that are not told here are those of `TwoStage`.

    network: deep, cross or interest. hidden: neurons of each hidden layer; () is a logistic regression.
    crosses: cross layers of `cross`. rank: of their matrices, 0 for full ones (they
    learn the few thousand users by heart, docs/LOG.md). width: directions of the text
    vectors that are kept. epochs: passes over the pairs at most; the one with the lowest log loss on the
    held-back users is kept. text: False leaves all text out, as a dataset without vectors does.
    """

    name = "click"
    SPACE: ClassVar[Space] = {
        "network": Choice(NETWORKS),
        "n_new": Int(10, 60),
        "width": Int(4, 64, log=True),
        "dropout": Float(0.0, 0.5),
        "learning_rate": Float(3e-4, 1e-2, log=True),
        "weight_decay": Float(1e-4, 0.3, log=True),
    }

    def __init__(  # noqa: PLR0913 - the hyper-parameters
        self,
        inner: Mapping[str, Mapping[str, Any]] | None = None,
        horizon_days: float = 28.0,
        cuts: int = 3,
        n_new: int = 20,
        network: str = "deep",
        hidden: Sequence[int] = (64, 64),
        crosses: int = 2,
        rank: int = 16,
        width: int = 16,
        dropout: float = 0.2,
        epochs: int = 12,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.01,
        max_rows: int = 1_000_000,
        text: bool = True,
        target: str = "",
        seed: int = 0,
    ) -> None:
        super().__init__(inner, horizon_days, cuts, n_new, max_rows, text, target, seed)
        self.hidden = [int(size) for size in hidden]
        if min(self.hidden, default=1) < 1:
            raise InputError(f"hidden layers must have 1 neuron or more, got {self.hidden}", field="hidden")
        if network not in NETWORKS:
            raise InputError(
                f"network must be one of {', '.join(NETWORKS)}, got {network!r}", field="network"
            )
        if rank < 0:
            raise InputError(f"rank must not be negative, got {rank}", field="rank")
        for field, value in {"width": width, "epochs": epochs, "crosses": crosses}.items():
            if value < 1:
                raise InputError(f"{field} must be at least 1, got {value}", field=field)
        if not 0 <= dropout < 1:
            raise InputError(f"dropout must be in [0, 1), got {dropout}", field="dropout")
        if not learning_rate > 0:
            raise InputError(f"learning_rate must be above 0, got {learning_rate}", field="learning_rate")
        if not weight_decay >= 0:
            raise InputError(f"weight_decay must not be negative, got {weight_decay}", field="weight_decay")
        self.network, self.crosses, self.rank = network, crosses, rank
        self.width, self.dropout, self.epochs = width, dropout, epochs
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self._forget()

    def _forget(self) -> None:
        self.axes: FloatArray = np.zeros((0, 0), np.float32)  # (d, kept) of text vectors
        self.middle: FloatArray = np.zeros(0, np.float32)  # (d,) mean text vector
        self.words: FloatArray = np.zeros((0, 0), np.float32)  # (n_items, kept), zero without text
        self.spread: FloatArray = np.ones((2, 0), np.float32)  # mean, deviation of the 2 * kept text inputs
        self.scale: Scale | None = None
        self.weights: dict[str, FloatArray] = {}
        self.curve: FloatArray = np.zeros((0, 2), np.float32)  # log loss learning and held back, by epoch

    # -- learning ------------------------------------------------------------------------------

    def _fit(self, dataset: Dataset) -> None:
        self._forget()
        self.words = np.zeros((dataset.n_items, 0), np.float32)
        if self.text and dataset.vectors is not None:
            self.middle, self.axes = main_axes(dataset.vectors, self.width)
        super()._fit(dataset)

    def _prepare(self, dataset: Dataset, facts: ItemFacts) -> None:
        super()._prepare(dataset, facts)
        self._read()

    def _read(self) -> None:
        vectors = self._ready().vectors
        if vectors is not None and self.axes.size:
            self.words = self._directions(vectors)

    def _directions(self, vectors: FloatArray) -> FloatArray:
        """(n, d) -> (n, kept); what has no text stays at 0, the middle."""
        known = np.abs(vectors).sum(axis=1, keepdims=True) > 0
        out: FloatArray = np.where(known, (vectors - self.middle) @ self.axes, np.float32(0))
        return out

    def _profiles(self, histories: Histories) -> FloatArray:
        """(batch, kept), for `interest` (batch, kept + 3 * MOST): the profile, and the main items."""
        vectors = self._ready().vectors
        if vectors is None or not self.axes.size:
            read = super()._profiles(histories)
        else:
            read = self._directions(reading(histories, vectors))
        if self.network != "interest":
            return read
        return np.concatenate([read, main_items(histories)], axis=1, dtype=np.float32)

    def _attended(self, pairs: Pairs) -> Attended:
        main = pairs.profiles[pairs.rows, self.words.shape[1] :]
        return attended(main, pairs.items, self.words, self._ready().facts.levels)

    def _learn(self, seen: list[Table], held: list[Table]) -> None:
        import torch

        from intently.nn.training import Plan, train

        every = sum(len(part.labels) for part in seen) // SCALED_BY + 1
        self.scale = Scale.of(np.concatenate([part.pairs.features[::every] for part in seen]))
        self.spread = self._text_spread(seen)
        check = [(self._plain(part.pairs), part.pairs) for part in held]
        happened = np.concatenate([part.labels for part in held])
        pairs, labels = self._joined(seen)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = self._network(check[0][0].shape[1])
        size = int(min(1024, max(32, len(pairs) // 64)))

        def loss(rows: Tensor) -> Tensor:
            few = pairs.at(rows.numpy())
            raw = network(*map(torch.from_numpy, self._asked(self._beside_text(few.features, few), few)))
            wanted = torch.from_numpy(labels[rows.numpy()])
            return torch.nn.functional.binary_cross_entropy_with_logits(raw, wanted)

        def validate() -> float:
            self._take(network)
            raw = [self._forward(self._beside_interest(*part)) for part in check]
            return math.exp(-log_loss(happened, sigmoid(np.concatenate(raw))))

        plan = Plan(
            self.epochs, self.learning_rate, self.weight_decay, patience=4, tolerance=0.0, seed=self.seed
        )
        done = train(network, lambda: torch.split(torch.randperm(len(pairs)), size), loss, validate, plan)
        self._take(network)
        self.curve = np.array([(e.loss, -math.log(e.validation)) for e in done], np.float32)

    def _network(self, width: int) -> Deep:
        """Untrained, for so many inputs."""
        if self.network == "cross":
            from intently.nn.cross import Cross

            return Cross(width, self.hidden, self.dropout, self.crosses, self.rank)
        if self.network == "interest":
            from intently.nn.interest import Interest

            ties = 1 + len(self._ready().facts.levels)
            return Interest(width, self.hidden, self.dropout, self.words.shape[1], ties)
        from intently.nn.deep import Deep

        return Deep(width, self.hidden, self.dropout)

    def _asked(self, plain: FloatArray, pairs: Pairs) -> tuple[FloatArray, ...]:
        """What the network in torch takes, by position."""
        return (plain, *self._attended(pairs)) if self.network == "interest" else (plain,)

    def _joined(self, seen: list[Table]) -> tuple[Pairs, FloatArray]:
        """All pairs as one, features already scaled, and their labels; `seen` is emptied to save memory."""
        assert self.scale is not None
        parts, labels, first = [], [], 0
        while seen:
            table = seen.pop(0)
            few = table.pairs
            parts.append(replace(few, rows=few.rows + first, features=self.scale.apply(few.features)))
            labels.append(table.labels)
            first += len(few.profiles)
        columns = (np.concatenate([getattr(part, name) for part in parts]) for name in PAIR_PARTS)
        return Pairs(*columns), np.concatenate(labels)

    def _text_spread(self, seen: list[Table]) -> FloatArray:
        """(2, 2 * kept): mean and standard deviation of the text inputs over what is learned from."""
        total, squares, n = 0.0, 0.0, 0
        for part in seen:
            values = self._text(part.pairs).astype(np.float64)
            total, squares, n = total + values.sum(axis=0), squares + (values**2).sum(axis=0), n + len(values)
        mean = np.asarray(total) / n
        deviation = np.sqrt(np.maximum(np.asarray(squares) / n - mean**2, 0.0))
        return np.stack([mean, np.where(deviation > 1e-6, deviation, 1.0)]).astype(np.float32)

    def _take(self, network: Deep) -> None:
        self.weights = {name: value.numpy().copy() for name, value in network.state_dict().items()}

    # -- answering -----------------------------------------------------------------------------

    def _text(self, pairs: Pairs) -> FloatArray:
        """(pairs, 2 * kept): candidate and agreement, as they come."""
        item = self.words[pairs.items]
        profile = pairs.profiles[pairs.rows, : item.shape[1]]
        return np.concatenate([item, item * profile], axis=1, dtype=np.float32)

    def _inputs(self, pairs: Pairs) -> FloatArray:
        """(pairs, columns + 2 * kept), for `interest` the pooling behind them."""
        return self._beside_interest(self._plain(pairs), pairs)

    def _plain(self, pairs: Pairs) -> FloatArray:
        """(pairs, columns + 2 * kept) standardised."""
        assert self.scale is not None  # fit and load both set it
        return self._beside_text(self.scale.apply(pairs.features), pairs)

    def _beside_text(self, scaled: FloatArray, pairs: Pairs) -> FloatArray:
        text = (self._text(pairs) - self.spread[0]) / self.spread[1]
        return np.concatenate([scaled, text], axis=1, dtype=np.float32)

    def _beside_interest(self, plain: FloatArray, pairs: Pairs) -> FloatArray:
        if self.network != "interest":
            return plain
        parts = []
        for start in range(0, len(pairs), FEW_ROWS):
            parts.append(pooled(*self._attended(pairs.at(slice(start, start + FEW_ROWS))), self.weights))
        return np.concatenate([plain, *([np.concatenate(parts)] if parts else [])], axis=1, dtype=np.float32)

    def _forward(self, inputs: FloatArray) -> DoubleArray:
        return log_odds(inputs, self.weights).astype(np.float64)

    def _log_odds(self, pairs: Pairs) -> DoubleArray:
        out = np.empty(len(pairs), np.float64)
        for start in range(0, len(pairs), ROWS):
            part = slice(start, start + ROWS)
            out[part] = self._forward(self._inputs(pairs.at(part)))
        return out

    def _effects(self, histories: Histories, pairs: Pairs) -> DoubleArray:
        """Integrated gradients (Sundararajan et al. 2017) from a stranger who is asked about the same items.

        The stranger's item is an average one; effects of one pair add up to the difference in log-odds.
        Everything that is read of the texts is told in the column `text_match`; of what is pooled, what
        the same item gave is told in `own_times`, what the same category gave in its level's.
        """
        names = self._ready().names
        strange = self._pairs(histories.last(0), [pairs.items.tolist()])
        here, there = self._inputs(pairs), self._inputs(strange)
        there[:, [place for place, name in enumerate(names) if name in ITEM_FACTS]] = 0.0
        steps = (np.arange(STEPS, dtype=np.float32) + 0.5) / STEPS
        slope = np.mean([log_odds_slope(there + s * (here - there), self.weights) for s in steps], axis=0)
        effects: DoubleArray = ((here - there) * slope).astype(np.float64)
        told, kept = effects[:, : len(names)], self.words.shape[1]
        beside = effects[:, len(names) :]
        if self.network == "interest":
            beside, ties = told_of_ties(names, beside, kept, len(self._ready().facts.levels))
            told += ties
        told[:, -1] += beside.sum(axis=1)  # nothing without texts, where the last is another
        return told

    # -- keeping -------------------------------------------------------------------------------

    def _state(self) -> State:
        assert self.scale is not None
        own = {name: getattr(self, name) for name in KEPT}
        network = {f"network.{name}": value for name, value in self.weights.items()}
        scale = {"scale.values": self.scale.values, "scale.places": self.scale.places}
        return {**super()._state(), **own, **network, **scale}

    def _restore(self, state: State) -> None:
        super()._restore(state)
        for name in KEPT:
            setattr(self, name, state[name])
        self.scale = Scale(state["scale.values"], state["scale.places"])
        self.weights = {
            name.removeprefix("network."): value
            for name, value in state.items()
            if name.startswith("network.")
        }
        self.words = np.zeros((self.n_items, 0), np.float32)
        self._read()
