"""Causal self-attention over what a user did: the next item, from ids and text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from intently import progress
from intently.data import Dataset, Histories
from intently.errors import InputError, NotReadyError
from intently.evaluate import metrics
from intently.models.base import BATCH, Recommender, State
from intently.models.principal import main_axes
from intently.models.ranking import Ranked, top_k
from intently.models.sequence_state import Reader, SequenceState, Vocabulary
from intently.models.space import Choice, Float, Int, Space
from intently.models.warm import take_over
from intently.nn.gaps import vary
from intently.nn.inference import bagged, encode
from intently.nn.packing import Bags, Packed, pack, windows
from intently.schema import EVENTS, ByteArray, DoubleArray, FloatArray, IntArray, LongArray

if TYPE_CHECKING:
    from intently.nn.next_item import NextItem
    from intently.nn.training import Plan

HELD_SHARE = 0.1
HELD_MOST = 2048
HELD_LEAST = 50
"""Users whose last moment is held back to choose the epoch: a tenth, at most 2,048; none below 50."""

KEPT = ("vocabulary", "popularity", "table", "scale", "curve")
"""What is saved besides the encoder's weights."""

LATER = ("kind_vectors", "norms", "text_map", "text_axes", "text_mean")
"""What models saved before do not have: `kind_vectors`, and what a training that starts from one reads."""

WARM_SHARE, WARM_EPOCHS = 0.125, 5.0
"""Of `epochs`, for a training that starts from an earlier one; a third of them up to WARM_EPOCHS."""

WARM_UP, WARM_AGE = 0.2, 4.5
"""Of its steps: those of rising rate, 20 at most, and those that the average of its weights counts as having
behind it: so many that about the latter half of the steps makes the average."""


class Sequence(Recommender):
    """Transformer over a user's latest moments, trained to name the items of the next one.

    SASRec (Kang and McAuley, ICDM 2018) with a softmax over the whole catalogue in place of one
    negative, relative distances in place of position vectors, and item vectors from ids + text.
    Differences that save time on a processor: sequences are packed by length, so nothing is padded
    (nn/packing.py), and the softmax makes its own gradients (nn/losses.py). Items of one moment (a
    basket) are one token, the mean of their vectors, since their order means nothing; the next
    moment's items share the target equally.

    The training stops when NDCG@10 of held-back moments (`HELD_SHARE` of the users) no longer rises
    or `minutes` of wall time are spent, and keeps the best moving average of the weights. Answers
    need no torch. A user without history gets what is popular; items nobody met score below all
    others.

    Where the shop has several kinds of events (views, purchases), tokens tell them apart, unless `kinds`
    is off. With `gaps`, attention also knows how long ago each moment was, where the shop has a clock and
    gaps differ; that is off, since it brought nothing on the shops it was tried on (docs/LOG.md).

    With `fit(..., start=...)` of an earlier model of the same shape, the directions of its items, its text
    map and a part of its encoder are where the training begins, and new items begin where their texts or
    neighbours are (warm.py). It takes an eighth of the epochs, at a rate that falls to nothing. Nobody is
    held back then: the earlier model has seen their last moment, so it would look best before any step.

    d: width. max_length: moments looked at. dropout: on tokens, attention and both parts of a block.
    batch_tokens: moments a step. epochs: at most. text: use `dataset.vectors` when there are some.
    candidates: a larger catalogue is sampled down to this many items in each step's softmax.
    minutes: 0 means no limit.
    """

    name = "sequence"
    SPACE: ClassVar[Space] = {
        "d": Choice((32, 64, 96, 128)),
        "blocks": Int(1, 4),
        "heads": Choice((1, 2, 4)),
        "max_length": Choice((20, 50, 100, 200)),
        "dropout": Float(0.0, 0.6),
        "learning_rate": Float(5e-4, 1e-2, log=True),
        "batch_tokens": Choice((512, 1024, 2048, 4096)),
    }

    def __init__(  # noqa: PLR0913 - the hyper-parameters
        self,
        d: int = 64,
        blocks: int = 2,
        heads: int = 2,
        max_length: int = 50,
        dropout: float = 0.2,
        learning_rate: float = 0.003,
        batch_tokens: int = 2048,
        epochs: int = 40,
        text: bool = True,
        gaps: bool = False,
        kinds: bool = True,
        candidates: int = 16_384,
        minutes: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        counts = {
            "d": d, "blocks": blocks, "heads": heads, "max_length": max_length,
            "batch_tokens": batch_tokens, "epochs": epochs, "candidates": candidates,
        }  # fmt: skip
        for field, value in counts.items():
            if value < 1:
                raise InputError(f"{field} must be at least 1, got {value}", field=field)
        if d % heads:
            raise InputError(f"d must be a multiple of heads, got d {d} and heads {heads}", field="heads")
        if not 0 <= dropout < 1:
            raise InputError(f"dropout must be in [0, 1), got {dropout}", field="dropout")
        if not learning_rate > 0:
            raise InputError(f"learning_rate must be above 0, got {learning_rate}", field="learning_rate")
        if minutes < 0:
            raise InputError(f"minutes must not be negative, got {minutes}", field="minutes")
        self.d, self.blocks, self.heads = d, blocks, heads
        self.max_length, self.dropout, self.learning_rate = max_length, dropout, learning_rate
        self.batch_tokens, self.epochs, self.text = batch_tokens, epochs, text
        self.gaps, self.kinds, self.candidates = gaps, kinds, candidates
        self.minutes, self.seed = minutes, seed
        self._forget()

    def _forget(self) -> None:
        self.vocabulary: IntArray = np.zeros(0, np.int32)  # dense ids of the items that were met
        self.popularity: FloatArray = np.zeros(0, np.float32)  # share of events, by vocabulary
        self.table: FloatArray = np.zeros(
            (0, self.d), np.float32
        )  # item vectors of length one, by vocabulary
        self.scale: FloatArray = np.ones(1, np.float32)  # of cosines to logits
        self.kind_vectors: FloatArray = np.zeros((0, self.d), np.float32)  # by code; none: not told apart
        self.weights: dict[str, FloatArray] = {}  # the encoder's; none when nobody has a next moment
        self.curve: FloatArray = np.zeros((0, 2), np.float32)  # loss and NDCG@10 of each epoch
        self.norms: FloatArray = np.zeros(0, np.float32)  # lengths that `table` was scaled down from
        self.text_map: FloatArray = np.zeros((0, self.d), np.float32)  # directions of texts to vectors
        self.text_axes: FloatArray = np.zeros((0, 0), np.float32)  # text vectors to directions
        self.text_mean: FloatArray = np.zeros(0, np.float32)
        self._made: Reader | None = None

    # -- learning ------------------------------------------------------------------------------

    def _fit(self, dataset: Dataset) -> None:
        self._forget()
        histories = dataset.histories()
        counts = np.bincount(histories.items, minlength=dataset.n_items)
        if not counts.any():
            raise InputError("the dataset has no positive events", hint="views, clicks or purchases")
        self.vocabulary = np.flatnonzero(counts).astype(np.int32)
        self.popularity = (counts[self.vocabulary] / max(counts.sum(), 1)).astype(np.float32)
        if self.kinds and len(np.unique(histories.events)) > 1:
            self.kind_vectors = np.zeros((len(EVENTS), self.d), np.float32)
        bags = self._bags(histories)
        if not (bags.lengths > 1).any():
            return
        random = np.random.default_rng(self.seed)
        earlier = self._earlier()
        held = held_back(bags, random) if earlier is None else np.zeros(0, np.int64)
        lengths = bags.lengths.copy()
        lengths[held] -= 1
        vectors = dataset.vectors if self.text else None
        known = None if vectors is None else vectors[self.vocabulary]
        timed = self.gaps and dataset.timed and vary(bags.times, bags.ends)
        self._train(earlier, bags, lengths, held, known, timed, random)

    def _train(
        self,
        earlier: Sequence | None,
        bags: Bags,
        lengths: LongArray,
        held: LongArray,
        vectors: FloatArray | None,
        timed: bool,
        random: np.random.Generator,
    ) -> None:
        import torch

        from intently.nn.layers import Encoder
        from intently.nn.next_item import NextItem
        from intently.nn.training import Plan, train

        directions = None if vectors is None else self._directions(vectors, earlier)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            shape = self.d, self.blocks, self.heads, self.max_length
            encoder = Encoder(*shape, self.dropout, timed)
            text = None if directions is None else torch.from_numpy(directions)
            share = torch.from_numpy(self.popularity)
            net = NextItem(encoder, self.d, share, text, self.candidates, self.seed, len(self.kind_vectors))
        plan = Plan(self.epochs, self.learning_rate, minutes=self.minutes, seed=self.seed)
        if earlier is not None and self._start is not None:
            take_over(net, earlier, self._start.place[self.vocabulary], bags)
            plan = self._warm(plan, int(np.maximum(lengths - 1, 0).sum()))

        def batches() -> Iterator[tuple[Packed, Packed]]:
            for first, size in windows(bags.ends, lengths, self.max_length, self.batch_tokens, random):
                yield pack(bags, first, size)[:2]

        def validate() -> float:
            self._take(net)
            return self._ndcg(bags, held)

        done = train(net, batches, net.loss, validate if len(held) else None, plan)
        self._take(net)
        self.curve = np.array([(e.loss, e.validation) for e in done], np.float32)

    def _warm(self, plan: Plan, targets: int) -> Plan:
        """For a training that goes on: fewer epochs, and a rate that falls to nothing over them."""
        epochs = max(1, round(max(WARM_SHARE * plan.epochs, min(plan.epochs / 3, WARM_EPOCHS))))
        steps = max(1, -(-epochs * targets // self.batch_tokens))  # ceiling
        rising = min(20, int(WARM_UP * steps))
        return replace(plan, epochs=epochs, warmup=rising, age=int(WARM_AGE * steps), falls_over=steps)

    def _earlier(self) -> Sequence | None:
        """The model that this training starts from: one of the same shape, that learned something."""
        found = self._start.part(self.name) if self._start else None
        if not isinstance(found, Sequence) or not found.weights or not len(found.norms):
            return None
        for field in ("d", "blocks", "heads", "max_length"):
            old, new = getattr(found, field), getattr(self, field)
            if old != new:
                progress.note(f"sequence starts afresh: {field} was {old}, is {new}")
                return None
        return found

    def _directions(self, vectors: FloatArray, earlier: Sequence | None) -> FloatArray:
        """(n, <= 2 d) main directions of text vectors: those of the earlier model where it has some."""
        if earlier is not None and earlier.text_axes.shape[0] == vectors.shape[1]:
            self.text_mean, self.text_axes = earlier.text_mean, earlier.text_axes
        else:
            self.text_mean, self.text_axes = main_axes(vectors, 2 * self.d)
        return np.ascontiguousarray((vectors - self.text_mean) @ self.text_axes, np.float32)

    def _take(self, net: NextItem) -> None:
        """The network's weights as arrays."""
        whole = net.vectors().detach().numpy()
        self.norms = np.linalg.norm(whole, axis=1).astype(np.float32)
        self.table = np.asarray(whole / np.maximum(self.norms, 1e-12)[:, None], np.float32)
        if net.map is not None:
            self.text_map = net.map.weight.detach().numpy().T.copy()
        if net.kinds is not None:
            self.kind_vectors = net.kinds.detach().numpy().copy()
        self.scale = net.log_scale.detach().exp().numpy().reshape(1)
        self.weights = {name: value.numpy().copy() for name, value in net.encoder.state_dict().items()}

    def _ndcg(self, bags: Bags, held: LongArray) -> float:
        """Mean NDCG@10 of the held-back users' last moment, given the moments before it."""
        total = 0.0
        for start in range(0, len(held), BATCH):
            users = held[start : start + BATCH]
            stop = bags.ends[users + 1] - 1
            scores = self._vectors(bags, bags.ends[users], stop) @ self.table.T
            if not self.repeats:
                scores[bags.between(bags.ends[users], stop)] = -np.inf
            rows, truth = bags.between(stop, stop + 1)
            sizes = np.bincount(rows, minlength=len(users))
            found = metrics.hits(
                top_k(scores, 10).items, np.append(0, np.cumsum(sizes)), truth.astype(np.int32)
            )
            total += float(metrics.ndcg(found, sizes, 10).sum())
        return total / len(held)

    # -- answering -----------------------------------------------------------------------------

    def _scores(self, histories: Histories) -> FloatArray:
        if len(histories) == 1:  # in half the time
            return self.scores_of(self.begin(histories))[None]
        bags = self._bags(histories)
        asked = (bags.lengths > 0) & bool(self.weights)
        if asked.all() and len(asked):
            return self._among_all(self._vectors(bags, bags.ends[:-1], bags.ends[1:]) @ self.table.T)
        known = np.empty((len(histories), len(self.vocabulary)), np.float32)
        known[~asked] = np.log(self.popularity)
        if asked.any():
            rows = np.flatnonzero(asked)
            known[rows] = self._vectors(bags, bags.ends[rows], bags.ends[rows + 1]) @ self.table.T
        return self._among_all(known)

    def _among_all(self, known: FloatArray) -> FloatArray:
        """(batch, vocabulary) -> (batch, n_items): items nobody met score below all others."""
        if known.shape[1] == self.n_items:
            return known
        below = known.min(axis=1, initial=0.0) - 1.0
        scores = np.repeat(below.astype(np.float32)[:, None], self.n_items, axis=1)
        scores[:, self.vocabulary] = known
        return scores

    def _vectors(self, bags: Bags, first: LongArray, stop: LongArray) -> FloatArray:
        """(batch, d): what comes after the bags `first:stop`, of which the latest are looked at."""
        lengths = np.minimum(stop - first, self.max_length)
        inputs, _, order = pack(bags, stop - lengths, lengths)
        tokens = bagged(self.table, inputs.items, inputs.starts, self.kind_vectors, inputs.kinds)
        tokens *= np.float32(self.d**0.5)
        latest = encode(tokens, inputs.groups, self.weights, self.heads, inputs.times)
        out = np.empty((len(first), self.d), np.float32)
        out[order] = self.scale / np.linalg.norm(latest, axis=1, keepdims=True) * latest
        return out

    def _bags(self, histories: Histories) -> Bags:
        """Moments in columns of the vocabulary; items nobody met are left out."""
        columns = np.searchsorted(self.vocabulary, histories.items)
        met = self.vocabulary[np.minimum(columns, len(self.vocabulary) - 1)] == histories.items
        rows = histories.rows[met].astype(np.int64)
        kinds = histories.events[met] if len(self.kind_vectors) else None
        return Bags.of(rows, histories.time_s[met], columns[met], len(histories), kinds)

    # -- from event to event (stateful.py) -----------------------------------------------------

    def begin(self, history: Histories) -> SequenceState:
        """The state after a history (a batch of one); raises NotReadyError before `fit`."""
        return self._reader().begin(history)

    def advance(
        self, state: SequenceState, items: IntArray, time_s: DoubleArray, events: ByteArray
    ) -> SequenceState:
        """The state after more positive events. A full window is read again, a shorter one is not."""
        return self._reader().advance(state, items, time_s, events)

    def vector(self, state: SequenceState) -> FloatArray:
        """(d,) whose products with `table` are the scores of the vocabulary; zeros for a stranger."""
        return state.ahead.copy() if len(state.ahead) else np.zeros(self.d, np.float32)

    def scores_of(self, state: SequenceState) -> FloatArray:
        """(n_items,) what `scores` says of the same history."""
        known = self._reader().scores(state)
        out: FloatArray = self._among_all(known[None])[0]
        return out

    def best(
        self,
        state: SequenceState,
        k: int = 10,
        *,
        repeats: bool | None = None,
        exclude: Iterable[int] = (),
    ) -> Ranked:
        """What `top_k` answers to the same history, a batch of one; no score for each item of the shop."""
        if k < 1:
            raise InputError(f"k must be at least 1, got {k}", field="k")
        allow = self.repeats if repeats is None else repeats
        barred = list(exclude)
        ranked = self._reader().best(state, k, allow, barred)
        if ranked.items.shape[1] == k:
            return ranked
        scores = self.scores_of(state)  # more than somebody met: as a reading of everything would answer
        scores[[*barred, *(() if allow else state.met)]] = -np.inf
        return top_k(scores[None], k)

    def _reader(self) -> Reader:
        """What reads moments one by one; made once a fit."""
        if not self.fitted:
            raise NotReadyError(f"{self.name} is not fitted", hint="call fit(dataset) first")
        if self._made is None:
            met = Vocabulary(self.vocabulary, self.table, np.log(self.popularity), self.kind_vectors)
            self._made = Reader(
                met, self.weights, self.heads, float(self.scale[0]), self.max_length, self.n_items
            )
        return self._made

    # -- keeping -------------------------------------------------------------------------------

    def _state(self) -> State:
        own = {name: getattr(self, name) for name in (*KEPT, *LATER)}
        return own | {f"encoder.{name}": value for name, value in self.weights.items()}

    def _restore(self, state: State) -> None:
        self._made = None
        for name in KEPT:
            setattr(self, name, state[name])
        for name in LATER:
            setattr(self, name, state.get(name, getattr(self, name)))  # models of before have none
        self.weights = {
            name.removeprefix("encoder."): value
            for name, value in state.items()
            if name.startswith("encoder.")
        }


def held_back(bags: Bags, random: np.random.Generator) -> LongArray:
    """Sequences whose last bag chooses the epoch; none where they would be too few to tell."""
    able = np.flatnonzero(bags.lengths > 2)
    count = min(int(HELD_SHARE * len(able)), HELD_MOST)
    return np.sort(random.permutation(able)[:count]) if count >= HELD_LEAST else able[:0]
