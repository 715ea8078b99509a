"""`Sentences`: the texts of a catalogue, tokenized once, and their unit vectors by a model in training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from intently import progress
from intently.language.encoder import batches
from intently.language.exact import LastLayer, pool
from intently.language.folder import ModelFolder
from intently.language.reading import Reader, Tokens
from intently.schema import FloatArray, IntArray

_BATCH_TOKENS = 2048


class Sentences:
    """One text an item; equal texts are read once.

    folder: whose tokenizer, pooling and prompt are used. max_tokens: read of a text in training; what an
    encoder reads in use is the folder's own business.
    """

    def __init__(self, texts: Sequence[str], folder: Path | None = None, *, max_tokens: int = 32) -> None:
        self.reader = Reader(folder, max_tokens=max_tokens)
        self.follow(self.reader.folder)
        distinct = {text: row for row, text in enumerate(dict.fromkeys(text.strip() for text in texts))}
        self.text_of = np.array([distinct[text.strip()] for text in texts], np.int32)
        """Row of each item's text, (n_items,)."""
        self.tokens = self.reader.read(list(distinct))
        filled = np.array([bool(text) for text in distinct])
        self.filled = filled[self.text_of]
        """Items with anything to read, (n_items,)."""

    def follow(self, folder: ModelFolder) -> None:
        """Pool, and go through the Dense layer, as this folder says."""
        self.pooling, self.last = folder.pooling, LastLayer(folder.dense)

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, model: nn.Module, rows: IntArray, mask_share: float = 0.0) -> Tensor:
        """Unit vectors of the texts `rows`, (len(rows), size), short with short, with a gradient.

        mask_share: of the tokens, the first one and the last left out, that become the mask token.
        """
        order, parts = [], []
        for some in self._short_with_short(rows):
            order.append(some)
            parts.append(self._forward(model, [self.tokens[row] for row in rows[some]], mask_share))
        back = torch.from_numpy(np.argsort(np.concatenate(order)))
        return torch.cat(parts)[back]

    def matrix(self, model: nn.Module, rows: IntArray | None = None) -> FloatArray:
        """Unit vectors of the texts `rows` (all by default) in eval mode, without a gradient."""
        wanted = np.arange(len(self), dtype=np.int32) if rows is None else rows
        training = model.training
        model.eval()
        parts: list[tuple[IntArray, FloatArray]] = []
        with torch.inference_mode(), progress.track("encoding texts", len(wanted)) as advance:
            for some in self._short_with_short(wanted):
                found: FloatArray = self._forward(model, [self.tokens[row] for row in wanted[some]]).numpy()
                parts.append((some, found))
                advance(len(some))
        model.train(training)
        out = np.zeros((len(wanted), parts[0][1].shape[1]), np.float32)
        for some, found in parts:
            out[some] = found
        return out

    def _short_with_short(self, rows: IntArray) -> Iterator[IntArray]:
        return batches(np.array([len(self.tokens[row]) for row in rows], np.int32), _BATCH_TOKENS)

    def _forward(self, model: nn.Module, tokens: Sequence[Tokens], mask_share: float = 0.0) -> Tensor:
        ids, mask, _ = self.reader.pad(tokens, self.reader.folder.pad_id)
        if mask_share > 0.0:
            lengths = mask.sum(axis=1, keepdims=True)
            place = np.arange(ids.shape[1])[None, :]
            hidden = torch.rand(ids.shape).numpy() < mask_share  # torch's generator: seeded by step
            ids[hidden & (place > 0) & (place < lengths - 1)] = self.reader.mask_id
        seen = torch.from_numpy(mask)
        output: Any = model(input_ids=torch.from_numpy(ids), attention_mask=seen)
        hidden_states: Tensor = output.last_hidden_state  # (batch, length, size)
        found: Tensor = self.last(pool(hidden_states, seen, self.pooling))
        return found
