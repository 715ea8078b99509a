"""Sequence classification: a model with a head, and `TextClassifier`, which reads a saved one.

A saved folder is one of transformers: AutoModelForSequenceClassification gives the same logits (but for
bottleneck adapters, which only `load_classifier` puts back). config.json says, under `intently`, what turns
logits into answers: temperature, threshold, longest text, shares of the classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor, nn

from intently import progress
from intently.errors import ArtifactError, InputError
from intently.language import adapter
from intently.language.encoder import batches
from intently.language.figures import decided
from intently.language.pretrained import pretrained
from intently.language.reading import Reader, Tokens
from intently.schema import DoubleArray, IntArray

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HEADS = ("classifier", "pre_classifier", "score")
"""Starts of the names of what a classifier has and its encoder has not."""

_BATCH_TOKENS = 2048


@dataclass(frozen=True)
class Answering:
    """What turns logits into answers; kept in config.json.

    threshold: chance from which the second of two classes is chosen. shares: of the classes in the
    training texts, the answer to a text with nothing in it.
    """

    objective: str
    max_tokens: int
    temperature: float = 1.0
    threshold: float = 0.5
    shares: tuple[float, ...] = ()


def load_classifier(folder: Path, names: tuple[str, ...] = ()) -> tuple[PreTrainedModel, bool]:
    """The model of a transformers folder with a head for `names`, and whether that head is new.

    names: classes; () takes those of the folder, which must then have a head. A head for other classes
    is put away. Raises InputError for a folder that transformers cannot read as a classifier.
    """
    given: dict[str, Any] = {}
    if names:
        given = {
            "num_labels": len(names),
            "id2label": dict(enumerate(names)),
            "label2id": {name: row for row, name in enumerate(names)},
            "ignore_mismatched_sizes": True,
        }
    model, facts = pretrained("AutoModelForSequenceClassification", Path(folder), given)
    absent = {str(key) for key in facts["missing_keys"]} | {str(key[0]) for key in facts["mismatched_keys"]}
    strange = sorted(key for key in absent if not key.startswith(HEADS) and ".pooler." not in key)
    if strange:
        raise ArtifactError(f"{folder} lacks {len(strange)} weights, first of them {strange[0]}")
    fresh = any(key.startswith(HEADS) for key in absent)
    if fresh and not names:
        raise InputError(
            f"{folder} has no classifier's head", hint="tune one: intently tune --objective label"
        )
    if model.config.pad_token_id is None:  # GPT-2 pads with its end of text
        end = model.config.eos_token_id
        model.config.pad_token_id = end if isinstance(end, int) else 0
    adapter.restore(model, Path(folder))
    return model, fresh


def inputs(model: nn.Module, reader: Reader, tokens: Sequence[Tokens]) -> dict[str, Tensor]:
    """One padded batch as the arguments of `model`; types only for a model that knows pairs."""
    config: Any = model.config
    ids, mask, types = (torch.from_numpy(part) for part in reader.pad(tokens, int(config.pad_token_id)))
    found = {"input_ids": ids, "attention_mask": mask}
    if getattr(config, "type_vocab_size", 1) > 1:
        found["token_type_ids"] = types
    return found


def logits_of(model: nn.Module, reader: Reader, tokens: Sequence[Tokens]) -> DoubleArray:
    """(n, classes) in eval mode, short texts with short ones; the mode is put back."""
    training = model.training
    model.eval()
    config: Any = model.config
    out = np.zeros((len(tokens), config.num_labels))
    with torch.inference_mode(), progress.track("classifying texts", len(tokens)) as advance:
        for rows in short_with_short(tokens):
            given = inputs(model, reader, [tokens[row] for row in rows])
            out[rows] = model(**given).logits.double().numpy()
            advance(len(rows))
    model.train(training)
    return out


def short_with_short(tokens: Sequence[Tokens]) -> Iterator[IntArray]:
    """Rows in batches of about 2048 tokens with their padding, the longest texts first."""
    lengths = np.array([len(one) for one in tokens], np.int32)
    return batches(lengths, _BATCH_TOKENS)


class TextClassifier:
    """A tuned classifier for use: texts, or (behaviour, candidate) pairs, to chances.

    Raises InputError for a folder without a classifier, ArtifactError for a damaged one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.model, _ = load_classifier(self.folder)
        self.model.eval()
        config: Any = self.model.config
        kept = getattr(config, "intently", None) or {}
        try:
            known = {key: value for key, value in kept.items() if key in Answering.__dataclass_fields__}
            self.answering = Answering(**({"objective": "label", "max_tokens": 0} | known))
        except (TypeError, AttributeError) as error:
            raise ArtifactError(f"{self.folder / 'config.json'} is damaged: {error}") from error
        self.reader = Reader(self.folder, max_tokens=self.answering.max_tokens)
        self.names: tuple[str, ...] = tuple(config.id2label[row] for row in range(config.num_labels))

    def probabilities(self, texts: Sequence[str], others: Sequence[str] | None = None) -> DoubleArray:
        """(n, classes) calibrated chances in the order of `names`; rows add up to 1.

        others: the second texts of pairs. A text with nothing in it gets the shares that the classes
        had in training.
        """
        if isinstance(texts, str) or (others is not None and len(others) != len(texts)):
            raise InputError("give a list of texts, and as many second texts where pairs are asked for")
        tokens = self.reader.read(texts, others)
        logits = logits_of(self.model, self.reader, tokens)
        chances = np.asarray(softmax(logits / self.answering.temperature, axis=1), np.float64)
        if len(self.answering.shares) == len(self.names):
            blank = [not text.strip() for text in texts]
            if others is not None:
                blank = [one and not other.strip() for one, other in zip(blank, others, strict=True)]
            chances[np.array(blank, bool)] = self.answering.shares
        return chances

    def predict(self, texts: Sequence[str], others: Sequence[str] | None = None) -> list[str]:
        """The class of each text by name: over the threshold of two classes, else the likeliest."""
        chosen: IntArray = decided(self.probabilities(texts, others), self.answering.threshold)
        return [self.names[row] for row in chosen]


def save_classifier(model: PreTrainedModel, reader: Reader, answering: Answering, folder: Path) -> None:
    """A folder for transformers and for `TextClassifier`."""
    folder.mkdir(parents=True, exist_ok=True)
    config: Any = model.config
    config.intently = asdict(answering) | {"shares": list(answering.shares)}
    config.problem_type = "single_label_classification"
    adapter.save(model, folder)
    reader.copy(folder)
