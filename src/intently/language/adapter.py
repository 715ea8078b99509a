"""Bottleneck adapters: a small network behind the projections of every layer, the rest of the model frozen.

Houlsby et al. (2019) put one behind the attention and one behind the feed-forward part of each layer;
Pfeiffer et al. (2020) only the second. Ours sit where Houlsby's do, before the residual is added, in both
placements; Pfeiffer's own search also moved the layer norms, we leave them as they are. The way up starts at
nought, so that the model begins as what it was.

The weights live inside the projection they follow, as `<projection>.bottleneck.*`. A saved folder is that of
the base model, and beside it adapter.safetensors and adapter.json: transformers loads the base, `restore`
puts the bottlenecks in.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from intently.errors import ArtifactError, InputError
from intently.language.quiet import quiet

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PLACEMENTS = ("pfeiffer", "houlsby")
WEIGHTS, SETTINGS = "adapter.safetensors", "adapter.json"
_MARK = ".bottleneck."
_AFTER_ATTENTION = (
    "attention.output.dense",
    "attention.out_lin",
    "attn.c_proj",
)  # BERT and kin, DistilBERT, GPT-2
_AFTER_FORWARD = ("output.dense", "ffn.lin2", "mlp.c_proj")


class Bottleneck(nn.Module):
    """x + up(gelu(down(x))), (..., size) -> (..., size); the identity when it is new."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.down = nn.Linear(size, width)
        self.up = nn.Linear(width, size)
        nn.init.normal_(self.down.weight, std=0.02)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """What the layer said, and what the bottleneck adds."""
        added: Tensor = self.up(nn.functional.gelu(self.down(x)))
        return x + added


def layers(model: nn.Module) -> nn.ModuleList:
    """The transformer layers of any model: its heaviest list of modules of one class."""
    found: nn.ModuleList | None = None
    heaviest = 0
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) and len({type(part) for part in module}) == 1:
            weight = sum(p.numel() for p in module.parameters())
            if weight > heaviest:
                found, heaviest = module, weight
    if found is None:
        raise InputError(f"{type(model).__name__} has no list of transformer layers")
    return found


def insert(model: PreTrainedModel, placement: str, width: int) -> int:
    """Put new bottlenecks of `width` into `model`; how many. Raises InputError for an unknown layout."""
    if placement not in PLACEMENTS:
        raise InputError(
            f"unknown placement {placement!r}; allowed: {', '.join(PLACEMENTS)}", field="placement"
        )
    if width < 1:
        raise InputError(f"bottleneck must be 1 or wider, got {width}", field="bottleneck")
    names = _AFTER_FORWARD + (_AFTER_ATTENTION if placement == "houlsby" else ())
    wanted = len(layers(model)) * (2 if placement == "houlsby" else 1)
    places = [place for layer in layers(model) for name, place in layer.named_modules() if name in names]
    if len(places) != wanted:
        raise InputError(
            f"adapters know the layers of BERT, RoBERTa, DistilBERT and GPT-2, not of {type(model).__name__}",
            hint="use the method lora, which takes any layers",
        )
    for place in places:
        weight: Tensor = place.weight
        new = Bottleneck(output_size(place), width)
        place.add_module("bottleneck", new.to(device=weight.device, dtype=weight.dtype))
        place.register_forward_hook(_through)
    return len(places)


def _through(projection: nn.Module, _given: Any, out: Tensor) -> Tensor:
    result: Tensor = projection.bottleneck(out)  # type: ignore[operator]
    return result


def output_size(projection: nn.Module) -> int:
    """Width of what a Linear, or GPT-2's Conv1D, puts out."""
    size: Any = projection.out_features if isinstance(projection, nn.Linear) else projection.nf
    return int(size)


def bottlenecks(model: nn.Module) -> list[Bottleneck]:
    """All bottlenecks of a model; none for a plain one."""
    return [module for module in model.modules() if isinstance(module, Bottleneck)]


def save(model: PreTrainedModel, folder: Path) -> None:
    """The base model into `folder` as transformers saves it, and its bottlenecks, if any, beside it."""
    state = model.state_dict()
    plain = {name: value for name, value in state.items() if _MARK not in name}
    with quiet():
        model.save_pretrained(folder, state_dict=plain)
    for name in (WEIGHTS, SETTINGS):
        (folder / name).unlink(missing_ok=True)
    found = bottlenecks(model)
    if not found:
        return
    start = f"{model.base_model_prefix}."
    inner = {name.removeprefix(start): value.contiguous() for name, value in state.items() if _MARK in name}
    save_file(inner, folder / WEIGHTS)
    placement = "houlsby" if len(found) > len(layers(model)) else "pfeiffer"
    settings = {"placement": placement, "bottleneck": found[0].down.out_features}
    (folder / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def restore(model: PreTrainedModel, folder: Path) -> None:
    """Put the bottlenecks saved in `folder` into `model`; nothing for a folder without any.

    Raises ArtifactError when the files are damaged or do not fit the model.
    """
    if not (folder / SETTINGS).exists():
        return
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        weights = load_file(folder / WEIGHTS)
        insert(model, str(settings["placement"]), int(settings["bottleneck"]))
        base = getattr(model, model.base_model_prefix, model)
        _, strange = base.load_state_dict(weights, strict=False)
        wanted = {name for name in base.state_dict() if _MARK in name}
        if strange or wanted != set(weights):
            raise ValueError("the weights are those of another model")
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, InputError) as error:
        raise ArtifactError(
            f"{folder / WEIGHTS} does not fit the model beside it: {str(error)[:200]}",
            hint="copy the model again",
        ) from error
    with torch.no_grad():
        model.eval()
