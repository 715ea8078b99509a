"""The sequence encoder in numpy, one token at a time: what earlier tokens gave is kept, not read again.

In causal attention a token never changes those before it, so their keys and values can stay (Shazeer,
2019: incremental inference). Here the bias is by distance back, so that nothing kept depends on where a
sequence begins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from intently.nn.gaps import buckets
from intently.nn.inference import Doubles, Floats, Weights, causal_bias, gelu


@dataclass(frozen=True, slots=True)
class Block:
    """One block's weights, laid out for one token.

    Each norm's scale and shift are in the layer behind it. Every norm begins by taking off the mean, so
    what is added to the stream is made without a mean here; of a norm only the division by the length is
    left. The query's 1 / sqrt(width) is in its weights.
    """

    inward: Floats  # (d, 3 d)
    inward_bias: Floats
    nearest: Floats  # (heads, span): the bias of each distance, the furthest first
    before: Floats  # (heads, span, span): the same from token to token, -inf towards the future
    outward: Floats  # (d, d)
    outward_bias: Floats
    widen: Floats  # (d, 4 d)
    widen_bias: Floats
    narrow: Floats  # (4 d, d)
    narrow_bias: Floats
    gap: Floats | None  # (heads, BUCKETS), where the encoder is timed


@dataclass(frozen=True, slots=True)
class Kept:
    """What tokens that were read gave to each block's attention; never changed, only followed."""

    keys: Floats  # (blocks, heads, tokens, width)
    values: Floats

    def __len__(self) -> int:
        return int(self.keys.shape[2])

    def before(self, token: int) -> Kept:
        """Only what the tokens before this one gave."""
        return Kept(self.keys[:, :, :token], self.values[:, :, :token])


class Cached:
    """A fitted encoder that reads a whole sequence, or one token after those that it has read.

    weights: as in the state_dict of layers.Encoder. Answers equal those of `inference.encode` to float
    rounding; a sequence may have at most `span` tokens.
    """

    def __init__(self, weights: Weights, heads: int) -> None:
        self.heads = heads
        count = sum(name.endswith("attention.distance") for name in weights)
        self.blocks = [_laid_out(weights, f"blocks.{index}.", heads) for index in range(count)]
        self.scale, self.shift = weights["norm.weight"], weights["norm.bias"]
        self.d = len(self.scale)
        self.width = self.d // heads
        self.timed = any(block.gap is not None for block in self.blocks)

    def read(self, tokens: Floats, times: Doubles) -> tuple[Floats, Kept]:
        """(tokens, d) of one sequence and its times -> ((d,) what comes after the last, what was kept)."""
        n = len(tokens)
        ago = buckets(times[:, None] - times) if self.timed else None
        shape = (len(self.blocks), self.heads, n, self.width)
        keys, values = np.empty(shape, np.float32), np.empty(shape, np.float32)
        x: Floats = tokens - tokens.mean(axis=1, keepdims=True)
        for index, block in enumerate(self.blocks):
            inward = x @ block.inward
            inward *= self._per_lengths(x)
            inward += block.inward_bias
            query, keys[index], values[index] = inward.reshape(n, 3, self.heads, -1).transpose(1, 2, 0, 3)
            last = index == len(self.blocks) - 1  # of whose answers the last token's alone is read
            asking = slice(n - 1 if last else 0, n)
            x, query = x[asking], query[:, asking]
            scores = query @ keys[index].swapaxes(1, 2)  # (heads, asking, n)
            scores += block.before[:, asking, :n]
            if block.gap is not None and ago is not None:
                scores += block.gap[:, ago[asking]]
            scores -= np.maximum.reduce(scores, axis=2, keepdims=True)
            np.exp(scores, out=scores)
            mixed = scores @ values[index]
            mixed /= np.add.reduce(scores, axis=2, keepdims=True)
            came = mixed.swapaxes(0, 1).reshape(len(x), -1) @ block.outward
            came += block.outward_bias
            x = x + came
            wide = x @ block.widen
            wide *= self._per_lengths(x)
            wide += block.widen_bias
            x += gelu(wide) @ block.narrow
            x += block.narrow_bias
        ahead: Floats = x[-1] * self._per_length(x[-1]) * self.scale + self.shift
        return ahead, Kept(keys, values)

    def step(self, token: Floats, kept: Kept, times: Doubles) -> tuple[Floats, Kept]:
        """(d,) the next token -> ((d,) what comes after it, what is kept with it).

        times: (len(kept) + 1,) seconds of all tokens, this one's last; looked at where the encoder is timed.
        """
        n = len(kept)
        back = buckets(times[-1] - times) if self.timed else None
        shape = (len(self.blocks), self.heads, n + 1, self.width)
        keys, values = np.empty(shape, np.float32), np.empty(shape, np.float32)
        keys[:, :, :n], values[:, :, :n] = kept.keys, kept.values
        x = token - np.add.reduce(token) / np.float32(self.d)
        for block, own_keys, own_values in zip(self.blocks, keys, values, strict=True):
            inward = x.dot(block.inward)
            inward *= self._per_length(x)
            inward += block.inward_bias
            query, own_keys[:, n], own_values[:, n] = inward.reshape(3, self.heads, self.width)
            scores = np.matmul(own_keys, query[:, :, None])[:, :, 0]  # (heads, n + 1)
            scores += block.nearest[:, -n - 1 :]
            if block.gap is not None and back is not None:
                scores += block.gap[:, back]
            scores -= np.maximum.reduce(scores, axis=1, keepdims=True)
            np.exp(scores, out=scores)
            mixed = np.matmul(scores[:, None], own_values)[:, 0]  # (heads, width)
            mixed /= np.add.reduce(scores, axis=1, keepdims=True)
            x += mixed.reshape(-1).dot(block.outward)
            x += block.outward_bias
            wide = x.dot(block.widen)
            wide *= self._per_length(x)
            wide += block.widen_bias
            x += gelu(wide).dot(block.narrow)
            x += block.narrow_bias
        x *= self._per_length(x)
        x *= self.scale
        x += self.shift
        return x, Kept(keys, values)

    def _per_lengths(self, x: Floats) -> Floats:
        """(rows, 1) of `_per_length`."""
        out: Floats = np.vecdot(x, x)[:, None]
        out /= np.float32(self.d)
        out += np.float32(1e-5)
        np.sqrt(out, out=out)
        return np.reciprocal(out, out=out)

    def _per_length(self, x: Floats) -> float:
        """What the norm multiplies with; `x` has no mean."""
        return float((x.dot(x) / self.d + 1e-5) ** -0.5)


def _laid_out(weights: Weights, at: str, heads: int) -> Block:
    inward, inward_bias = _after_norm(weights, at + "attention_norm", at + "attention.inward")
    d = len(inward)
    root, distance = np.float32((d // heads) ** -0.5), weights[at + "attention.distance"]
    inward[:, :d] *= root
    inward_bias[:d] *= root
    return Block(
        inward,
        inward_bias,
        np.ascontiguousarray(distance[:, ::-1]),
        causal_bias(distance, distance.shape[1]),
        *_into_stream(weights, at + "attention.outward"),
        *_after_norm(weights, at + "forward_norm", at + "widen"),
        *_into_stream(weights, at + "narrow"),
        weights.get(at + "attention.gap"),
    )


def _after_norm(weights: Weights, norm: str, name: str) -> tuple[Floats, Floats]:
    """((d, out), (out,)): a norm's scale and shift and the layer behind it."""
    matrix = (weights[name + ".weight"] * weights[norm + ".weight"]).T
    bias = weights[name + ".weight"] @ weights[norm + ".bias"] + weights[name + ".bias"]
    return np.ascontiguousarray(matrix, np.float32), bias.astype(np.float32)


def _into_stream(weights: Weights, name: str) -> tuple[Floats, Floats]:
    """((in, d), (d,)): a layer whose outputs have no mean."""
    matrix, bias = weights[name + ".weight"].T, weights[name + ".bias"]
    centred = matrix - matrix.mean(axis=1, keepdims=True)
    return np.ascontiguousarray(centred, np.float32), (bias - bias.mean()).astype(np.float32)
