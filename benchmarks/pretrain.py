"""Does pre-training on a shop's own text pay, and what does it cost?

    python benchmarks/pretrain.py --data DIR/amazon_beauty_5core_2014 --run bert       # from scratch
    python benchmarks/pretrain.py --data DIR/amazon_beauty_5core_2014 --run gpt
    python benchmarks/pretrain.py --data DIR/amazon_beauty_5core_2014 --run continued  # MiniLM goes on
    python benchmarks/pretrain.py --data DIR/amazon_beauty_5core_2014 --run head       # the control of it
    python benchmarks/pretrain.py --data DIR/amazon_beauty_5core_2014 --run killed     # and resumed

The corpus is the demo's catalogue and the titles of Amazon Beauty. Figures are perplexities a token on
held-out texts, beside that of bare word frequencies (the floor to beat). `head` trains nothing but the
fresh language head for as many steps as `continued` had: what of the fall is the head's alone. `killed`
trains a tiny BERT for 200 steps twice, once killed by SIGKILL at two random moments, and compares the curves.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl

from intently.data import Dataset
from intently.data.shops import complete_journey
from intently.language.corpus import Corpus, Source, catalogue_source, file_source
from intently.language.folder import bundled_folder
from intently.language.pretraining import WORK, pretrain
from intently.language.pretraining_receipt import PretrainingReceipt
from intently.language.pretraining_recipe import Recipe
from record import record

RUNS = ("bert", "gpt", "continued", "head", "killed")


def main() -> None:
    """Train, print one JSON line, and keep it in results/pretrain.jsonl."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with items.csv.gz (titles)")
    parser.add_argument("--run", choices=RUNS, required=True)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--steps", type=int, default=0, help="in place of minutes")
    parser.add_argument("--tokens", type=int, default=2048, help="of a batch")
    parser.add_argument("--rate", type=float, default=0.0, help="learning rate in place of the default")
    parser.add_argument("--method", default="full", help="of continued: full or lora")
    parser.add_argument("--out", type=Path, help="where the model is kept; default: nowhere")
    parser.add_argument("--dry", action="store_true", help="print only, keep nothing")
    options = parser.parse_args()
    corpus = catalogues(options.data)
    with tempfile.TemporaryDirectory() as nowhere:
        out = options.out or Path(nowhere) / options.run
        row = killed(options.data, out) if options.run == "killed" else trained(corpus, out, options)
    line = row if options.dry else record("pretrain", row)
    sys.stdout.write(json.dumps(line) + "\n")


def catalogues(folder: Path) -> Corpus:
    """Both catalogues; each distinct text once."""
    shop = complete_journey()
    nobody = pl.DataFrame({"user_id": ["u"], "item_id": shop.items["item_id"][:1], "timestamp": [0]})
    journey = catalogue_source(Dataset.from_frames(nobody, shop.items))
    return Corpus(
        [Source("complete_journey", journey.read), file_source(folder / "items.csv.gz", "title")],
        held_out=0.1,
    )


def trained(corpus: Corpus, out: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One pre-training and its figures."""
    scratch = options.run in ("bert", "gpt")
    recipe = Recipe(
        kind=options.run if scratch else "bert",
        start=None if scratch else bundled_folder(),
        method="full" if scratch else "head" if options.run == "head" else options.method,
        minutes=options.minutes,
        steps=options.steps,
        tokens=options.tokens,
        learning_rate=options.rate,
    )
    return figures(options.run, pretrain(corpus, out, recipe))


def figures(run: str, receipt: PretrainingReceipt) -> dict[str, Any]:
    """What is kept of a receipt."""
    return {
        "run": run,
        "method": receipt.asked["method"],
        "perplexity": receipt.perplexity,
        "fall": round(receipt.fall, 4),
        "texts": receipt.corpus["texts"],
        "held_out": receipt.corpus["held_out"],
        "judged_words": receipt.judged_words,
        "vocabulary": receipt.vocabulary,
        "parameters": receipt.parameters,
        "trained": receipt.trained,
        "steps": receipt.steps,
        "head_steps": receipt.head_steps,
        "passes": receipt.passes,
        "cpu_s": receipt.cpu_s,
        "wall_s": receipt.wall_s,
        "peak_mb": receipt.peak_mb,
        "tokens_per_cpu_s": round(receipt.passes * receipt.tokens["train"] / receipt.cpu_s),
    }


def killed(data: Path, out: Path) -> dict[str, Any]:
    """The curve of a training that was killed twice, beside that of one that was not."""
    words = [sys.executable, __file__, "--data", str(data), "--run", "bert", "--steps", "200", "--dry"]
    kills = []
    for moment in random.Random().sample(range(1, 8), 2):
        child = subprocess.Popen([*words, "--out", str(out)], stdout=subprocess.DEVNULL)
        while not (out / WORK / "model").exists() and child.poll() is None:
            time.sleep(0.05)  # until its first checkpoint
        time.sleep(moment)
        child.kill()
        kills.append(child.wait() == -signal.SIGKILL)
    for folder in (out, out.with_name("straight")):
        subprocess.run([*words, "--out", str(folder)], check=True, stdout=subprocess.DEVNULL)
    curves = [json.loads((f / "receipt.json").read_text())["curve"] for f in (out, out.with_name("straight"))]
    losses = [[mark["loss"] for mark in curve] for curve in curves]
    return {
        "run": "killed",
        "kills": sum(kills),
        "marks": len(losses[0]),
        "same_curve": curves[0] == curves[1],
    }


if __name__ == "__main__":
    main()
