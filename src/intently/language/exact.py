"""The exact way: torch in fp32, one module from token ids to unit vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from intently.errors import ArtifactError
from intently.language import adapter
from intently.language.dense import Dense
from intently.language.folder import ModelFolder
from intently.language.pretrained import pretrained
from intently.schema import FloatArray, LongArray

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Forward = Callable[[LongArray, LongArray], FloatArray]


class SentenceModule(nn.Module):
    """Token ids and mask, (batch, length) -> unit vectors, (batch, size)."""

    def __init__(self, model: PreTrainedModel, pooling: str, dense: Dense | None = None) -> None:
        super().__init__()
        self.model: PreTrainedModel = model
        self.pooling = pooling
        self.last = LastLayer(dense)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Pool the last layer over the tokens of `mask`, through the Dense layer, to length 1."""
        hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state  # (batch, length, width)
        found: Tensor = self.last(pool(hidden, mask, self.pooling))
        return found

    def input_embeddings(self) -> FloatArray:
        """The table that token ids are looked up in, (tokens, width)."""
        table: FloatArray = self.model.get_input_embeddings().weight.detach().numpy()
        return table

    @contextmanager
    def plain_attention(self) -> Iterator[None]:
        """Attention written out in simple operations, which export to a smaller and faster graph."""
        before = self.model.config._attn_implementation
        self.model.set_attn_implementation("eager")
        try:
            yield
        finally:
            self.model.set_attn_implementation(before)


class LastLayer(nn.Module):
    """Pooled vectors, (batch, width) -> unit vectors, (batch, size); not trained."""

    weight: Tensor
    bias: Tensor

    def __init__(self, dense: Dense | None) -> None:
        super().__init__()
        self.dense = dense
        if dense is not None:
            self.register_buffer("weight", torch.from_numpy(dense.weight).clone(), persistent=False)
            self.register_buffer("bias", torch.from_numpy(dense.bias).clone(), persistent=False)

    def forward(self, pooled: Tensor) -> Tensor:
        """The Dense layer where there is one, then length 1."""
        if self.dense is not None:
            pooled = nn.functional.normalize(pooled, dim=1) if self.dense.on_unit else pooled
            pooled = nn.functional.linear(pooled, self.weight, self.bias)
            pooled = pooled.tanh() if self.dense.activation == "Tanh" else pooled
        return nn.functional.normalize(pooled, dim=1)


def pool(hidden: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """(batch, length, size) -> (batch, size): first or last token, mean or maximum of the real ones."""
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "lasttoken":
        last = mask * (mask.cumsum(dim=1) == mask.sum(dim=1, keepdim=True))  # one 1 a row
        return (hidden * last.unsqueeze(-1).to(hidden.dtype)).sum(dim=1)
    weight = mask.unsqueeze(-1).to(hidden.dtype)  # (batch, length, 1)
    if pooling == "max":
        return (hidden - 1e9 * (1.0 - weight)).amax(dim=1)
    return (hidden * weight).sum(dim=1) / weight.sum(dim=1)


def load_module(folder: ModelFolder) -> SentenceModule:
    """The model of `folder`, for inference. Nothing is downloaded and no code of the folder runs.

    Raises InputError when transformers does not know the architecture, ArtifactError when weights are
    missing from the files.
    """
    model, facts = pretrained("AutoModel", folder.path)
    missing = sorted(key for key in facts["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise ArtifactError(f"{folder.path} lacks {len(missing)} weights, first of them {missing[0]}")
    adapter.restore(model, folder.path)
    return SentenceModule(model, folder.pooling, folder.dense).eval()


def exact_forward(module: SentenceModule) -> Forward:
    """A function from int64 ids and mask, (batch, length), to float32 unit vectors."""

    def forward(ids: LongArray, mask: LongArray) -> FloatArray:
        with torch.inference_mode():
            vectors: FloatArray = module(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
        return vectors

    return forward


@contextmanager
def one_thread_a_batch() -> Iterator[None]:
    """Batches side by side, one core each: on a busy machine no core waits for another one's share."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
