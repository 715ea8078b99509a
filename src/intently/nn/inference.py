"""Networks of this room in numpy: answers without torch, and one history is quick."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intently.nn.gaps import within

Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Weights = Mapping[str, NDArray[Any]]

BAG_LENGTH = np.float32(8.0)
"""Of a history's vector before the generator's layers: about that of a normal vector of 64."""

JUDGE_LENGTH = np.float32(4.0)
"""Of a history's vector in the discriminator."""

ROOT, ONE, HALF = np.float32(0.7978845608), np.float32(1), np.float32(0.5)
CUBE = ROOT * np.float32(0.044715)
"""Constants of `gelu`; the root is that of 2 / pi."""


def encode(
    x: Floats,
    groups: list[tuple[int, int]],
    weights: Weights,
    heads: int,
    times: Doubles | None = None,
) -> Floats:
    """(tokens, d) -> (sequences, d): what layers.Encoder in eval mode gives for each sequence's last token.

    The last block is asked about the last tokens only: no other one's answer is read. weights: named as in
    the state_dict. times: (tokens,) seconds, needed where the encoder is timed.
    """
    blocks = sum(name.endswith("attention.distance") for name in weights)
    for index in range(blocks):
        at = f"blocks.{index}."
        inward = linear(norm(x, weights, at + "attention_norm"), weights, at + "attention.inward")
        latest = index == blocks - 1
        gap = weights.get(at + "attention.gap")
        gaps = None if gap is None or times is None else [gap[:, b] for b in within(times, groups, latest)]
        attended = attend(inward, groups, weights[at + "attention.distance"], heads, latest, gaps)
        if latest:
            x = x[np.cumsum(np.concatenate([np.full(count, length) for count, length in groups])) - 1]
        x = x + linear(attended, weights, at + "attention.outward")
        wide = gelu(linear(norm(x, weights, at + "forward_norm"), weights, at + "widen"))
        x = x + linear(wide, weights, at + "narrow")
    return norm(x, weights, "norm")


def attend(
    inward: Floats,
    groups: list[tuple[int, int]],
    distance: Floats,
    heads: int,
    latest: bool = False,
    gaps: list[Floats] | None = None,
) -> Floats:
    """(tokens, 3 d) -> (tokens, d): causal attention inside each sequence; of its last token if `latest`.

    gaps: (heads, count, length or 1, length) bias of the time between two tokens, of each group.
    """
    d = inward.shape[1] // 3
    out = []
    start = 0
    for index, (count, length) in enumerate(groups):
        stop = start + count * length
        part = inward[start:stop].reshape(count, length, 3, heads, d // heads)
        query, key, value = part.transpose(2, 0, 3, 1, 4)  # (count, heads, length, width) each
        asking = slice(length - 1 if latest else 0, length)
        scores = query[:, :, asking] @ (key.swapaxes(2, 3) * np.float32((d // heads) ** -0.5))
        scores += causal_bias(distance, length)[:, asking]
        if gaps is not None:
            scores += gaps[index].swapaxes(0, 1)
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(-1, keepdims=True)
        out.append((scores @ value).swapaxes(1, 2).reshape(-1, d))
        start = stop
    return np.concatenate(out)


def bagged(
    table: Floats, items: Ints, starts: Ints, kinds: Floats | None = None, codes: Bytes | None = None
) -> Floats:
    """(tokens, d): the mean vector of each token's items, and that of the kinds of their events.

    starts: (tokens + 1,). kinds: (n_kinds, d), codes: the row of each item's event; None: not told apart.
    """
    vectors = table[items]
    if kinds is not None and codes is not None:
        vectors = vectors + kinds[codes]
    if len(items) == len(starts) - 1:
        return vectors
    out: Floats = np.add.reduceat(vectors, starts[:-1])
    out /= np.diff(starts)[:, None]
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
    out: Floats = x * x
    out *= CUBE
    out += ROOT
    out *= x
    np.tanh(out, out=out)
    out += ONE
    out *= x
    out *= HALF
    return out


def log_odds(x: Floats, weights: Weights) -> Floats:
    """(rows, width) -> (rows,): deep.Deep or cross.Cross in eval mode, `weights` as in its state_dict."""
    out = deep(x, weights)
    if "readout.weight" in weights:
        out += (cross(x, weights)[-1] @ weights["readout.weight"].T)[:, 0]
    return out


def log_odds_slope(x: Floats, weights: Weights) -> Floats:
    """(rows, width): how much `log_odds` rises with each input, at each row."""
    slope = deep_slope(x, weights)
    if "readout.weight" in weights:
        slope += cross_slope(x, weights)
    return slope


def deep(x: Floats, weights: Weights) -> Floats:
    """(rows, width) -> (rows,): deep.Deep in eval mode."""
    last = _layers(weights) - 1
    for index in range(last):
        x = np.maximum(linear(x, weights, f"layers.{index}"), 0)
    return linear(x, weights, f"layers.{last}")[:, 0]


def deep_slope(x: Floats, weights: Weights) -> Floats:
    """(rows, width): how much `deep` rises with each input, at each row."""
    last = _layers(weights) - 1
    active = []
    for index in range(last):
        x = np.maximum(linear(x, weights, f"layers.{index}"), 0)
        active.append(x > 0)
    slope: Floats = np.repeat(weights[f"layers.{last}.weight"], len(x), axis=0)
    for index in range(last - 1, -1, -1):
        slope = (slope * active[index]) @ weights[f"layers.{index}.weight"]
    return slope


def _layers(weights: Weights) -> int:
    return sum(name.startswith("layers.") for name in weights) // 2


def cross(x: Floats, weights: Weights) -> list[Floats]:
    """(rows, width) -> the same, after each of the layers of cross.Cross; the first is x itself."""
    at = [x]
    for index in range(sum(name.startswith("crosses.") for name in weights) // 2):
        inner = at[-1] @ weights[f"lower.{index}.weight"].T if f"lower.{index}.weight" in weights else at[-1]
        at.append(x * linear(inner, weights, f"crosses.{index}") + at[-1])
    return at


def cross_slope(x: Floats, weights: Weights) -> Floats:
    """(rows, width): how much the read-out of the cross layers rises with each input."""
    at = cross(x, weights)
    slope: Floats = np.repeat(weights["readout.weight"], len(x), axis=0)
    first = np.zeros_like(x)  # what reaches x through x * (...)
    for index in range(len(at) - 2, -1, -1):
        lower = weights.get(f"lower.{index}.weight")
        inner = at[index] if lower is None else at[index] @ lower.T
        first += slope * linear(inner, weights, f"crosses.{index}")
        back = (slope * x) @ weights[f"crosses.{index}.weight"]
        slope = slope + (back if lower is None else back @ lower)
    return slope + first


def pooled(
    candidate: Floats, items: Floats, ties: Floats, facts: Floats, there: Floats, weights: Weights
) -> Floats:
    """(rows, pooled width): the attention of interest.Interest; inputs as in its `forward`."""
    heard = ties @ weights["attention.ties.weight"].T + linear(facts, weights, "attention.facts")
    if candidate.shape[1]:
        heard += (candidate @ weights["attention.candidate.weight"].T)[:, None]
        heard += items @ weights["attention.item.weight"].T
        heard += (items * candidate[:, None]) @ weights["attention.product.weight"].T
    weight = linear(np.maximum(heard, 0), weights, "weigh")[..., 0] * there  # (rows, most)
    parts = [np.einsum("pm,pmd->pd", weight, part) for part in (items, ties) if part.shape[2]]
    if candidate.shape[1]:
        parts.append(weight.sum(axis=1, keepdims=True))
    out: Floats = np.concatenate(parts, axis=1) * np.float32(items.shape[1] ** -0.5)
    return out


def generate(bag: Floats, weights: Weights) -> Floats:
    """(rows, d) -> (rows, n_items) logits: adversarial.Generator behind its bag, `own` rows of length one."""
    x = unit(bag) * BAG_LENGTH
    ahead = unit(x + linear(gelu(linear(x, weights, "generator.widen")), weights, "generator.narrow"))
    out: Floats = (ahead * np.exp(weights["generator.log_scale"])) @ weights["generator.own"].T
    return out


def discriminate(bag: Floats, weights: Weights) -> Floats:
    """(rows, d) -> (rows, n_items) log-odds: adversarial.Discriminator behind its bag."""
    out: Floats = (unit(bag) * JUDGE_LENGTH) @ weights["judge.outward"].T + weights["judge.bias"]
    return out


def unit(vectors: Floats) -> Floats:
    """Rows scaled to length one; zeros stay.

    >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    out: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return out
