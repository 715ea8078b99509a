"""A tiny random BERT folder, made on the spot: any transformers folder must do."""

from __future__ import annotations

import json
from pathlib import Path

WORDS = ["green", "black", "tea", "bag", "coffee", "bean", "garden", "hose", "red", "wine", "milk", "bread"]
WORDS += ["soap", "nail", "polish"]


def make_folder(folder: Path, *, seed: int = 0, **config: int) -> Path:
    """A BERT of two layers with random weights and a word-level tokenizer, as save_pretrained writes it."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import BertConfig, BertModel

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: row for row, word in enumerate(special + WORDS)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    settings = {
        "vocab_size": len(vocabulary),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 24,
    }
    torch.manual_seed(seed)
    BertModel(BertConfig(**(settings | config))).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def write_json(path: Path, content: object) -> None:
    """Write `content`, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
