"""`Reader`: texts, or pairs of them, to the token ids that a model's folder asks for."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from intently.errors import ArtifactError, InputError, MissingExtraError
from intently.language.folder import open_folder
from intently.schema import LongArray

FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "modules.json",
    "1_Pooling/config.json",
)
_CHARACTERS_A_TOKEN = 32


@dataclass(frozen=True)
class Tokens:
    """One text: token ids and, for pairs, which of the two each belongs to; both (length,)."""

    ids: LongArray
    types: LongArray

    def __len__(self) -> int:
        return len(self.ids)


class Reader:
    """Tokenizes as the folder says: its prompt, its case, its longest text.

    max_tokens: fewer than the folder's; 0: the folder's. A pair that is too long loses the beginning of
    its longer text, since behaviour is written oldest first; a single text loses its end.
    """

    def __init__(self, folder: Path | None, *, max_tokens: int = 0) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingExtraError("tokenizers", "train") from error
        self.folder = open_folder(folder)
        limit = self.folder.max_tokens
        self.max_tokens = min(limit, max_tokens) if max_tokens > 0 else limit
        path = self.folder.path / "tokenizer.json"
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exception
            raise ArtifactError(f"{path} is damaged: {error}", hint="copy the model again") from error
        self._tokenizer.no_padding()
        known = [self._tokenizer.token_to_id(token) for token in ("[MASK]", "<mask>", "[UNK]", "<unk>")]
        self.mask_id: int = next((found for found in known if found is not None), self.folder.pad_id)
        marks = self._tokenizer.get_added_tokens_decoder()
        self.special = frozenset(int(token) for token, what in marks.items() if what.special)

    def prepare(self, text: str) -> str:
        """What the tokenizer gets: cut to a sane length, without lone surrogates, after the prompt."""
        if not isinstance(text, str):
            raise InputError(f"texts must be str, got {type(text).__name__}")
        cut = text[: _CHARACTERS_A_TOKEN * self.max_tokens].encode("utf-8", "replace").decode("utf-8").strip()
        return self.folder.prompt + (cut.lower() if self.folder.lower else cut)

    def read(self, texts: Sequence[str], others: Sequence[str] | None = None) -> list[Tokens]:
        """Tokens of every text, or of every pair; at least one token each."""
        first = [self.prepare(text) for text in texts]
        if others is None:
            self._tokenizer.enable_truncation(self.max_tokens)
            found = self._tokenizer.encode_batch(first)
        else:
            self._tokenizer.enable_truncation(self.max_tokens, strategy="longest_first", direction="left")
            second = [self.prepare(text) for text in others]
            found = self._tokenizer.encode_batch(list(zip(first, second, strict=True)))
        none = Tokens(np.array([self.folder.pad_id]), np.array([0]))
        return [
            Tokens(np.asarray(e.ids, np.int64), np.asarray(e.type_ids, np.int64)) if e.ids else none
            for e in found
        ]

    def pad(self, tokens: Sequence[Tokens], pad_id: int) -> tuple[LongArray, LongArray, LongArray]:
        """ids (filled up with `pad_id`), mask and types of a batch, each (batch, longest)."""
        longest = max(len(one) for one in tokens)
        ids = np.full((len(tokens), longest), pad_id, np.int64)
        mask, types = np.zeros_like(ids), np.zeros_like(ids)
        for row, one in enumerate(tokens):
            ids[row, : len(one)], types[row, : len(one)] = one.ids, one.types
            mask[row, : len(one)] = 1
        return ids, mask, types

    def copy(self, folder: Path) -> None:
        """Write the files that say how texts are read beside a saved model."""
        for name in FILES:
            source = self.folder.path / name
            if source.exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, folder / name)
