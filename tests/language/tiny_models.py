"""Small random classifiers of the layouts that are promised, and the folder of each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tiny_folder import make_folder, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LAYOUTS = ("bert", "roberta", "xlm-roberta", "distilbert", "gpt2")
LABELS = 3


def make_model(layout: str, seed: int = 0) -> PreTrainedModel:
    """A classifier of three classes, two layers, 32 wide, in eval mode."""
    import torch
    import transformers as t

    torch.manual_seed(seed)
    common = {"vocab_size": 40, "num_labels": LABELS, "pad_token_id": 0}
    wide = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 40,
    }
    if layout == "bert":
        model = t.BertForSequenceClassification(t.BertConfig(**common, **wide))
    elif layout == "roberta":
        model = t.RobertaForSequenceClassification(t.RobertaConfig(**common, **wide))
    elif layout == "xlm-roberta":
        model = t.XLMRobertaForSequenceClassification(t.XLMRobertaConfig(**common, **wide))
    elif layout == "distilbert":
        config = t.DistilBertConfig(**common, dim=32, n_layers=2, n_heads=4, hidden_dim=64)
        model = t.DistilBertForSequenceClassification(config)
    else:
        config = t.GPT2Config(**common, n_embd=32, n_layer=2, n_head=4, n_positions=40)
        model = t.GPT2ForSequenceClassification(config)
    return model.eval()


def make_layout_folder(folder: Path, layout: str) -> Path:
    """The encoder of a layout beside the tiny tokenizer."""
    make_folder(folder)
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    model = make_model(layout)
    getattr(model, model.base_model_prefix).save_pretrained(folder)
    return folder
