"""What a pre-training was and what it brought, and the folder that it is published in."""

from __future__ import annotations

import json
import resource
import shutil
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError

from intently.errors import ArtifactError, IntentlyError
from intently.language import methods

FILE: Final = "receipt.json"

_SIDE: Final = (
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
)  # how a sentence model makes vectors, kept when it is trained on


@dataclass(frozen=True)
class PretrainingReceipt:
    """asked: the settings. perplexity: unigram, fresh (a new head, untrained), before, after; on held-out
    text, a token. passes: over the training text. cpu_s, wall_s: of the training and its judging."""

    asked: dict[str, Any]
    kind: str
    objective: str
    parameters: int
    trained: int
    vocabulary: int
    corpus: dict[str, Any]
    tokens: dict[str, int]
    steps: int
    head_steps: int
    passes: float
    cpu_s: float
    wall_s: float
    perplexity: dict[str, float]
    judged_words: int
    curve: list[dict[str, Any]]
    peak_mb: float = field(default_factory=lambda: peak_mb())

    @property
    def fall(self) -> float:
        """Share by which the held-out perplexity fell."""
        return 1.0 - self.perplexity["after"] / self.perplexity["before"]


def read_receipt(folder: Path) -> PretrainingReceipt | None:
    """The receipt in a folder, None when there is none; raises ArtifactError for a damaged one."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        return PretrainingReceipt(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ArtifactError(f"{path} is damaged: {error}", hint="remove the folder") from error


def publish(
    model: Any, tokenizer: Any, receipt: PretrainingReceipt, out: Path, work: Path, start: Path | None
) -> None:
    """Write the transformers folder aside, move it into `out`, the receipt last, and drop the work.

    Raises IntentlyError when the disk is full; what was learned stays in the checkpoint.
    """
    aside = work / "published"
    try:
        shutil.rmtree(aside, ignore_errors=True)
        methods.save(model, aside)
        tokenizer.save_pretrained(aside)
        for name in _SIDE:
            if start is not None and (start / name).exists():
                (aside / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(start / name, aside / name)
        (aside / "README.md").write_text(card(receipt, out.name), encoding="utf-8")
        (aside / FILE).write_text(json.dumps(asdict(receipt), indent=1) + "\n", encoding="utf-8")
        for path in sorted(aside.iterdir(), key=lambda path: path.name == FILE):
            if path.is_dir():
                shutil.rmtree(out / path.name, ignore_errors=True)
            path.replace(out / path.name)
        shutil.rmtree(work)
    except (OSError, SafetensorError) as error:
        raise IntentlyError(
            f"the model cannot be written to {out}: {error}",
            hint="free disk space and run the same again: nothing that was learned is lost",
        ) from error


def card(receipt: PretrainingReceipt, name: str) -> str:
    """The model card: what it is, what it learned from, what it cost and brought."""
    perplexity, asked = receipt.perplexity, receipt.asked
    causal = receipt.objective == "next word"
    auto = "AutoModelForCausalLM" if causal else "AutoModelForMaskedLM"
    start = asked["start"] or f"from scratch, size {asked['size']}"
    rows = [
        ("architecture", receipt.kind),
        ("start", start),
        ("task", f"{receipt.objective}, method {asked['method']}"),
        ("parameters", f"{receipt.parameters:,}, of which {receipt.trained:,} trained"),
        ("vocabulary", f"{receipt.vocabulary:,} tokens"),
        ("corpus", f"{receipt.corpus['texts']:,} distinct texts, {receipt.corpus['held_out']:,} held out"),
        ("steps", f"{receipt.steps:,} ({receipt.passes:g} passes; {receipt.head_steps:,} before, head only)"),
        ("cost", f"{receipt.cpu_s:,.0f} CPU seconds, {receipt.peak_mb:,.0f} MB at most"),
        ("held-out perplexity, word frequencies", f"{perplexity['unigram']:,.1f}"),
        ("held-out perplexity before", f"{perplexity['before']:,.1f}"),
        ("held-out perplexity after", f"{perplexity['after']:,.1f}"),
    ]
    table = "\n".join(f"| {key} | {value} |" for key, value in rows)
    fresh = perplexity.get("fresh")
    head = (
        f"\nThe model it started from had no head that predicts words. *Before* is that model, frozen, under "
        f"a head trained alone for {receipt.head_steps:,} steps; the head's first figure was {fresh:,.1f}.\n"
        if fresh is not None
        else ""
    )
    return (
        f"# {name}\n\nMade by `intently pretrain`.\n\n| | |\n| --- | --- |\n{table}\n{head}\n"
        f"Perplexity is a token, on {receipt.judged_words:,} tokens of held-out text; it compares only "
        f"models with the same vocabulary.\n\n"
        f"    from transformers import {auto}, AutoTokenizer\n"
        f'    model = {auto}.from_pretrained("{name}")\n'
    )


def peak_mb() -> float:
    """Most memory this process has held, in MB."""
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
