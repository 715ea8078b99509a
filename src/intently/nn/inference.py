"""The networks of layers.py and deep.py in numpy: answers without torch, and one history is quick."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Weights = Mapping[str, NDArray[Any]]


def encode(x: Floats, groups: list[tuple[int, int]], weights: Weights, heads: int) -> Floats:
    """(tokens, d) -> (tokens, d): layers.Encoder in eval mode, `weights` named as in its state_dict."""
    blocks = sum(name.endswith("attention.distance") for name in weights)
    for index in range(blocks):
        at = f"blocks.{index}."
        inward = linear(norm(x, weights, at + "attention_norm"), weights, at + "attention.inward")
        attended = attend(inward, groups, weights[at + "attention.distance"], heads)
        x = x + linear(attended, weights, at + "attention.outward")
        wide = gelu(linear(norm(x, weights, at + "forward_norm"), weights, at + "widen"))
        x = x + linear(wide, weights, at + "narrow")
    return norm(x, weights, "norm")


def attend(inward: Floats, groups: list[tuple[int, int]], distance: Floats, heads: int) -> Floats:
    """(tokens, 3 d) -> (tokens, d): causal attention inside each sequence."""
    d = inward.shape[1] // 3
    out = np.empty((len(inward), d), np.float32)
    start = 0
    for count, length in groups:
        stop = start + count * length
        part = inward[start:stop].reshape(count, length, 3, heads, d // heads)
        query, key, value = part.transpose(2, 0, 3, 1, 4)  # (count, heads, length, width) each
        scores = query @ (key.swapaxes(2, 3) * np.float32((d // heads) ** -0.5))
        scores += causal_bias(distance, length)
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(-1, keepdims=True)
        out[start:stop] = (scores @ value).swapaxes(1, 2).reshape(stop - start, d)
        start = stop
    return out


def causal_bias(distance: Floats, length: int) -> Floats:
    """(heads, length, length): the bias of each distance back; -inf towards the future."""
    step = np.arange(length)
    back = step[:, None] - step[None, :]
    bias = distance[:, np.clip(back, 0, distance.shape[1] - 1)]
    bias[:, back < 0] = -np.inf
    return bias


def norm(x: Floats, weights: Weights, name: str) -> Floats:
    """Layer normalisation over the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    centred /= np.sqrt(np.einsum("td,td->t", centred, centred) / x.shape[1] + 1e-5)[:, None]
    out: Floats = centred * weights[name + ".weight"] + weights[name + ".bias"]
    return out


def linear(x: Floats, weights: Weights, name: str) -> Floats:
    """x @ W.T + b."""
    out: Floats = x @ weights[name + ".weight"].T + weights[name + ".bias"]
    return out


def gelu(x: Floats) -> Floats:
    """Gaussian error linear unit, tanh form."""
    inner = np.float32(0.7978845608) * (x + np.float32(0.044715) * x * x * x)
    out: Floats = np.float32(0.5) * x * (1 + np.tanh(inner))
    return out


def deep(x: Floats, weights: Weights) -> Floats:
    """(rows, width) -> (rows,): deep.Deep in eval mode, `weights` named as in its state_dict."""
    last = len(weights) // 2 - 1
    for index in range(last):
        x = np.maximum(linear(x, weights, f"layers.{index}"), 0)
    return linear(x, weights, f"layers.{last}")[:, 0]


def deep_slope(x: Floats, weights: Weights) -> Floats:
    """(rows, width): how much `deep` rises with each input, at each row."""
    last = len(weights) // 2 - 1
    active = []
    for index in range(last):
        x = np.maximum(linear(x, weights, f"layers.{index}"), 0)
        active.append(x > 0)
    slope: Floats = np.repeat(weights[f"layers.{last}.weight"], len(x), axis=0)
    for index in range(last - 1, -1, -1):
        slope = (slope * active[index]) @ weights[f"layers.{index}.weight"]
    return slope
