"""The machinery of *next* and *together*: texts that follow each other come close, by contrast.

    user q   = unit(sum over past items i of decay ** back_i * v_i)      v: unit vectors of texts
    item j   = v_j

A batch encodes some items afresh, with a gradient. All others stand in with the vector they had when they
were last encoded: a memory bank (Wu et al., 2018), so that a batch of a hundred texts meets thousands of
users and items. Two InfoNCE losses (van den Oord et al., 2018) are added, one a direction:

    item -> user   for who met a fresh item: that user among users drawn at random
    user -> item   for users with a fresh item in their past: what came, among items drawn at random and
                   the nearest texts of the fresh ones (hard negatives)

Two things differ from the textbook. The item side carries log p(j), how often j came in training, so that
the texts need not say what is popular, and rare items are not pushed away (Menon et al., 2021). And what
would be a false negative is masked: items of equal text, of the same past, and users who met the item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from intently.errors import InputError
from intently.language import methods
from intently.language.dense import Dense, write
from intently.language.exact import LastLayer, load_module
from intently.language.folder import open_folder
from intently.language.questions import Questions, Split
from intently.language.ranking import best_decay, ndcg, ranks, user_vectors
from intently.language.sentences import Sentences
from intently.language.whitening import levelling, whitening
from intently.schema import DoubleArray, FloatArray, IntArray

if TYPE_CHECKING:
    from transformers import PreTrainedModel

K = 10
STRENGTHS = (0.0, 0.5, 1.0)
"""Of the whitenings that the validation chooses from."""
_MARK_QUESTIONS = 1000  # judged at every mark
_MOST_GAPS = 50_000  # training questions that a levelling is learned from
_MOST_SCORES = 200_000_000  # questions times items, where something is chosen in the end
_FALSE = -1e9


@dataclass(frozen=True)
class Contrasting:
    """Settings of the contrast.

    temperature: of both softmaxes. items: texts encoded afresh in a batch. questions: at most so many of
    each direction in a batch. negatives: items, and users, drawn at random. hard: nearest texts of each
    fresh item among the negatives. mask_share: of tokens hidden in training. decay: of the past, a moment.
    whiten: learn under the whitening of the untuned vectors; the saved folder keeps it as a Dense layer, or
    the layer of the tuned vectors (`layers`) that the validation prefers.
    """

    temperature: float = 0.1
    items: int = 96
    questions: int = 1024
    negatives: int = 3072
    hard: int = 2
    mask_share: float = 0.0
    decay: float = 0.7
    whiten: bool = True

    def __post_init__(self) -> None:
        if not self.temperature > 0.0:
            raise InputError(f"temperature must be above 0, got {self.temperature}", field="temperature")
        if not 0.0 < self.decay <= 1.0:
            raise InputError(f"decay must be in (0, 1], got {self.decay}", field="decay")
        for name in ("items", "questions", "negatives"):
            if getattr(self, name) < 2:
                raise InputError(f"{name} must be 2 or more, got {getattr(self, name)}", field=name)


@dataclass(frozen=True)
class Batch:
    """fresh: items encoded with a gradient; met, after: rows of questions whose target, whose past is fresh.

    items, users: random negatives: items, and rows of questions. hard: nearest texts of the fresh items, by
    the bank as it was when the epoch began.
    """

    fresh: IntArray
    met: IntArray
    after: IntArray
    items: IntArray
    users: IntArray
    hard: IntArray


class Contrast:
    """An objective (objective.py) over the items of one shop; see next_text.py and together.py."""

    metric = "ndcg@10"  # finer than the recall that is judged: a thousand questions decide
    judged = "recall@10"
    fresh: tuple[str, ...] = ()

    def __init__(
        self,
        name: str,
        sentences: Sentences,
        parts: Split,
        settings: Contrasting | None = None,
        *,
        dropout: float = -1.0,
        seed: int = 0,
    ) -> None:
        self.name, self.sentences, self.parts, self.seed = name, sentences, parts, seed
        self.settings = settings or Contrasting()
        self.dropout = dropout
        self.train = _told(parts.train, sentences)
        self.marking, self.choosing = marks_and_choices(parts.validation, len(sentences.text_of), seed)
        if not len(self.train):
            raise InputError("no training question has texts on both sides: nothing to learn from")
        self.counts = np.bincount(self.train.target, minlength=len(sentences.text_of))
        self.bank: FloatArray = np.zeros((0, 0), np.float32)  # (texts, size)
        self._untuned = ("", self.bank)  # of the folder with this fingerprint: read once for all methods
        self._tuned: FloatArray | None = None  # what `finish` read, for `measure`

    # -- the objective ------------------------------------------------------------------------

    def load(self, folder: Path) -> PreTrainedModel:
        """The encoder of `folder`; its vectors of all texts begin the bank."""
        opened = open_folder(folder)
        model = load_module(opened).model
        self.sentences.follow(opened)
        if self._untuned[0] != opened.fingerprint:
            self._untuned = (opened.fingerprint, self.sentences.matrix(model))
        self.bank, self._tuned = self._untuned[1].copy(), None
        if self.dropout >= 0.0:
            for module in model.modules():
                if isinstance(module, nn.Dropout):
                    module.p = self.dropout
        return model

    def batches(self, epoch: int) -> Sequence[Batch]:
        """Every text once as a fresh one, with the questions that it takes part in.

        The first call begins the training: from then on vectors are whitened, if the settings say so.
        """
        if self.settings.whiten and self.sentences.last.dense is None:
            self.sentences.last = _whitening_layer(self.bank)
            self.bank = _through(self.sentences.last, self.bank)
        rng = np.random.default_rng([self.seed, epoch, 7])
        order = rng.permutation(self._taught).astype(np.int32)
        step = min(self.settings.items, len(order))
        starts = range(0, len(order) - step + 1, step)
        return [self._batch(order[start : start + step], rng) for start in starts]

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Both directions added, each a mean over its questions; the bank learns the fresh vectors."""
        table, place = self._table(model, batch)
        parts = [self._items_to_users(table, place, batch)] if len(batch.met) else []
        if len(batch.after):
            parts.append(self._users_to_items(table, place, batch))
        return torch.stack(parts).sum()

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Recall and NDCG at 10 of items that no training question shows, among what validation shows."""
        questions = self.marking
        shown = np.concatenate([questions.past[:, :8].ravel(), questions.target])
        pool = np.unique(shown[shown >= 0]).astype(np.int32)
        texts = np.unique(self.sentences.text_of[pool]).astype(np.int32)
        vectors = np.zeros_like(self.bank)
        vectors[texts] = self.sentences.matrix(model, texts)
        by_item = self.by_item(vectors)
        place = ranks(user_vectors(questions, by_item, self.settings.decay), by_item, questions, pool)
        return {"recall@10": float((place < K).mean()), "ndcg@10": float(ndcg(place, K).mean())}

    def finish(self, model: nn.Module) -> None:
        """Bend the tuned vectors anew, by the layer that finds most of the validation's answers."""
        kept = self.sentences.last
        if not self.settings.whiten or kept.dense is None:
            return
        self.sentences.last = LastLayer(None)
        plain = self.sentences.matrix(model)
        self.sentences.last, self._tuned = self.settled(plain, [kept, *self.layers(plain)])

    def measure(self, model: nn.Module) -> dict[str, DoubleArray]:
        """Recall@10 of every test question among all items: all, warm, cold."""
        vectors = self.sentences.matrix(model) if self._tuned is None else self._tuned
        return self.hits(self.by_item(vectors))

    def save(self, model: PreTrainedModel, folder: Path) -> None:
        """A transformers folder with its tokenizer and its pooling."""
        methods.save(model, folder)
        self.sentences.reader.copy(folder)
        if self.sentences.last.dense is not None:
            write(folder, self.sentences.last.dense)

    # -- more than an objective must ----------------------------------------------------------

    def hits(self, by_item: FloatArray, bend: FloatArray | None = None) -> dict[str, DoubleArray]:
        """The same for any vectors of the items, (n_items, size); `bend` (size, size) maps the users'.

        The past's decay is chosen on the validation questions, for each model its own. Answers of the
        validation count in neither warm nor cold: they taught nothing, but chose when to stop.
        """
        decay, _ = best_decay(by_item, self.choosing, K, bend)
        questions = self.parts.test
        users = user_vectors(questions, by_item, decay)
        hit = (ranks(users if bend is None else users @ bend, by_item, questions) < K).astype(np.float64)
        cold, held = self.parts.cold[questions.target], self.parts.held[questions.target]
        groups = {"all": hit, "warm": hit[~(cold | held)], "cold": hit[cold]}
        return {name: values for name, values in groups.items() if len(values)}

    def by_item(self, vectors: FloatArray) -> FloatArray:
        """(n_items, size) from vectors of texts; zeros for an item without a text."""
        found: FloatArray = vectors[self.sentences.text_of] * self.sentences.filled[:, None]
        return found

    def layers(self, plain: FloatArray) -> list[LastLayer]:
        """What may follow these vectors of texts: whitenings, and centred, the levelling of training's gaps.

        A gap is between a user and what came next. Often bought items weigh less, by the root of how often.
        """
        centred = self.by_item(_through(_whitening_layer(plain, 0.0), plain))
        few = np.random.default_rng([self.seed, 47]).permutation(len(self.train))[:_MOST_GAPS]
        asked = self.train.select(few.astype(np.int32))
        gaps = centred[asked.target] - user_vectors(asked, centred, self.settings.decay)
        bend = levelling(gaps, self.counts[asked.target].astype(np.float32) ** -0.5)
        level = _bending_layer(plain.mean(axis=0), bend)
        return [*(_whitening_layer(plain, strength) for strength in STRENGTHS), level]

    def settled(self, plain: FloatArray, layers: Sequence[LastLayer]) -> tuple[LastLayer, FloatArray]:
        """The layer that finds most answers of the validation, by NDCG@10 at its best decay; its vectors."""
        found = []
        for layer in layers:
            by_item = self.by_item(_through(layer, plain))
            found.append(best_decay(by_item, self.choosing, K)[1])
        best = layers[int(np.argmax(found))]
        return best, _through(best, plain)

    # -- batches ------------------------------------------------------------------------------

    @cached_property
    def _taught(self) -> IntArray:
        """Items that take part in a training question."""
        past = self.train.past
        taught: IntArray = np.union1d(self.train.target, past[past >= 0]).astype(np.int32)
        return taught

    @cached_property
    def _met(self) -> sparse.csr_matrix:
        return _index(self.train.target, np.arange(len(self.train)), len(self.counts), len(self.train))

    @cached_property
    def _after(self) -> sparse.csr_matrix:
        """Item -> questions that show it among the latest three of the past."""
        near = self.train.past[:, :3]
        rows, columns = np.nonzero(near >= 0)
        return _index(near[rows, columns], rows, len(self.counts), len(self.train))

    def _batch(self, fresh: IntArray, rng: np.random.Generator) -> Batch:
        most, count = self.settings.questions, self.settings.negatives
        popular = np.flatnonzero(self.counts).astype(np.int32)
        return Batch(
            fresh,
            _some(self._met[fresh].indices, most, rng),
            _some(np.unique(self._after[fresh].indices), most, rng),
            _some(popular, count, rng),
            _some(np.arange(len(self.train), dtype=np.int32), count, rng),
            self._hard(fresh),
        )

    # -- loss ---------------------------------------------------------------------------------

    def _table(self, model: nn.Module, batch: Batch) -> tuple[Tensor, IntArray]:
        """Vectors of the texts that the batch needs, fresh or from the bank, and where each item's is.

        (rows, size); (n_items + 1,), the last for the item -1, which weighs nothing.
        """
        text_of = self.sentences.text_of
        fresh = np.unique(text_of[batch.fresh]).astype(np.int32)
        vectors = self.sentences.encode(model, fresh, self.settings.mask_share)
        rest = np.setdiff1d(text_of[self._needed(batch)], fresh).astype(np.int32)
        table = torch.cat([vectors, torch.from_numpy(self.bank[rest])])
        row_of_text = np.zeros(len(self.bank), np.int32)
        row_of_text[np.concatenate([fresh, rest])] = np.arange(len(fresh) + len(rest))
        if model.training:
            self.bank[fresh] = vectors.detach().numpy()
        return table, np.append(row_of_text[text_of], 0).astype(np.int32)

    def _needed(self, batch: Batch) -> IntArray:
        """Items of a batch, more than once where they stand more than once."""
        asked = self.train.select(np.concatenate([batch.met, batch.after, batch.users]))
        parts = [asked.past[asked.past >= 0], asked.target, batch.items, batch.hard]
        return np.concatenate(parts).astype(np.int32)

    def _users(self, table: Tensor, place: IntArray, rows: IntArray) -> Tensor:
        questions = self.train.select(rows)
        weights = torch.from_numpy(questions.weights(self.settings.decay)).unsqueeze(1)  # (n, 1, length)
        mixed = torch.bmm(weights, table[torch.from_numpy(place[questions.past])]).squeeze(1)
        return nn.functional.normalize(mixed, dim=1)

    def _items_to_users(self, table: Tensor, place: IntArray, batch: Batch) -> Tensor:
        text_of = self.sentences.text_of
        target, others = self.train.target[batch.met], self.train.select(batch.users)
        items = table[torch.from_numpy(place[target])]
        own = (self._users(table, place, batch.met) * items).sum(dim=1, keepdim=True)
        scores = items @ self._users(table, place, batch.users).T
        false = text_of[others.target][None, :] == text_of[target][:, None]
        for column in others.past.T:  # who met it before
            false |= (column[None, :] == target[:, None]) & (column >= 0)[None, :]
        scores = scores.masked_fill(torch.from_numpy(false), _FALSE)
        logits = torch.cat([own, scores], dim=1) / self.settings.temperature
        return nn.functional.cross_entropy(logits, torch.zeros(len(target), dtype=torch.long))

    def _users_to_items(self, table: Tensor, place: IntArray, batch: Batch) -> Tensor:
        text_of = self.sentences.text_of
        questions = self.train.select(batch.after)
        named = [questions.target, batch.items, batch.hard]
        items = np.unique(np.concatenate(named)).astype(np.int32)
        prior = np.log(np.maximum(self.counts[items], 0.5) / len(self.train)).astype(np.float32)
        scores = self._users(table, place, batch.after) @ table[torch.from_numpy(place[items])].T
        logits = scores / self.settings.temperature + torch.from_numpy(prior)
        truth = np.searchsorted(items, questions.target)
        false = text_of[items][None, :] == text_of[questions.target][:, None]
        for column in questions.past.T:
            at = np.minimum(np.searchsorted(items, column), len(items) - 1)
            known = items[at] == column
            false[np.flatnonzero(known), at[known]] = True
        false[np.arange(len(truth)), truth] = False
        logits = logits.masked_fill(torch.from_numpy(false), _FALSE)
        return nn.functional.cross_entropy(logits, torch.from_numpy(truth.astype(np.int64)))

    def _hard(self, fresh: IntArray) -> IntArray:
        """The nearest other texts of each fresh item, as items that came in training."""
        count = min(self.settings.hard, len(self.bank) - 1)
        if count < 1:
            return np.zeros(0, np.int32)
        popular = np.flatnonzero(self.counts).astype(np.int32)
        text_of = self.sentences.text_of
        near = self.bank[text_of[fresh]] @ self.bank[text_of[popular]].T
        near[text_of[fresh][:, None] == text_of[popular][None, :]] = -2.0
        best = np.argpartition(-near, min(count, near.shape[1] - 1), axis=1)[:, :count]
        return np.unique(popular[best]).astype(np.int32)


def marks_and_choices(questions: Questions, n_items: int, seed: int) -> tuple[Questions, Questions]:
    """A few, judged many times, and as many as can be judged a few times; drawn anew from `questions`."""
    order = np.random.default_rng([seed, 43]).permutation(len(questions)).astype(np.int32)
    most = max(_MARK_QUESTIONS, _MOST_SCORES // n_items)
    return questions.select(np.sort(order[:_MARK_QUESTIONS])), questions.select(np.sort(order[:most]))


def _whitening_layer(vectors: FloatArray, strength: float = 1.0) -> LastLayer:
    return _bending_layer(*whitening(vectors, strength))


def _bending_layer(shift: FloatArray, bend: FloatArray) -> LastLayer:
    return LastLayer(Dense(np.ascontiguousarray(bend.T), -shift @ bend, on_unit=True))


def _through(layer: LastLayer, vectors: FloatArray) -> FloatArray:
    with torch.inference_mode():
        found: FloatArray = layer(torch.from_numpy(vectors)).numpy().copy()
    return found


def _told(questions: Questions, sentences: Sentences) -> Questions:
    """Questions whose target has a text, and whose past has one at least."""
    filled = np.append(sentences.filled, False)  # the last for the item -1
    told = filled[questions.target] & filled[questions.past].any(axis=1)
    return questions.select(np.flatnonzero(told).astype(np.int32))


def _index(
    items: IntArray, rows: np.ndarray[tuple[int], np.dtype[np.int64]], n_items: int, n: int
) -> sparse.csr_matrix:
    return sparse.csr_matrix((np.ones(len(rows), np.int8), (items, rows)), shape=(n_items, n))


def _some(rows: IntArray, most: int, rng: np.random.Generator) -> IntArray:
    chosen = rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))
    return chosen.astype(np.int32)
