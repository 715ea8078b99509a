"""Any folder of the BERT, RoBERTa, XLM-R, DistilBERT or GPT-2 family, the exact and the fast way."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_folder import WORDS, write_json

from intently.errors import InputError
from intently.language import TextEncoder, static

TEXTS = ["green tea bag", "black coffee bean", "garden hose", "milk", "bread soap nail polish milk wine"]
LAYOUTS = ("bert", "roberta", "xlm-roberta", "distilbert", "gpt2")


def layout(kind: str, folder: Path, *, head: bool = False) -> Path:
    """A random model of `kind`, as save_pretrained writes it; `head`: with that of a language model."""
    import torch
    import transformers

    words = {word: row for row, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", *WORDS])}
    small = {"vocab_size": len(words), "pad_token_id": 1}
    bert = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 20,
    }
    distil = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 20}
    gpt2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 20, "vocab_size": len(words)}
    gpt2 |= {"bos_token_id": 0, "eos_token_id": 2}
    config, plain, headed = {
        "bert": ("BertConfig", "BertModel", "BertForMaskedLM"),
        "roberta": ("RobertaConfig", "RobertaModel", "RobertaForMaskedLM"),
        "xlm-roberta": ("XLMRobertaConfig", "XLMRobertaModel", "XLMRobertaForMaskedLM"),
        "distilbert": ("DistilBertConfig", "DistilBertModel", "DistilBertForMaskedLM"),
        "gpt2": ("GPT2Config", "GPT2Model", "GPT2LMHeadModel"),
    }[kind]
    settings = {"distilbert": small | distil, "gpt2": gpt2}.get(kind, small | bert)
    torch.manual_seed(0)
    model = getattr(transformers, headed if head else plain)(getattr(transformers, config)(**settings))
    model.save_pretrained(folder)
    tokenizer(words, special=kind != "gpt2").save(str(folder / "tokenizer.json"))
    return folder


def tokenizer(words: dict[str, int], special: bool) -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing

    made = Tokenizer(WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = Whitespace()
    if special:
        names = [("<s>", 0), ("</s>", 2)]
        made.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=names)
    return made


@pytest.mark.parametrize("kind", LAYOUTS)
def test_both_ways_agree_with_transformers_whatever_the_layout(kind: str, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModel

    folder = layout(kind, tmp_path / "model")
    exact = TextEncoder(folder, speed="exact", cache=tmp_path / "c")
    vectors = exact.encode(TEXTS)
    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    for row, text in enumerate(TEXTS):  # one by one: no padding at all
        ids = torch.tensor([exact._tokenizer.encode(text).ids])
        with torch.inference_mode():
            mean = model(input_ids=ids).last_hidden_state[0].mean(dim=0).numpy()
        assert vectors[row] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)
    fast = TextEncoder(folder, speed="fast", cache=tmp_path / "c")
    assert (fast.encode(TEXTS) * vectors).sum(axis=1).min() > 0.98
    alone = TextEncoder(folder, speed="fast", cache=tmp_path / "c", threads=1).encode(TEXTS[:1])
    assert alone[0] @ fast.encode(TEXTS)[0] > 0.99999


@pytest.mark.parametrize("kind", ["roberta", "gpt2"])
def test_a_folder_with_a_language_models_head_is_read_as_an_encoder(kind: str, tmp_path: Path) -> None:
    headed = TextEncoder(layout(kind, tmp_path / "headed", head=True), speed="exact", cache=tmp_path / "c")
    assert headed.size == 32
    assert np.linalg.norm(headed.encode(TEXTS), axis=1) == pytest.approx(np.ones(5), abs=1e-5)


def test_a_causal_model_can_be_asked_for_its_last_token(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModel

    folder = layout("gpt2", tmp_path / "model")
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_lasttoken": True})
    exact = TextEncoder(folder, speed="exact", cache=tmp_path / "c")
    assert exact.folder.pooling == "lasttoken"
    vectors = exact.encode(TEXTS)
    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    for row, text in enumerate(TEXTS):
        with torch.inference_mode():
            ids = torch.tensor([exact._tokenizer.encode(text).ids])
            last = model(input_ids=ids).last_hidden_state[0, -1].numpy()
        assert vectors[row] == pytest.approx(last / np.linalg.norm(last), abs=1e-5)
    fast = TextEncoder(folder, speed="fast", cache=tmp_path / "c").encode(TEXTS)
    assert (fast * vectors).sum(axis=1).min() > 0.98


@pytest.mark.parametrize("kind", LAYOUTS)
def test_texts_longer_than_the_model_reads_are_cut(kind: str, tmp_path: Path) -> None:
    folder = layout(kind, tmp_path / "model")
    for speed in ("exact", "fast"):
        encoder = TextEncoder(folder, speed=speed, cache=tmp_path / "c")
        assert encoder.folder.max_tokens == (18 if "roberta" in kind else 20)
        two = encoder.encode(["milk " * 50, "milk " * 10_000])
        assert two[0] == pytest.approx(two[1], abs=1e-5)


def test_a_part_of_the_weights_that_is_missing_is_named(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = BertModel(BertConfig(vocab_size=600, **size))
        model.save_pretrained(tmp_path, max_shard_size="60KB")
    words = {word: row for row, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", *WORDS])}
    tokenizer(words, special=True).save(str(tmp_path / "tokenizer.json"))
    parts = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(parts) > 1
    assert TextEncoder(tmp_path, speed="exact", cache=tmp_path / "c").encode(["milk"]).any()
    parts[-1].unlink()
    with pytest.raises(InputError, match=f"{parts[-1].name} is missing; model.safetensors.index.json names"):
        TextEncoder(tmp_path)


@pytest.mark.parametrize("name", ["adapter", "lora"])
def test_a_tuned_folder_is_exported_as_it_was_tuned(name: str, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModel

    from intently.language import methods

    folder = layout("bert", tmp_path / "base")
    model = AutoModel.from_pretrained(folder, local_files_only=True)
    tuned = methods.attach(model, methods.Method(name, rank=4, bottleneck=8))
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    plain = methods.merged(tuned).eval()
    methods.save(plain, tmp_path / "tuned")
    (tmp_path / "tuned" / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    exact = TextEncoder(tmp_path / "tuned", speed="exact", cache=tmp_path / "c")
    vectors = exact.encode(TEXTS)
    with torch.inference_mode():
        ids = torch.tensor([exact._tokenizer.encode(TEXTS[0]).ids])
        mean = plain(input_ids=ids).last_hidden_state[0].mean(dim=0).numpy()
    assert vectors[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)
    untuned = TextEncoder(folder, speed="exact", cache=tmp_path / "c")
    assert (untuned.encode(TEXTS) * vectors).sum(axis=1).max() < 0.99
    fast = TextEncoder(tmp_path / "tuned", speed="fast", cache=tmp_path / "c")
    assert (fast.encode(TEXTS) * vectors).sum(axis=1).min() > 0.98


def test_other_bottlenecks_are_another_model(tmp_path: Path) -> None:
    folder = layout("bert", tmp_path / "model")
    before = TextEncoder(folder).fingerprint
    write_json(folder / "adapter.json", {"placement": "pfeiffer", "bottleneck": 8})
    assert TextEncoder(folder).fingerprint != before


@pytest.mark.parametrize("kind", ["roberta", "gpt2"])
def test_static_vectors_come_out_of_any_layout(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(static, "LEAST", 100)
    folder = layout(kind, tmp_path / "model")
    random = np.random.default_rng(0)
    texts = sorted({" ".join(random.choice(WORDS, random.integers(2, 6))) for _ in range(600)})
    vectors = TextEncoder(folder, speed="fastest", cache=tmp_path / "c").encode(texts)
    exact = TextEncoder(folder, speed="exact", cache=tmp_path / "c").encode(texts)
    assert (vectors * exact).sum(axis=1).mean() > 0.8
