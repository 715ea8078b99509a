"""The towers as two ONNX graphs, each of them complete: raw features in, vectors of length one out.

item_tower.onnx: `item` (n,) int64, dense id + 1 of a known item, 0 for a new one; `tokens` (n, 8) int64,
places of its attributes from 1, 0 for none; `price` (n,) float, NaN when unknown; `text` (n, width) float,
zeros without a text, an input only where the towers were trained with texts. -> `vectors` (n, d).

user_tower.onnx: `items` (b, length, d) vectors of what was met; `steps` (b, length) int64 moments back, 0
for the latest; `days` (b, length) float days back, 0 where there is no clock; `share` (b, length) float, one
over the items of the moment, 0 for padding; `context` (b, 4) as `moment_of_asking`. -> `vectors` (b, d).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from intently.nn.two_tower import CONTEXT, ItemTower, UserTower

Weights = Mapping[str, NDArray[Any]]


class Reader(Protocol):
    """How raw features become numbers: see models/item_features.py."""

    @property
    def middle(self) -> NDArray[Any]:
        """(raw,) mean text vector."""

    @property
    def axes(self) -> NDArray[Any]:
        """(raw, width) directions of text."""

    @property
    def price(self) -> NDArray[Any]:
        """(2,) mean and deviation of log(1 + price)."""


class _Items(nn.Module):
    middle: Tensor
    axes: Tensor
    own: Tensor

    def __init__(self, tower: ItemTower, reader: Reader, own: NDArray[Any]) -> None:
        super().__init__()
        self.tower = tower
        self.register_buffer("middle", torch.from_numpy(reader.middle))
        self.register_buffer("axes", torch.from_numpy(reader.axes))
        self.register_buffer("own", torch.cat([torch.zeros(1, dtype=torch.long), torch.from_numpy(own)]))
        self.mean, self.deviation = (float(value) for value in reader.price)

    def forward(self, item: Tensor, tokens: Tensor, price: Tensor, text: Tensor | None = None) -> Tensor:
        known = 1.0 - torch.isnan(price).float()
        logs = torch.log1p(torch.nan_to_num(price, nan=0.0))
        priced = torch.stack([(logs - self.mean) / self.deviation * known, known], dim=1)
        if text is None:
            said = price.new_zeros(len(price), self.axes.shape[1])
        else:
            written = (text.abs().sum(1, keepdim=True) > 0).float()
            said = (text - self.middle) @ self.axes * written
        out: Tensor = self.tower(said, tokens, priced, self.own[item])
        return out


class _Users(nn.Module):
    def __init__(self, tower: UserTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, items: Tensor, steps: Tensor, days: Tensor, share: Tensor, context: Tensor) -> Tensor:
        recency = self.tower.recency
        weights = (recency.steps[steps] - recency.slope * torch.log1p(days)).exp() * share
        now = share * (steps == 0).float()
        met = (items * weights[:, :, None]).sum(1)
        out: Tensor = self.tower(met, (items * now[:, :, None]).sum(1), context)
        return out


def export(folder: Path, items: Weights, users: Weights, reader: Reader, own: NDArray[Any]) -> None:
    """Write both graphs into `folder`. own: (n_items,) the row of each item's own vector, 0 for none."""
    width, d = items["text"].shape
    hidden, tokens = len(items["deep.widen.bias"]), len(items["attributes.weight"]) - 1
    item_tower = ItemTower(d, width, tokens, len(items["own.weight"]) - 1, hidden, 0.0)
    item_tower.load_state_dict(_tensors(items))
    longest, inside = len(users["recency.steps"]), len(users["deep.widen.bias"])
    user_tower = UserTower(d, longest, 0.5, inside, 0.0)
    user_tower.load_state_dict(_tensors(users))

    one = torch.ones(2, 3)
    some: dict[str, Tensor] = {
        "item": torch.tensor([0, 1]),
        "tokens": torch.zeros(2, 8, dtype=torch.long),
        "price": torch.tensor([1.0, float("nan")]),
    }
    if width:
        some["text"] = torch.ones(2, len(reader.middle))
    _write(_Items(item_tower, reader, own), some, folder / "item_tower.onnx", {})
    past: dict[str, Tensor] = {
        "items": torch.ones(2, 3, d),
        "steps": torch.zeros(2, 3, dtype=torch.long),
        "days": one,
        "share": one,
        "context": torch.zeros(2, CONTEXT),
    }
    lengths = {name: {1: "length"} for name in ("items", "steps", "days", "share")}
    _write(_Users(user_tower), past, folder / "user_tower.onnx", lengths)


def _write(module: nn.Module, inputs: dict[str, Tensor], path: Path, more: dict[str, dict[int, str]]) -> None:
    axes = {name: {0: "batch"} | more.get(name, {}) for name in inputs} | {"vectors": {0: "batch"}}
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            str(path),
            dynamo=False,  # its graph runs faster than the new exporter's
            input_names=list(inputs),
            output_names=["vectors"],
            dynamic_axes=axes,
            opset_version=17,
        )


def _tensors(weights: Weights) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in weights.items()}
