"""What a language model learns from plain text: hidden words (masked) or the next word (causal).

Masked: BERT (Devlin et al., 2019): 15 % of the tokens are asked for, of which 80 % are hidden behind the mask
token, 10 % replaced by any other and 10 % left as they are; drawn anew at every step as in RoBERTa (Liu et
al., 2019). No next-sentence task. Causal: GPT-2 (Radford et al., 2019). Differently from all three the output
layer is computed only where a word is asked for: with a small model and many words that is most of the work.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from intently.language.blocks import Blocks, token_batches
from intently.schema import DoubleArray, IntArray

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ASKED, HIDDEN, REPLACED = 0.15, 0.8, 0.1

_CHUNK = 1 << 22  # tokens counted at once


@dataclass(frozen=True)
class Task:
    """One kind of question, and what it needs of the tokenizer. mask_id: None for causal."""

    pad_id: int
    mask_id: int | None
    special: tuple[int, ...]  # never asked for, never put in place of a word
    vocabulary: int

    def question(
        self, ids: Tensor, mask: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(inputs, asked, answers): (batch, length), bool (batch, length), (n asked,).

        `asked` marks the positions whose output is read: the hidden ones, or those before the next word.
        """
        if self.mask_id is None:
            asked = torch.zeros_like(mask, dtype=torch.bool)
            asked[:, :-1] = mask[:, 1:].bool()
            return ids, asked, ids[:, 1:][asked[:, :-1]]
        allowed = mask.bool() & ~torch.isin(ids, torch.tensor(self.special))
        lot = torch.rand(ids.shape, generator=generator)
        asked = allowed & (lot < ASKED)
        if not bool(asked.any()):  # a batch of very short texts: ask for its luckiest word
            asked = allowed & (lot == lot.masked_fill(~allowed, 2.0).min())
        way = torch.rand(ids.shape, generator=generator)
        other = torch.randint(self.vocabulary, ids.shape, generator=generator)
        inputs = torch.where(asked & (way < HIDDEN), self.mask_id, ids)
        inputs = torch.where(asked & (way >= 1.0 - REPLACED), other, inputs)
        return inputs, asked, ids[asked]

    def losses(
        self, model: PreTrainedModel, ids: Tensor, mask: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """(cross-entropy in nats, the answer) of each word asked for, (n asked,)."""
        inputs, asked, answers = self.question(ids, mask, generator)
        scores = _scores(model, inputs, mask, asked)
        return nn.functional.cross_entropy(scores, answers, reduction="none"), answers


def _scores(model: PreTrainedModel, ids: Tensor, mask: Tensor, asked: Tensor) -> Tensor:
    """Logits where asked, (n asked, vocabulary)."""
    head = getattr(model, "cls", None) or getattr(model, "lm_head", None)
    if head is None:
        whole: Tensor = model(input_ids=ids, attention_mask=mask).logits
        return whole[asked]
    hidden: Tensor = model.base_model(input_ids=ids, attention_mask=mask)[0]  # (batch, length, size)
    scores: Tensor = head(hidden[asked])
    return scores


@dataclass(frozen=True)
class Verdict:
    """Held-out figures over the same words. words: how many were asked for."""

    perplexity: float
    unigram: float
    words: int


def judge(model: PreTrainedModel, task: Task, blocks: Blocks, chances: DoubleArray, tokens: int) -> Verdict:
    """Perplexity, exp of the mean cross-entropy a token, of `model` and of bare word frequencies.

    The words that are hidden are the same at every call, so two models are asked the same.
    """
    total, floor, words = 0.0, 0.0, 0
    logs = np.log(chances)
    with torch.inference_mode():
        for number, rows in enumerate(token_batches(blocks.lengths, tokens, 0, 0)):
            generator = torch.Generator().manual_seed(number)
            losses, answers = task.losses(model, *blocks.padded(rows, task.pad_id), generator)
            total += float(losses.double().sum())
            floor -= float(logs[answers.numpy()].sum())
            words += len(answers)
    return Verdict(_exp(total / max(words, 1)), _exp(floor / max(words, 1)), words)


def unigram(blocks: Blocks, task: Task) -> DoubleArray:
    """Chance of each token by its frequency in `blocks`, one added to each (Laplace); (vocabulary,)."""
    counts = np.zeros(task.vocabulary)
    for start in range(0, len(blocks.ids), _CHUNK):
        counts += np.bincount(blocks.ids[start : start + _CHUNK], minlength=task.vocabulary)
    if task.mask_id is not None:
        counts[list(task.special)] = 0.0
    else:
        counts[blocks.ids[0]] -= len(blocks)  # the first token of a piece is given, not asked for
    counts = np.maximum(counts, 0.0) + 1.0
    found: DoubleArray = counts / counts.sum()
    return found


def loss_of(model: PreTrainedModel, task: Task, blocks: Blocks, rows: IntArray) -> Tensor:
    """Mean cross-entropy of a batch; what is hidden comes from torch's generator."""
    losses, _ = task.losses(model, *blocks.padded(rows, task.pad_id))
    return losses.mean()


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))
