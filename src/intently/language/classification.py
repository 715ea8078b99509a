"""`Classification`: the objective of telling texts (or pairs of texts) apart, whatever they mean.

label.py and click.py make its examples. What is learned first is the head alone, on what the encoder says
already (Kumar et al., 2022: a random head first pulls the encoder apart); then the chosen weights are tuned.
Held against overfitting, each with its switch: `Guard`, and weight decay and patience in nn/finetuning.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor, nn

from intently.errors import InputError
from intently.language import augment
from intently.language.buckets import bucketed
from intently.language.classifier import (
    HEADS,
    Answering,
    inputs,
    load_classifier,
    logits_of,
    save_classifier,
)
from intently.language.examples import Examples, Parts
from intently.language.figures import best_temperature, best_threshold, classified, decided, places
from intently.language.head import begin_head
from intently.language.reading import Reader, Tokens
from intently.schema import DoubleArray, IntArray

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_PROBE_TEXTS = 4000  # read once to begin the head


@dataclass(frozen=True)
class Guard:
    """What holds back overfitting beside weight decay and patience (those are the schedule's).

    dropout: of every layer of the model; negative: what its config says. smoothing: share of the truth
    given to all classes alike. class_weights: rare classes count more, n / (classes * n_class).
    token_mask: share of tokens hidden in training. event_dropout, event_crop: of the behaviour in pairs,
    augment.py; other texts have no events.
    """

    dropout: float = -1.0
    smoothing: float = 0.0
    class_weights: bool = False
    token_mask: float = 0.0
    event_dropout: float = 0.0
    event_crop: float = 0.0

    def __post_init__(self) -> None:
        for name in ("dropout", "smoothing", "token_mask", "event_dropout", "event_crop"):
            value = getattr(self, name)
            if not value < 1.0 or (value < 0.0 and name != "dropout"):
                raise InputError(f"{name} must be at least 0 and below 1, got {value}", field=name)


@dataclass(frozen=True)
class Batch:
    """Texts of similar length with their classes."""

    tokens: list[Tokens]
    labels: IntArray


class Classification:
    """An objective (objective.py) made of labelled parts.

    name: label or click. folder: whose tokenizer and longest text are used; `load` takes the weights.
    max_tokens: longest text that is read. probe: begin with the head alone.
    """

    fresh: tuple[str, ...] = HEADS

    def __init__(
        self,
        name: str,
        parts: Parts,
        folder: Path | None,
        *,
        metric: str = "accuracy",
        guard: Guard | None = None,
        batch_size: int = 32,
        max_tokens: int = 128,
        probe: bool = True,
        seed: int = 0,
    ) -> None:
        self.name, self.parts, self.metric = name, parts, metric
        self.judged = "auc" if metric == "auc" else "accuracy"
        self.guard = guard or Guard()
        self.batch_size, self.probe, self.seed = batch_size, probe, seed
        self.reader = Reader(folder, max_tokens=max_tokens)
        self.train = self._read(parts.train)
        self.validation = self._read(parts.validation)
        counts = np.bincount(parts.train.labels, minlength=len(parts.names))
        self.shares = tuple((counts / counts.sum()).tolist())
        weights = counts.sum() / (len(counts) * np.maximum(counts, 1))
        self.weights = torch.tensor(weights, dtype=torch.float32) if self.guard.class_weights else None

    # -- the objective ------------------------------------------------------------------------

    def load(self, folder: Path) -> PreTrainedModel:
        """The model with a head that was begun on the frozen encoder, or the head it came with."""
        model, fresh = load_classifier(folder, self.parts.names)
        if self.guard.dropout >= 0.0:
            for module in model.modules():
                if isinstance(module, nn.Dropout):
                    module.p = self.guard.dropout
        if fresh and self.probe:
            self._begin_head(model)
        return model

    def batches(self, epoch: int) -> list[Batch]:
        """One pass over the training texts, augmented anew; the same for the same seed and epoch."""
        tokens = self._augmented(epoch)
        labels = self.parts.train.labels
        rounds = bucketed([len(one) for one in tokens], self.batch_size, self.seed, epoch)
        return [Batch([tokens[row] for row in rows], labels[rows]) for rows in rounds]

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy, with smoothing and class weights where they are on."""
        logits = model(**inputs(model, self.reader, batch.tokens)).logits  # (batch, classes)
        truth = torch.from_numpy(batch.labels.astype(np.int64))
        return nn.functional.cross_entropy(
            logits, truth, weight=self.weights, label_smoothing=self.guard.smoothing
        )

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Figures on the validation part; with two classes at the threshold that is best there."""
        labels = self.parts.validation.labels
        chances = _chances(logits_of(model, self.reader, self.validation), 1.0)
        threshold = self._threshold(chances)
        found = classified(labels, chances, threshold)
        return found | ({"threshold": threshold} if len(self.parts.names) == 2 else {})

    def finish(self, model: nn.Module) -> None:
        """Nothing: threshold and temperature are found where the folder is written."""

    def measure(self, model: nn.Module) -> dict[str, DoubleArray]:
        """One value a test example by group: right or wrong; for click each positive's place (AUC)."""
        test = self.parts.test
        chances, answering = self.tested(model)
        groups = np.array(test.groups or ["all"] * len(test))
        if self.judged == "auc":
            values, groups = places(test.labels, chances[:, 1]), groups[test.labels == 1]
        else:
            values = (decided(chances, answering.threshold) == test.labels).astype(np.float64)
        found = {name: values[groups == name] for name in sorted(set(groups.tolist()))}
        return found | {"all": values}

    def save(self, model: PreTrainedModel, folder: Path) -> None:
        """The folder with its tokenizer, threshold and temperature, both chosen on the validation part."""
        save_classifier(model, self.reader, self.answering(model), folder)

    # -- more than an objective must ----------------------------------------------------------

    def answering(self, model: nn.Module) -> Answering:
        """Temperature and threshold that fit `model` best on the validation part."""
        logits = logits_of(model, self.reader, self.validation)
        temperature = best_temperature(self.parts.validation.labels, logits)
        threshold = self._threshold(_chances(logits, temperature))
        return Answering(self.name, self.reader.max_tokens, temperature, threshold, self.shares)

    def tested(self, model: nn.Module) -> tuple[DoubleArray, Answering]:
        """Calibrated chances of the test part, (n, classes), and what was chosen on the validation part."""
        answering = self.answering(model)
        logits = logits_of(model, self.reader, self._read(self.parts.test))
        return _chances(logits, answering.temperature), answering

    def test_figures(self, model: nn.Module) -> dict[str, float]:
        """All figures on the test part, at the threshold chosen on the validation part."""
        chances, answering = self.tested(model)
        return classified(self.parts.test.labels, chances, answering.threshold)

    # -- inside -------------------------------------------------------------------------------

    def _read(self, examples: Examples) -> list[Tokens]:
        return self.reader.read(examples.texts, examples.others)

    def _threshold(self, chances: DoubleArray) -> float:
        if len(self.parts.names) != 2:
            return 0.5
        return best_threshold(self.parts.validation.labels, chances[:, 1], macro=self.name != "click")

    def _augmented(self, epoch: int) -> list[Tokens]:
        guard, train, tokens = self.guard, self.parts.train, self.train
        rng = np.random.default_rng([self.seed, epoch, 1])
        if train.others is not None and (guard.event_dropout > 0.0 or guard.event_crop > 0.0):
            texts = [
                augment.drop_events(
                    augment.crop_events(text, guard.event_crop, rng), guard.event_dropout, rng
                )
                for text in train.texts
            ]
            tokens = self.reader.read(texts, train.others)
        if guard.token_mask > 0.0:
            mask, keep = self.reader.mask_id, self.reader.special
            tokens = [
                Tokens(augment.mask_tokens(one.ids, guard.token_mask, mask, keep, rng), one.types)
                for one in tokens
            ]
        return tokens

    def _begin_head(self, model: PreTrainedModel) -> None:
        rows = np.random.default_rng([self.seed, 2]).permutation(len(self.train))[:_PROBE_TEXTS]
        labels = self.parts.train.labels[rows]
        begin_head(model, self.reader, [self.train[row] for row in rows], labels, self.weights)


def _chances(logits: DoubleArray, temperature: float) -> DoubleArray:
    return np.asarray(softmax(logits / temperature, axis=1), np.float64)
