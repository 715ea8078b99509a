"""The fastest way: a vector for each token, added up; no network runs.

The idea of distilling a static model out of an encoder is that of Tulkens and van Dongen 2024 (Model2Vec):
encode every token of the vocabulary by itself, weigh tokens by how rare they are, average. The weights are
a / (a + p(token)), those of Arora et al. 2017 (SIF). We differ in what follows. Where Model2Vec reduces
dimensions (PCA), we keep the encoder's own space, so that static and exact vectors can be compared, and fit
the tokens to the shop's own texts by two ridge regressions in closed form:

1. a linear map of the added-up vectors to the exact ones, drawn towards the identity;
2. a change of each token's own vector, drawn towards what the map made of it.

A text is the weighted sum of its tokens over the norm of their weights, plus a constant, scaled to length 1.
Order and grammar are lost: 'red on black' is 'black on red'. How much is lost is measured on texts that the
fit did not see, and kept in the sheet.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy import sparse
from scipy.linalg import solve

from intently.cache import sha256_of
from intently.errors import ArtifactError
from intently.schema import DoubleArray, FloatArray, IntArray

RECIPE = "static-1"
"""Changes whenever the same folder and texts would give another table; part of the file names."""

LEAST = 500
"""Distinct texts below which nothing is distilled."""
FIT = 6000
"""Texts fitted to, at most; the regression solves a system of this size."""

_TOKENS = 12_000  # encoded by themselves; the vectors of rarer ones are derived from their input embeddings
_RARE = 1e-3  # a of Arora et al.
_MAP, _CHANGE = 0.03, 0.5  # strengths of the two regressions; measured on two shops (docs/LOG.md)
_DERIVE = 1e-3
_HELD = 8  # every so manieth text is held out and measured on
_NEAREST = 10


@dataclass(frozen=True)
class StaticSheet:
    """What is known of a table, on texts it was not fitted to.

    fidelity, worst: cosine to the exact vectors, mean and minimum. neighbours: share of a text's ten
    nearest that stay so.
    """

    sha256: str
    fidelity: float
    worst: float
    neighbours: float
    n_texts: int


@dataclass(frozen=True)
class StaticTable:
    """table: (tokens, size) weighted vectors; weights: (tokens,); bias: (size,)."""

    table: FloatArray
    weights: FloatArray
    bias: FloatArray

    def vectors(self, ids: Sequence[Sequence[int]]) -> FloatArray:
        """Unit vectors, (n, size), of texts given as token ids without special tokens."""
        bags = bag(ids, len(self.table))
        sums = np.asarray(bags @ self.table, np.float32)
        return _unit(sums / _norms(bags, self.weights)[:, None] + self.bias)

    def save(self, path: Path) -> str:
        """Write whole or not at all, in half precision; the SHA-256 of the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}.draft")
        save_file({"table": self.table.astype(np.float16), "weights": self.weights, "bias": self.bias}, draft)
        os.replace(draft, path)
        return sha256_of(path)

    @classmethod
    def load(cls, path: Path) -> StaticTable:
        """Read it back; raises ArtifactError for a file that cannot be read."""
        try:
            found = load_file(path)
            return cls(found["table"].astype(np.float32), found["weights"], found["bias"])
        except (OSError, SafetensorError, KeyError) as error:
            raise ArtifactError(f"{path} is damaged: {error}", hint="delete it") from error


class StaticModel:
    """The table of one model folder in `home`, with its sheet."""

    def __init__(self, home: Path) -> None:
        self.path = home / f"{RECIPE}.safetensors"
        self.sheet = home / f"{RECIPE}.json"

    def read_sheet(self) -> StaticSheet | None:
        """The sheet; None when there is none, it cannot be read, or it is not the table's that is there."""
        try:
            sheet = StaticSheet(**json.loads(self.sheet.read_text(encoding="utf-8")))
            return sheet if sha256_of(self.path) == sheet.sha256 else None
        except (OSError, ValueError, TypeError):
            return None

    def write(self, table: StaticTable, sheet: dict[str, float | int]) -> StaticSheet:
        """Keep a table and what was measured of it; the sheet last, so that it is never without."""
        made = StaticSheet(sha256=table.save(self.path), **sheet)  # type: ignore[arg-type]
        draft = self.sheet.with_suffix(f".{os.getpid()}.draft")
        draft.write_text(json.dumps(asdict(made), indent=1), encoding="utf-8")
        os.replace(draft, self.sheet)
        return made


def distil(
    ids: Sequence[Sequence[int]],
    exact: FloatArray,
    alone: Callable[[IntArray], FloatArray],
    inputs: FloatArray,
) -> tuple[StaticTable, dict[str, float | int]]:
    """A table fitted to texts, and its fidelity on those of them that were held out.

    ids: each text's tokens, without special ones. exact: the texts' unit vectors, (n, size). alone: the
    encoder's vectors of single tokens. inputs: the encoder's input embeddings, (tokens, any width).
    """
    bags = bag(ids, len(inputs))
    counts = np.asarray(bags.sum(axis=0), np.float64).ravel()
    weights = (_RARE / (_RARE + counts / max(counts.sum(), 1.0))).astype(np.float32)
    tokens = _token_vectors(counts, alone, inputs)
    held = np.arange(len(ids)) % _HELD == _HELD - 1
    learned = ~held
    texts = sparse.diags(1 / _norms(bags, weights)) @ bags @ sparse.diags(weights)
    table, bias = _fit(texts.tocsr()[learned], exact[learned], tokens)
    made = StaticTable((table * weights[:, None]).astype(np.float32), weights, bias)
    seen = [row for row, out in zip(ids, held if held.any() else learned, strict=True) if out]
    return made, fidelity(made.vectors(seen), exact[held if held.any() else learned])


def fidelity(static: FloatArray, exact: FloatArray) -> dict[str, float | int]:
    """Cosines, and how many of the ten nearest are shared, between two sets of unit vectors, (n, size)."""
    cosines = (static * exact).sum(axis=1)
    return {
        "fidelity": float(cosines.mean()),
        "worst": float(cosines.min()),
        "neighbours": shared_neighbours(static, exact),
        "n_texts": len(exact),
    }


def shared_neighbours(one: FloatArray, two: FloatArray, k: int = _NEAREST) -> float:
    """Mean share of the k nearest rows that two sets of unit vectors, (n, size), agree on.

    >>> rows = np.eye(4, dtype=np.float32)
    >>> shared_neighbours(rows, rows, k=2)
    1.0
    """
    k = min(k, len(one) - 1)
    if k < 1:
        return 1.0
    near = []
    for vectors in (one, two):
        cosines = vectors @ vectors.T
        np.fill_diagonal(cosines, -2.0)
        near.append(np.argsort(-cosines, axis=1, kind="stable")[:, :k])
    return float(np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(*near, strict=True)]))


def bag(ids: Sequence[Sequence[int]], n_tokens: int) -> sparse.csr_array:
    """How often each token stands in each text, (n, n_tokens)."""
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    columns = np.fromiter(chain.from_iterable(ids), np.int32, int(lengths.sum()))
    starts = np.concatenate([[0], np.cumsum(lengths)])
    counted = sparse.csr_array((np.ones(len(columns), np.float32), columns, starts), (len(ids), n_tokens))
    counted.sum_duplicates()
    return counted


# -- inside ------------------------------------------------------------------------------------------


def _norms(bags: sparse.csr_array, weights: FloatArray) -> FloatArray:
    """Root of the summed squares of each text's weights, (n,); 1 for a text without tokens."""
    squares = bags.copy()
    squares.data = (squares.data * weights[squares.indices]) ** 2
    norms = np.sqrt(np.asarray(squares.sum(axis=1), np.float32)).ravel()
    norms[norms == 0] = 1.0
    return norms


def _unit(vectors: FloatArray) -> FloatArray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)


def _token_vectors(
    counts: DoubleArray, alone: Callable[[IntArray], FloatArray], inputs: FloatArray
) -> FloatArray:
    """Each token's vector: by the encoder where it is frequent, else by ridge from its input embedding."""
    order = np.argsort(-counts, kind="stable").astype(np.int32)[:_TOKENS]
    known = alone(order)
    out = np.empty((len(counts), known.shape[1]), np.float32)
    if len(order) < len(counts):
        wide = np.concatenate([inputs, np.ones((len(inputs), 1), np.float32)], axis=1)
        out[:] = wide @ _ridge(wide[order], known, _DERIVE)
    out[order] = known
    return out


def _fit(texts: sparse.csr_array, exact: FloatArray, tokens: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The tokens' vectors and the constant that bring `texts` (weights over tokens) close to `exact`."""
    sums = np.asarray(texts @ tokens, np.float32)
    wide = np.concatenate([sums, np.ones((len(sums), 1), np.float32)], axis=1)
    change = _ridge(wide, exact - sums, _MAP)  # around the identity
    mapped = tokens + tokens @ change[:-1]
    rest = exact - (texts @ mapped + change[-1])
    kernel = (texts @ texts.T).toarray().astype(np.float64)
    kernel[np.diag_indices_from(kernel)] += _CHANGE
    dual = solve(kernel, rest.astype(np.float64), assume_a="pos", overwrite_a=True).astype(np.float32)
    return np.asarray(mapped + texts.T @ dual, np.float32), np.asarray(change[-1], np.float32)


def _ridge(x: FloatArray, y: FloatArray, strength: float) -> FloatArray:
    """(n, d), (n, k) -> (d, k); `strength` is in units of the mean square of a column."""
    gram = x.T.astype(np.float64) @ x
    gram[np.diag_indices_from(gram)] += strength * np.trace(gram) / len(gram) + 1e-9
    return np.linalg.solve(gram, x.T.astype(np.float64) @ y).astype(np.float32)
