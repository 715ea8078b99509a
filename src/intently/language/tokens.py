"""Texts to token ids, and token ids to batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from intently.errors import ArtifactError, MissingExtraError
from intently.language.folder import ModelFolder
from intently.schema import IntArray, LongArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def open_tokenizer(folder: ModelFolder) -> Tokenizer:
    """The folder's tokenizer, cutting at what the model reads.

    Raises ArtifactError for a damaged file, MissingExtraError without the package.
    """
    path = folder.path / "tokenizer.json"
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtraError("tokenizers", "serve") from error
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise ArtifactError(f"{path} is damaged: {error}", hint="copy the model again") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(folder.max_tokens)
    return tokenizer


def plain_ids(tokenizer: Tokenizer, texts: list[str], prompt: str) -> list[list[int]]:
    """Ids of texts that begin with `prompt`, without it and without special tokens."""
    encoded = tokenizer.encode_batch_fast([text[len(prompt) :] for text in texts], add_special_tokens=False)
    return [one.ids for one in encoded]


def framed(tokenizer: Tokenizer, tokens: IntArray, prompt: str) -> LongArray:
    """Each token by itself, with the prompt and the special tokens around it: (n, length)."""
    frame = tokenizer.encode(prompt)
    words = [at for at, special in enumerate(frame.special_tokens_mask) if not special]
    place = words[-1] + 1 if words else (len(frame.ids) + 1) // 2
    rows = np.tile(np.asarray(frame.ids, np.int64), (len(tokens), 1))
    return np.insert(rows, place, tokens, axis=1)


def batches(lengths: IntArray, tokens: int) -> Iterator[IntArray]:
    """Rows with at least one token, longest first, in batches of at most `tokens` with their padding.

    >>> [rows.tolist() for rows in batches(np.array([3, 9, 0, 3], np.int32), 8)]
    [[1], [0, 3]]
    """
    order = np.argsort(-lengths, kind="stable").astype(np.int32)
    order = order[lengths[order] > 0]
    start = 0
    while start < len(order):
        step = max(1, tokens // int(lengths[order[start]]))
        yield order[start : start + step]
        start += step
