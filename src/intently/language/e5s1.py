"""Reads an `E5S1` file: a BERT with a SentencePiece vocabulary, its matrices in 4 bits.

Little-endian, in this order: the shape, the vocabulary (pieces with their scores), the characters that the
normaliser replaces, a directory of tensors, the tensors. A matrix is kept in blocks of 32 numbers of a row:
one half-precision scale and 16 bytes, the low halves of which are numbers 0-15 and the high halves 16-31,
each 8 above its value. Only data is read; nothing in the file is run.
"""

from __future__ import annotations

import struct
import unicodedata
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from intently.errors import ArtifactError
from intently.schema import FloatArray, IntArray

MAGIC = b"E5S1"
_BLOCK = np.dtype([("scale", "<f2"), ("halves", "u1", 16)])
_WIDTH = 32  # numbers in a block


@dataclass(frozen=True)
class Shape:
    """Sizes of the network, in the words of transformers' BertConfig."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    vocab_size: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float


@dataclass(frozen=True)
class Vocabulary:
    """pieces with their log-probabilities; ids of the special ones; what the normaliser changes.

    removed, blanks: characters that vanish and that become a blank. All else goes by Unicode's NFKC,
    but for the characters of `kept`, which stay.
    """

    pieces: list[str]
    scores: FloatArray
    begin: int
    end: int
    padding: int
    unknown: int
    removed: str
    blanks: str
    kept: str


class E5File:
    """`shape`, `vocabulary` and tensors of the bytes of an E5S1 file.

    Raises ArtifactError when the bytes are not such a file or end too soon.
    """

    def __init__(self, content: bytes) -> None:
        if content[:4] != MAGIC:
            raise ArtifactError(f"not an E5S1 file: it begins with {content[:4]!r}")
        self._content = content
        self._at = 8
        try:
            self.shape = self._read_shape()
            self.vocabulary = self._read_vocabulary()
            self._places = self._read_directory()
        except (struct.error, ValueError) as error:
            raise ArtifactError(f"the E5S1 file ends too soon: {error}") from error

    def vector(self, name: str) -> FloatArray:
        """A tensor kept in full precision, flat."""
        count, offset = self._place(name)
        return np.frombuffer(self._content, "<f4", count, offset).copy()

    def matrix(self, name: str, columns: int, rows: IntArray | None = None) -> FloatArray:
        """A tensor kept in 4 bits, (rows, columns); `rows`: only these."""
        count, offset = self._place(name)
        blocks = np.frombuffer(self._content, _BLOCK, count // _WIDTH, offset)
        blocks = blocks.reshape(-1, columns // _WIDTH)
        if rows is not None:
            blocks = blocks[rows]
        halves = blocks["halves"]  # (rows, blocks a row, 16)
        numbers = np.concatenate([halves & 15, halves >> 4], axis=-1).astype(np.float32) - 8
        numbers *= blocks["scale"].astype(np.float32)[..., None]
        return numbers.reshape(len(blocks), columns)

    # -- inside --------------------------------------------------------------------------------

    def _take(self, form: str) -> tuple[int, ...]:
        values = struct.unpack_from(form, self._content, self._at)
        self._at += struct.calcsize(form)
        return values

    def _array(self, kind: str, count: int) -> np.ndarray[tuple[int], np.dtype[np.generic]]:
        found = np.frombuffer(self._content, kind, count, self._at)
        self._at += found.nbytes
        return found

    def _place(self, name: str) -> tuple[int, int]:
        if name not in self._places:
            raise ArtifactError(f"the E5S1 file has no tensor {name!r}")
        return self._places[name]

    def _read_shape(self) -> Shape:
        hidden, layers, heads, inner, pieces, positions, types = self._take("<7i")
        epsilon, _block = self._take("<fi")
        return Shape(hidden, layers, heads, inner, pieces, positions, types, float(f"{epsilon:.3g}"))

    def _read_vocabulary(self) -> Vocabulary:
        count, begin, end, padding, unknown = self._take("<5i")
        (n_bytes,) = self._take("<Q")
        starts = self._array("<u4", count + 1).tolist()
        scores = self._array("<f4", count).astype(np.float32)
        text = self._content[self._at : self._at + n_bytes]
        self._at += n_bytes
        pieces = [text[a:b].decode("utf-8") for a, b in pairwise(starts)]
        changed = self._read_changed()
        strange = {c: to for c, to in changed.items() if to != unicodedata.normalize("NFKC", c)}
        characters = set("".join(pieces))
        kept = [c for c in characters if c not in changed and unicodedata.normalize("NFKC", c) != c]
        return Vocabulary(
            pieces,
            scores,
            begin,
            end,
            padding,
            unknown,
            removed="".join(c for c, to in strange.items() if to == ""),
            blanks="".join(c for c, to in strange.items() if to == " "),
            kept="".join(sorted(kept)),
        )

    def _read_changed(self) -> dict[str, str]:
        """Character -> what the normaliser makes of it."""
        count, n_bytes = self._take("<iI")
        end = self._at + n_bytes
        changed = {}
        for _ in range(count):
            character, length = self._take("<IB")
            changed[chr(character)] = "".join(map(chr, self._take(f"<{length}I")))
        self._at = end
        return changed

    def _read_directory(self) -> dict[str, tuple[int, int]]:
        """Tensor -> how many numbers it has and where it begins."""
        places = {}
        (count,) = self._take("<i")
        for _ in range(count):
            (length,) = self._take("<H")
            name = self._content[self._at : self._at + length].decode("utf-8")
            self._at += length
            _kind, numbers, offset, n_bytes = self._take("<BIQQ")
            if offset + n_bytes > len(self._content):
                raise ValueError(f"tensor {name} lies beyond the end")
            places[name] = (numbers, offset)
        return places
