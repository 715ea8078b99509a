"""A new head begins with what the encoder says already, and not at random.

A random head pulls a pre-trained encoder apart before it has learned anything itself; Kumar et al. (2022)
fit it alone first. We do the same in closed form as it were: the encoder reads some training texts once,
and the last linear layer begins as the logistic regression on what it said. That is also the untuned model
that every tuning is compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from intently.errors import InputError
from intently.language.classifier import HEADS, inputs, short_with_short
from intently.language.reading import Reader, Tokens
from intently.schema import IntArray

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_DECAY = 4.0  # of the squared weights, over the number of texts
_STEPS = 100


def begin_head(
    model: PreTrainedModel,
    reader: Reader,
    tokens: Sequence[Tokens],
    labels: IntArray,
    weights: Tensor | None = None,
) -> None:
    """Open the head of `model` and fit its last layer to `labels`; everything else stays as it is.

    weights: of the classes, (classes,). Leaves the model in eval mode.
    """
    open_head(model)
    head = last_linear(model)
    said, rows = _said(model, head, reader, tokens)  # (n, size)
    truth = torch.from_numpy(labels[rows].astype(np.int64))
    middle, spread = said.mean(dim=0), said.std(dim=0).mean().clamp_min(1e-6)
    said = (said - middle) / spread
    weight = torch.zeros(head.out_features, said.shape[1], requires_grad=True)
    bias = torch.zeros(head.out_features, requires_grad=True)
    search = torch.optim.LBFGS([weight, bias], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def distance() -> Tensor:
        search.zero_grad()
        loss = nn.functional.cross_entropy(said @ weight.T + bias, truth, weight=weights)
        loss = loss + _DECAY / len(rows) * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    search.step(distance)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        head.weight.copy_(weight / spread)
        if head.bias is not None:
            head.bias.copy_(bias - (weight / spread) @ middle)


def open_head(model: PreTrainedModel) -> None:
    """Let the first token through: square layers between the encoder and the last linear one.

    BERT's pooler and RoBERTa's first dense layer begin as the identity (before their tanh, which is
    nearly straight there); a random one would hide what the encoder says.
    """
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear) or module.in_features != module.out_features:
            continue
        if name.endswith("pooler.dense") or name == "classifier.dense":
            nn.init.eye_(module.weight)
            nn.init.zeros_(module.bias)


def last_linear(model: PreTrainedModel) -> nn.Linear:
    """The layer whose output are the logits."""
    found = [
        module
        for name, module in model.named_modules()
        if name.startswith(HEADS) and isinstance(module, nn.Linear)
    ]
    if not found:
        raise InputError(f"{type(model).__name__} has no linear head", hint="use another model folder")
    return found[-1]


def _said(
    model: PreTrainedModel, head: nn.Linear, reader: Reader, tokens: Sequence[Tokens]
) -> tuple[Tensor, IntArray]:
    """What reaches the last layer, (n, size), and the row of each."""
    seen: list[Tensor] = []

    def look(_module: nn.Module, given: Any) -> None:
        seen.append(given[0].detach())

    found: list[Tensor] = []
    order: list[IntArray] = []
    hook = head.register_forward_pre_hook(look)
    model.eval()
    try:
        with torch.no_grad():
            for rows in short_with_short(tokens):
                given = inputs(model, reader, [tokens[row] for row in rows])
                model(**given)
                said = seen.pop()
                if said.ndim == 3:  # (batch, length, size): GPT-2 looks at the last token only
                    last = given["attention_mask"].sum(dim=1) - 1
                    said = said[torch.arange(len(rows)), last]
                found.append(said)
                order.append(rows)
    finally:
        hook.remove()
    return torch.cat(found), np.concatenate(order)
