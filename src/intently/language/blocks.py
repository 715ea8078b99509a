"""Token ids of a corpus on disk, cut into pieces that a model can read, and batches of them.

One long array of int32 and where each piece begins, both read through the page cache, so that a corpus of any
length needs no memory. A text longer than the model reads is cut into several pieces. Texts are not packed
one behind the other as BERT and GPT-2 do: each is read alone, as it will be when it is encoded, and batches
of pieces of like length waste next to nothing on padding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from intently.errors import InputError, IntentlyError
from intently.schema import IntArray, LongArray

if TYPE_CHECKING:
    from collections.abc import Callable

_BATCH_TEXTS = 2000
_POOL = 64  # batches that are sorted by length together


@dataclass(frozen=True)
class Ends:
    """Special tokens around a piece."""

    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True)
class Blocks:
    """Pieces of text as token ids, special tokens included."""

    ids: IntArray  # (n_tokens,)
    starts: LongArray  # (n_pieces + 1,)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> LongArray:
        """Tokens of each piece."""
        return np.diff(self.starts)

    def padded(self, rows: IntArray, pad_id: int) -> tuple[Tensor, Tensor]:
        """(ids, mask), both int64 (len(rows), longest), padded on the right."""
        lengths = self.lengths[rows]
        ids = np.full((len(rows), int(lengths.max())), pad_id, np.int64)
        mask = np.arange(ids.shape[1]) < lengths[:, None]
        ids[mask] = np.concatenate([self.ids[self.starts[row] : self.starts[row + 1]] for row in rows])
        return torch.from_numpy(ids), torch.from_numpy(mask.astype(np.int64))

    def drawn(self, half: int, n_tokens: int) -> Blocks:
        """About `n_tokens` of pieces drawn at random, the same at every call, from one half (0 or 1) of them.

        The halves share no piece, unless there are too few to halve. Drawn, because sources stand one
        behind the other: the first pieces would be those of one source only.
        """
        order = np.random.default_rng(0).permutation(len(self))
        if len(self) >= 4:
            order = order[half::2]
        enough = int(np.searchsorted(np.cumsum(self.lengths[order]), n_tokens)) + 1
        rows = order[:enough]
        ids = np.concatenate([self.ids[self.starts[row] : self.starts[row + 1]] for row in rows])
        starts = np.concatenate([[0], np.cumsum(self.lengths[rows])])
        return Blocks(ids.astype(np.int32), starts.astype(np.int64))


def ends_of(tokenizer: Any, *, causal: bool) -> Ends:
    """What stands around a text: the tokenizer's own special tokens, or begin and end of text for GPT."""
    if causal:
        end = tokenizer.eos_token_id
        if end is None:
            raise InputError("the tokenizer names no end-of-text token, which a causal model needs")
        begin = tokenizer.bos_token_id
        return Ends((end if begin is None else begin,), (end,))
    around = tokenizer("")["input_ids"]
    return Ends(tuple(around[:1]), tuple(around[1:]))


def write_blocks(texts: Iterable[str], tokenizer: Any, ends: Ends, max_tokens: int, path: Path) -> Blocks:
    """Tokenise `texts` as they stream by into `path`.ids and `path`.starts, and open them.

    Raises InputError when nothing is left to read, IntentlyError when the disk is full.
    """
    room = max_tokens - len(ends.before) - len(ends.after)
    if room < 1:
        raise InputError(f"max_tokens {max_tokens} leaves no room for text")
    ids_path, starts_path = path.with_suffix(".ids"), path.with_suffix(".starts")
    end = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with ids_path.open("wb") as ids_file, starts_path.open("wb") as starts_file:
            starts_file.write(np.zeros(1, np.int64).tobytes())
            for piece in _pieces(texts, tokenizer, room):
                whole = np.array([*ends.before, *piece, *ends.after], np.int32)
                ids_file.write(whole.tobytes())  # tofile() would not say that a disk is full
                end += len(whole)
                starts_file.write(np.array([end], np.int64).tobytes())
    except OSError as error:
        raise IntentlyError(
            f"the corpus cannot be written to {path.parent}: {error}", hint="free disk space and start again"
        ) from error
    if end == 0:
        raise InputError("the tokenizer makes nothing of the corpus")
    return open_blocks(path)


def open_blocks(path: Path) -> Blocks:
    """What `write_blocks` wrote to `path`."""
    ids = np.memmap(path.with_suffix(".ids"), np.int32, "r")
    return Blocks(ids, np.fromfile(path.with_suffix(".starts"), np.int64))


def _pieces(texts: Iterable[str], tokenizer: Any, room: int) -> Iterator[list[int]]:
    stream = iter(texts)
    while batch := list(islice(stream, _BATCH_TEXTS)):
        for ids in tokenizer(batch, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]:
            for start in range(0, len(ids), room):
                yield ids[start : start + room]


def token_batches(lengths: LongArray, tokens: int, seed: int, epoch: int) -> list[IntArray]:
    """Every piece once, in batches of at most `tokens` with their padding, of like length, in random order.

    >>> [rows.tolist() for rows in token_batches(np.array([3, 9, 2, 3]), 9, seed=0, epoch=0)]
    [[1], [2, 0, 3]]
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths)).astype(np.int32)
    pool = max(1, _POOL * tokens // max(1, int(lengths.mean())))
    found: list[IntArray] = []
    for start in range(0, len(order), pool):
        rows = order[start : start + pool]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        begin = 0
        for at in range(1, len(rows) + 1):
            if at == len(rows) or (at + 1 - begin) * lengths[rows[at]] > tokens:
                found.append(rows[begin:at])
                begin = at
    return [found[at] for at in rng.permutation(len(found))]


class Stream(Sequence[IntArray]):
    """`n` batches out of as many passes as it takes, the same for the same seed; made pass by pass."""

    def __init__(self, n: int, one_pass: Callable[[int], list[IntArray]]) -> None:
        self.n, self.one_pass = n, one_pass
        self.begins = [0]
        self.current: tuple[int, list[IntArray]] = (-1, [])

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, at: Any) -> Any:
        if not 0 <= at < self.n:
            raise IndexError(at)
        number = int(np.searchsorted(self.begins, at, side="right")) - 1
        while True:
            batches = self._pass(number)
            if at < self.begins[number] + len(batches):
                return batches[at - self.begins[number]]
            if len(self.begins) == number + 1:
                self.begins.append(self.begins[number] + len(batches))
            number += 1

    def _pass(self, number: int) -> list[IntArray]:
        if self.current[0] != number:
            self.current = (number, self.one_pass(number))
        return self.current[1]
