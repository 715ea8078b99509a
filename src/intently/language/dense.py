"""The linear layer that a sentence-transformers folder may have after its pooling.

Layout: modules.json names a module of type ...Dense and its folder (2_Dense here), which holds config.json
(in_features, out_features, activation_function) and model.safetensors (linear.weight, linear.bias). A tuned
encoder keeps the whitening that it was tuned under in such a layer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from intently.errors import ArtifactError, InputError
from intently.schema import FloatArray

ACTIVATIONS = ("Identity", "Tanh")
_FOLDER = "2_Dense"
_TYPE = "sentence_transformers.models."


@dataclass(frozen=True)
class Dense:
    """activation(weight v + bias); `on_unit`: v was scaled to length 1 before.

    weight: (out, in) float32; bias: (out,).
    """

    weight: FloatArray
    bias: FloatArray
    activation: str = "Identity"
    on_unit: bool = False


def read(folder: Path, modules: list[dict[str, Any]]) -> Dense | None:
    """The layer that `modules` (the content of modules.json) names; None where it names none.

    Raises InputError for one that cannot be used here, ArtifactError for a damaged file.
    """
    kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    if "Dense" not in kinds:
        return None
    if kinds.count("Dense") > 1:
        raise InputError(
            f"{folder / 'modules.json'} asks for {kinds.count('Dense')} Dense layers; one is read"
        )
    at = kinds.index("Dense")
    place = folder / str(modules[at].get("path", ""))
    try:
        config = json.loads((place / "config.json").read_text(encoding="utf-8"))
        arrays = load_file(place / "model.safetensors")
        weight = arrays["linear.weight"].astype(np.float32)
        bias = arrays.get("linear.bias", np.zeros(len(weight), np.float32)).astype(np.float32)
        activation = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ArtifactError(f"{place} is damaged: {error}", hint="copy the model again") from error
    name = activation.rpartition(".")[2]
    if name not in ACTIVATIONS:
        raise InputError(f"{place / 'config.json'} asks for {name}; allowed: {', '.join(ACTIVATIONS)}")
    return Dense(weight, bias, name, on_unit="Normalize" in kinds[:at])


def write(folder: Path, dense: Dense) -> None:
    """Put the layer into a folder, between its pooling and the last scaling to length 1."""
    place = folder / _FOLDER
    place.mkdir(parents=True, exist_ok=True)
    out, into = dense.weight.shape
    module = "linear.Identity" if dense.activation == "Identity" else "activation.Tanh"
    config = {
        "in_features": into,
        "out_features": out,
        "bias": True,
        "activation_function": f"torch.nn.modules.{module}",
    }
    (place / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    arrays = {"linear.weight": np.ascontiguousarray(dense.weight), "linear.bias": dense.bias}
    save_file(arrays, place / "model.safetensors", metadata={"format": "pt"})
    unit = [("Normalize", "2_Normalize")] if dense.on_unit else []
    steps = [
        ("Transformer", ""),
        ("Pooling", "1_Pooling"),
        *unit,
        ("Dense", _FOLDER),
        ("Normalize", "3_Normalize"),
    ]
    modules = [
        {"idx": row, "name": str(row), "path": path, "type": _TYPE + kind}
        for row, (kind, path) in enumerate(steps)
    ]
    (folder / "modules.json").write_text(json.dumps(modules, indent=1), encoding="utf-8")
