"""Four ways to tune a pre-trained model: which of its weights learn, and how they come back as one model.

    full      every weight
    lora      a low-rank change of each linear layer (Hu et al., 2021), through peft
    adalora   the same, its ranks moved to where they matter (Zhang et al., 2023), through peft
    adapter   small networks between the layers (Houlsby et al., 2019; Pfeiffer et al., 2020): adapter.py

peft takes long to import and is imported only by the two methods that are its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from intently.errors import InputError, MissingExtraError
from intently.language import adapter
from intently.language.quiet import quiet

if TYPE_CHECKING:
    from transformers import PreTrainedModel

METHODS = ("full", "lora", "adalora", "adapter")
_FINAL, _FIRST = 0.3, 0.1  # shares of AdaLoRA's steps with fixed ranks: at its end, at its start
_ORTHOGONAL = 0.1  # weight of AdaLoRA's orthogonality; the paper tries 0.1 to 0.5
_SPARE = 1.5  # AdaLoRA starts with so many times its final rank


@dataclass(frozen=True)
class Method:
    """How to tune.

    rank, alpha, dropout: of LoRA and AdaLoRA; the change is scaled by alpha / rank. bottleneck, placement: of
    adapters. Raises InputError for what is not allowed.
    """

    name: str = "lora"
    rank: int = 8
    alpha: int = 16
    dropout: float = 0.05
    bottleneck: int = 32
    placement: str = "pfeiffer"

    def __post_init__(self) -> None:
        if self.name not in METHODS:
            raise InputError(f"unknown method {self.name!r}; allowed: {', '.join(METHODS)}", field="method")
        if self.placement not in adapter.PLACEMENTS:
            allowed = ", ".join(adapter.PLACEMENTS)
            raise InputError(f"unknown placement {self.placement!r}; allowed: {allowed}", field="placement")
        for field in ("rank", "alpha", "bottleneck"):
            if getattr(self, field) < 1:
                raise InputError(f"{field} must be 1 or more, got {getattr(self, field)}", field=field)
        if not 0.0 <= self.dropout < 1.0:
            raise InputError(f"dropout must be at least 0 and below 1, got {self.dropout}", field="dropout")


def attach(
    model: PreTrainedModel, method: Method, *, fresh: tuple[str, ...] = (), steps: int = 0
) -> nn.Module:
    """`model`, changed in place, with only the weights of `method` and the `fresh` ones left to train.

    fresh: starts of the names of new parts (a head), which are trained whatever the method. steps: of the
    whole training; AdaLoRA plans its ranks by them.

    Raises InputError for layers that the method does not know, MissingExtraError without peft.
    """
    if method.name == "full":
        model.requires_grad_(True)
        return _module(model)
    model.requires_grad_(False)
    tuned = _module(model)
    if method.name == "adapter":
        if not adapter.bottlenecks(model):
            adapter.insert(model, method.placement, method.bottleneck)
        for bottleneck in adapter.bottlenecks(model):
            bottleneck.requires_grad_(True)
    else:
        tuned = _low_rank(model, method, steps)
    for name, parameter in model.named_parameters():
        if fresh and name.startswith(fresh):
            parameter.requires_grad_(True)
    return tuned


def after_step(model: nn.Module, step: int) -> None:
    """After step number `step` (from 1) and before its gradients are dropped: AdaLoRA moves its ranks."""
    allocate = getattr(getattr(model, "base_model", None), "update_and_allocate", None)
    if allocate is not None:
        allocate(step)


def merged(model: nn.Module) -> PreTrainedModel:
    """One plain model: low-rank changes are added to the weights, bottlenecks stay where they are."""
    if hasattr(model, "merge_and_unload"):
        folded: PreTrainedModel = model.merge_and_unload()  # type: ignore[operator]
        return folded
    plain: PreTrainedModel = model
    return plain


def save(model: PreTrainedModel, folder: Path) -> None:
    """A merged model into a folder for transformers; bottlenecks beside it (adapter.py)."""
    folder.mkdir(parents=True, exist_ok=True)
    adapter.save(model, folder)


def trainable(model: nn.Module) -> tuple[int, int]:
    """(trained, all) parameters.

    >>> layer = nn.Linear(2, 3).requires_grad_(False)
    >>> trainable(nn.Sequential(layer, nn.Linear(3, 1)))
    (4, 13)
    """
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(size for size, on in sizes if on), sum(size for size, _ in sizes)


def targets(model: PreTrainedModel) -> list[str]:
    """Names of all linear layers inside the transformer layers, but those that carry a bottleneck."""
    inside = {id(part) for layer in adapter.layers(model) for part in layer.modules()}
    return [
        name
        for name, module in model.named_modules()
        if id(module) in inside and _is_linear(module) and "bottleneck" not in f"{name}.{_parts(module)}"
    ]


def _parts(module: nn.Module) -> str:
    return " ".join(name for name, _ in module.named_children())


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def _low_rank(model: PreTrainedModel, method: Method, steps: int) -> nn.Module:
    try:
        from peft import AdaLoraConfig, LoraConfig, get_peft_model
    except ImportError as error:
        raise MissingExtraError("peft", "train") from error
    names = targets(model)
    common: dict[str, Any] = {
        "lora_alpha": method.alpha,
        "lora_dropout": method.dropout,
        "target_modules": names,
        "fan_in_fan_out": not isinstance(model.get_submodule(names[0]), nn.Linear),  # GPT-2's Conv1D
    }
    if method.name == "lora":
        with quiet():
            return _module(get_peft_model(model, LoraConfig(r=method.rank, **common)))
    if steps < 10:
        raise InputError(
            f"adalora plans its ranks over at least 10 steps, got {steps}", hint="train for longer"
        )
    planned = AdaLoraConfig(
        init_r=max(method.rank + 1, round(method.rank * _SPARE)),
        target_r=method.rank,
        tinit=max(1, int(steps * _FIRST)),
        tfinal=int(steps * _FINAL),
        deltaT=max(1, steps // 100),
        total_step=steps,
        **common,
    )
    # peft divides by the rank that a layer has, plain LoRA by the one it began with
    with quiet():
        tuned = _module(get_peft_model(model, planned))
    _keep_orthogonal(tuned)
    return tuned


def _module(model: Any) -> nn.Module:
    tuned: nn.Module = model
    return tuned


def _keep_orthogonal(model: nn.Module) -> None:
    """AdaLoRA's penalty of |P P' - I| for both factors, added to their gradients.

    peft adds it to a loss that the model itself computes; ours are computed outside.
    """
    factors = [
        (name, p)
        for name, p in model.named_parameters()
        if p.requires_grad and (".lora_A." in name or ".lora_B." in name)
    ]
    for name, parameter in factors:
        tall = ".lora_B." in name
        parameter.register_hook(  # type: ignore[no-untyped-call]
            partial(_with_penalty, parameter, tall, _ORTHOGONAL / len(factors))
        )


def _with_penalty(parameter: Tensor, tall: bool, weight: float, gradient: Tensor) -> Tensor:
    """gradient + weight * d|P P' - I|_F / dP; P is (rank, size), or its transpose when `tall`."""
    with torch.no_grad():
        p = parameter.T if tall else parameter
        off = p @ p.T - torch.eye(len(p), dtype=p.dtype, device=p.device)  # (rank, rank)
        slope = 2.0 * off @ p / off.norm().clamp_min(1e-12)
        result: Tensor = gradient + weight * (slope.T if tall else slope)
    return result
