"""How well does a tuned language model tell texts apart, and at what price?

    python benchmarks/classify.py --data phrasebank.csv.gz --text content --label label --method lora

One line a run: accuracy and macro-F1 on 20 % of the texts (stratified, seed stated, no text of the training
part among them), the same for the untuned encoder with a head fitted on it, CPU minutes, share of the
weights that were trained. A tenth of the other 80 % chooses the epoch; the test part is looked at once, at
the end, and not at all with --tuning. `--method linear` is the peer: no language model (linear_texts.py).
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from intently.language.classification import Classification, Guard
from intently.language.classifier import TextClassifier
from intently.language.figures import classified
from intently.language.folder import open_folder
from intently.language.label import from_texts, read_table
from intently.language.methods import METHODS, Method, after_step, attach, merged, trainable
from intently.nn.finetuning import Schedule, finetune
from intently.schema import DoubleArray
from linear_texts import linear
from record import record

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def main() -> None:
    """Tune once, print and record."""
    a = arguments()
    began = cpu_s()
    table = read_table(a.data)
    texts, labels = table[a.text].to_list(), table[a.label].to_list()
    guard = Guard(a.dropout, a.smoothing, a.class_weights, a.token_mask)
    folder = open_folder(a.model).path
    task = from_texts(
        texts, labels, a.model, guard=guard, batch_size=a.batch, max_tokens=a.max_tokens, seed=a.seed
    )
    if a.sample:
        task = smaller(task, a, guard)
    row: dict[str, object] = {"data": a.data.name, "label": a.label, "method": a.method, "seed": a.seed}
    if a.method == "linear":
        row |= linear(task.parts, task.parts.validation if a.tuning else task.parts.test)
        print(row)
        if not a.tuning:
            record("classify", row)
        return
    schedule = Schedule(
        epochs=a.epochs,
        learning_rate=a.rate,
        weight_decay=a.decay,
        warmup=0.1,
        minutes=a.minutes,
        patience=a.patience,
        seed=a.seed,
    )
    plain = task.load(folder)
    row |= {"train": len(task.parts.train), "test": len(task.parts.test), "classes": len(task.parts.names)}
    row["validation_untuned"] = shown(task.evaluate(plain))
    if not (a.tuning or a.skip_untuned):
        row["untuned"] = shown(task.test_figures(plain))
    steps = a.epochs * len(task.batches(0))
    method = Method(a.method, rank=a.rank, alpha=a.alpha, bottleneck=a.bottleneck)
    model = attach(plain, method, fresh=task.fresh, steps=steps)
    trained, total = trainable(model)
    course = finetune(
        model,
        task.batches,
        lambda batch: task.loss(model, batch),
        schedule,
        evaluate=lambda: task.evaluate(model),
        metric=task.metric,
        after_step=lambda step: after_step(model, step),
    )
    for mark in course.marks:
        print(f"step {mark.step} loss {mark.loss:.4f} {shown(mark.metrics)}", flush=True)
    row |= {"trained": trained, "share": round(trained / total, 4), "steps": course.steps}
    row |= {"stopped": course.stopped, "rate": a.rate, "rank": a.rank, "max_tokens": a.max_tokens}
    row["validation"] = shown(course.best.metrics if course.best else {})
    final = merged(model)
    if not a.tuning:
        chances, answering = task.tested(final)
        row |= shown(classified(task.parts.test.labels, chances, answering.threshold))
        row["same_when_read_again"] = saved_agrees(task, final, chances[:50])
    row |= {"training_cpu_minutes": round(course.cpu_s / 60, 2)}
    row |= {"cpu_minutes": round((cpu_s() - began) / 60, 2)}
    row |= {"note": a.note} if a.note else {}
    print(row)
    if not a.tuning:
        record("classify", row)


def smaller(task: Classification, a: argparse.Namespace, guard: Guard) -> Classification:
    """The same task with `--sample` texts to learn from, a tenth of them for validation."""
    rng = np.random.default_rng(a.seed)
    parts = task.parts
    kept = rng.permutation(len(parts.train))[: round(0.9 * a.sample)]
    tuned = rng.permutation(len(parts.validation))[: round(0.1 * a.sample)]
    tested = rng.permutation(len(parts.test))[: a.test_sample or len(parts.test)]
    parts = replace(
        parts,
        train=parts.train.take(kept),
        validation=parts.validation.take(tuned),
        test=parts.test.take(tested),
    )
    return Classification(
        "label", parts, a.model, guard=guard, batch_size=a.batch, max_tokens=a.max_tokens, seed=a.seed
    )


def saved_agrees(task: Classification, model: PreTrainedModel, chances: DoubleArray) -> bool:
    """Whether the saved folder gives the same chances of the first test texts."""
    with tempfile.TemporaryDirectory() as folder:
        task.save(model, Path(folder))
        again = TextClassifier(Path(folder)).probabilities(task.parts.test.texts[: len(chances)])
    return bool(np.abs(chances - again).max() < 1e-3)


def shown(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="CSV, JSONL or Parquet, also .gz")
    parser.add_argument("--text", required=True)
    parser.add_argument("--label", required=True)
    parser.add_argument("--method", choices=(*METHODS, "linear"), default="full")
    parser.add_argument("--model", type=Path, default=None, help="a transformers folder; default: English")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rate", type=float, default=5e-5, help="learning rate")
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--patience", type=int, default=2)
    parser.add_argument("--decay", type=float, default=0.01)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--alpha", type=int, default=16)
    parser.add_argument("--bottleneck", type=int, default=32)
    parser.add_argument("--dropout", type=float, default=-1.0)
    parser.add_argument("--smoothing", type=float, default=0.0)
    parser.add_argument("--class-weights", action="store_true")
    parser.add_argument("--token-mask", type=float, default=0.0)
    parser.add_argument("--sample", type=int, default=0, help="learn from so many texts; 0: all")
    parser.add_argument("--test-sample", type=int, default=0, help="with --sample: test on so many; 0: all")
    parser.add_argument("--tuning", action="store_true", help="do not look at the test part, record nothing")
    parser.add_argument("--skip-untuned", action="store_true", help="test only the tuned model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--note", default="")
    return parser.parse_args()


if __name__ == "__main__":
    main()
