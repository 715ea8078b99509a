"""The one place where transformers opens a folder: weights from safetensors, no network, no foreign code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from intently.errors import InputError, MissingExtraError
from intently.language.quiet import quiet

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def pretrained(
    kind: str, folder: Path, settings: Mapping[str, Any] | None = None
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """(model in fp32, transformers' report of missing and mismatched keys).

    kind: a class of transformers, such as AutoModel. settings: more arguments of its from_pretrained.
    Raises MissingExtraError without transformers, InputError for a folder that it cannot load.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", "train") from error
    try:
        with quiet():
            model, facts = getattr(transformers, kind).from_pretrained(
                str(folder),
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
                **(settings or {}),
            )
    except Exception as error:  # a foreign library on a foreign folder: anything can come
        raise InputError(f"transformers cannot load {folder}: {str(error)[:300]}") from error
    return model, facts
