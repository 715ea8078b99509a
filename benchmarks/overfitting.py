"""What does each guard against overfitting bring where texts are few?

    python benchmarks/overfitting.py --data phrasebank.csv.gz --text content --label label --train 400
    python benchmarks/overfitting.py --train 480 --max-tokens 96

Without --data the texts are pairs of behaviour and candidate of the demo shop (objective *click*).
A model is tuned in full on a few texts for many epochs, once with nothing against overfitting and once with
each guard alone; one line each with the test figures and the difference to nothing at all, with its 95 %
interval over the test texts. Figures of one seed: small differences say little.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from intently.data import Dataset
from intently.data.shops import complete_journey
from intently.language.classification import Classification, Guard
from intently.language.click import ClickSettings, shop_parts
from intently.language.examples import Parts
from intently.language.figures import classified
from intently.language.folder import open_folder
from intently.language.label import parted_texts, read_table
from intently.language.methods import Method, attach
from intently.nn.finetuning import Schedule, finetune
from intently.schema import DoubleArray
from record import record

NONE = Guard(dropout=0.0)
GUARDS: dict[str, tuple[Guard, dict[str, float]]] = {
    "nothing": (NONE, {}),
    "early stopping (patience 2)": (NONE, {"patience": 2}),
    "weight decay 0.1": (NONE, {"weight_decay": 0.1}),
    "dropout 0.1": (replace(NONE, dropout=0.1), {}),
    "label smoothing 0.1": (replace(NONE, smoothing=0.1), {}),
    "class weights": (replace(NONE, class_weights=True), {}),
    "token masking 0.15": (replace(NONE, token_mask=0.15), {}),
    "event dropout 0.2": (replace(NONE, event_dropout=0.2), {}),
    "event crop 0.2": (replace(NONE, event_crop=0.2), {}),
}
_PAIRS = 4000  # written of the demo shop; a quarter of them tests


def main() -> None:
    """Tune once a guard; print and record each."""
    a = arguments()
    parts = read(a)
    kept = np.random.default_rng(a.seed).permutation(len(parts.train))[: a.train]
    parts = replace(parts, train=parts.train.take(kept))
    right: dict[str, DoubleArray] = {}
    for name, (guard, options) in GUARDS.items():
        if name != "nothing" and not any(word in name for word in a.guards.split(",")):
            continue
        if "event" in name and parts.train.others is None:
            continue
        kind = "click" if parts.train.others else "label"
        task = Classification(kind, parts, None, guard=guard, max_tokens=a.max_tokens, seed=a.seed)
        row, right[name] = tuned(task, options, a)
        gain = right[name] - right["nothing"]
        half = 1.96 * gain.std() / np.sqrt(len(gain))
        row |= {"guard": name, "gain": round(float(gain.mean()), 4), "gain_half_width": round(float(half), 4)}
        row |= {
            "data": a.data.name if a.data else "complete_journey",
            "train": len(kept),
            "epochs": a.epochs,
            "rate": a.rate,
            "seed": a.seed,
        }
        print(row, flush=True)
        record("overfitting", row)


def read(a: argparse.Namespace) -> Parts:
    """Texts of the table, or pairs of the demo shop."""
    if a.data is None:
        shop = complete_journey()
        dataset = Dataset.from_frames(shop.events, shop.items, shop.users)
        return shop_parts(dataset, ClickSettings(max_pairs=_PAIRS, windows=1, seed=a.seed))
    table = read_table(a.data)
    return parted_texts(table[a.text].to_list(), table[a.label].to_list(), seed=a.seed)


def tuned(
    task: Classification, options: dict[str, float], a: argparse.Namespace
) -> tuple[dict[str, object], DoubleArray]:
    """Figures on the test part after one tuning, and which test texts it has right."""
    began = time.process_time()
    model = attach(task.load(open_folder().path), Method("full"), fresh=task.fresh)
    patience = int(options.get("patience", 0))
    schedule = Schedule(
        epochs=a.epochs,
        learning_rate=a.rate,
        weight_decay=options.get("weight_decay", 0.0),
        patience=patience,
        seed=a.seed,
    )
    course = finetune(
        model,
        task.batches,
        lambda batch: task.loss(model, batch),
        schedule,
        evaluate=(lambda: task.evaluate(model)) if patience else None,
        metric=task.metric if patience else "",
    )
    chances, answering = task.tested(model)
    labels = task.parts.test.labels
    found = classified(labels, chances, answering.threshold)
    row: dict[str, object] = {key: round(value, 4) for key, value in found.items()}
    row |= {"temperature": round(answering.temperature, 2), "steps": course.steps}
    row["train_loss"] = round(course.marks[-1].loss, 4)
    row["cpu_s"] = round(time.process_time() - began, 1)
    return row, (chances.argmax(axis=1) == labels).astype(np.float64)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, help="CSV, JSONL or Parquet, also .gz; default: demo shop")
    parser.add_argument("--text", default="text")
    parser.add_argument("--label", default="label")
    parser.add_argument("--train", type=int, default=400, help="texts to learn from")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--guards", default="", help="only those with one of these words, commas between")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
