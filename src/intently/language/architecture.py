"""A model to pre-train: a new one of three kinds and sizes, or any transformers folder with a language head.

An encoder without a language head (most sentence models) gets a fresh one, tied to its input embeddings; so
that it starts sane, its transform begins as the identity and its bias as the words' log frequencies.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from intently.errors import InputError, MissingExtraError
from intently.language import adapter
from intently.language.folder import open_folder
from intently.language.pretrained import pretrained
from intently.language.pretraining_recipe import SIZES
from intently.language.vocabulary import load_tokenizer
from intently.language.words import Task
from intently.schema import DoubleArray

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Learner:
    """A model with its tokenizer. fresh: names of the weights of a new head."""

    model: PreTrainedModel
    tokenizer: Any
    task: Task
    max_tokens: int
    fresh: tuple[str, ...] = ()

    @property
    def causal(self) -> bool:
        """Whether it predicts the next word."""
        return self.task.mask_id is None


def new_learner(kind: str, size: str, tokenizer: Any, max_tokens: int, seed: int) -> Learner:
    """A model with random weights; raises InputError for an unknown kind or size."""
    if size not in SIZES:
        raise InputError(f"unknown size {size!r}; allowed: {', '.join(SIZES)}", field="size")
    layers, width = SIZES[size]
    try:
        import transformers as hf
    except ImportError as error:
        raise MissingExtraError("transformers", "train") from error
    words: dict[str, int] = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    encoder = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 64,
        "intermediate_size": 4 * width,
    }
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == "bert":
            config = hf.BertConfig(**words, **encoder, max_position_embeddings=max_tokens)
            model = hf.BertForMaskedLM(config)
        elif kind == "roberta":  # positions start after the padding id
            positions = max_tokens + tokenizer.pad_token_id + 1
            config = hf.RobertaConfig(**words, **encoder, **ends, max_position_embeddings=positions)
            model = hf.RobertaForMaskedLM(config)
        elif kind == "gpt":
            shape = {"n_embd": width, "n_layer": layers, "n_head": width // 64, "n_positions": max_tokens}
            model = hf.GPT2LMHeadModel(hf.GPT2Config(**words, **shape, **ends))
        else:
            raise InputError(f"unknown kind {kind!r}; allowed: bert, roberta, gpt", field="kind")
    return Learner(model, tokenizer, task_of(tokenizer, len(tokenizer), causal=kind == "gpt"), max_tokens)


def open_learner(folder: Path, max_tokens: int) -> Learner:
    """The model of a transformers folder with a head that predicts words, a fresh one where it has none.

    Raises InputError for a folder that cannot be used (no mask token, no such head for this architecture),
    ArtifactError for a damaged one.
    """
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    found = open_folder(folder)
    if (folder / adapter.SETTINGS).exists():
        hint = "start from the model that the adapters were added to"
        raise InputError(f"{folder} holds adapters, which a language head would lose", hint=hint)
    tokenizer = load_tokenizer(folder)
    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a foreign library on a foreign folder: anything can come
        raise InputError(f"transformers cannot read {folder}: {str(error)[:200]}") from error
    causal = config.model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if causal and config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise InputError(f"{folder} is a {config.model_type}, which has no head that predicts words")
    if not causal and tokenizer.mask_token_id is None:
        raise InputError(
            f"the tokenizer in {folder} has no mask token, so no word can be hidden",
            hint="add mask_token to its tokenizer_config.json",
        )
    model, fresh = _load("AutoModelForCausalLM" if causal else "AutoModelForMaskedLM", folder)
    task = task_of(tokenizer, int(model.get_input_embeddings().num_embeddings), causal=causal)
    return Learner(model, tokenizer, task, min(max_tokens, found.max_tokens), fresh)


def task_of(tokenizer: Any, vocabulary: int, *, causal: bool) -> Task:
    """What is asked of a model with this tokenizer."""
    special = tuple(sorted(set(tokenizer.all_special_ids)))
    pad = tokenizer.pad_token_id
    mask = None if causal else tokenizer.mask_token_id
    if mask is not None and mask >= vocabulary:
        raise InputError(f"the mask token is number {mask}, but the model knows only {vocabulary}")
    return Task(0 if pad is None else pad, mask, special, vocabulary)


def start_at_frequencies(model: PreTrainedModel, fresh: tuple[str, ...], chances: DoubleArray) -> None:
    """A new head begins as the words' frequencies: bias their logs, square layers the identity.

    fresh: names of its weights; with none all of the model is new and only the bias is set.
    """
    with torch.no_grad():
        bias = getattr(model.get_output_embeddings(), "bias", None)
        if bias is not None:
            bias.copy_(torch.from_numpy(np.log(chances).astype(np.float32)))
        for name in fresh:
            weight = model.get_parameter(name)
            if weight.ndim == 2 and weight.shape[0] == weight.shape[1]:
                nn.init.eye_(weight)


def _load(auto: str, folder: Path) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """(model, names of weights that the folder does not have)."""
    model, facts = pretrained(auto, folder)
    missing = set(facts["missing_keys"])
    inner = sorted(name for name in missing if name.startswith(f"{model.base_model_prefix}."))
    if inner:
        raise InputError(f"{folder} lacks {len(inner)} weights, first of them {inner[0]}")
    names = {name for name, _ in model.named_parameters()}  # tied weights once
    return model, tuple(sorted(missing & names))
