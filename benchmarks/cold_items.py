"""What does tuning bring for items that nobody has met? Next item among the whole catalogue.

    python benchmarks/cold_items.py --data DIR [--minutes 30] [--methods full,lora,adalora,adapter]

DIR holds sequences.txt[.gz] (a line a user: `user item item ...` in time order) and items.csv[.gz] (item_id,
title). A seeded tenth of the items is removed from all training histories (cold), another tenth only judges
when to stop. Each user's last item is asked for, the whole catalogue ranked, the history masked. Every way
chooses the decay of the past on the validation questions, the untuned one too.

Rows: text-kNN with the untuned English encoder, with the untuned one of `--model`, and with the one that is
best on the validation; all also whitened (by the layer of contrast.py that the validation questions prefer),
and bent by the ridge of models/content.py, which learns from the same training histories in closed form;
and the receipt of every method.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import polars as pl

from intently import progress
from intently.data import Dataset
from intently.errors import InputError, IntentlyError
from intently.intervals import difference, lift, mean_interval
from intently.language import next_text, receipt
from intently.language.choice import named_encoder
from intently.language.contrast import Contrast, Contrasting
from intently.language.exact import load_module
from intently.language.folder import open_folder
from intently.language.methods import Method
from intently.language.tune import compare
from intently.models.content import Content
from intently.nn.finetuning import Schedule
from intently.schema import DoubleArray, FloatArray
from record import record

QUESTION = "cold_items"
METHODS = "full,lora,adalora,adapter"


def main() -> int:
    """All methods, then one line each; 0, or 2 for bad input."""
    options = arguments()
    progress.show()
    try:
        return run(options)
    except IntentlyError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with sequences.txt[.gz]")
    parser.add_argument(
        "--model",
        type=named_encoder,
        help="what is tuned: english, multilingual or a folder; default: english",
    )
    parser.add_argument("--methods", default=METHODS, help=f"comma-separated, default {METHODS}; '': none")
    parser.add_argument("--minutes", type=float, default=30.0, help="for all methods together")
    parser.add_argument("--temperature", type=float, default=Contrasting.temperature)
    parser.add_argument("--items", type=int, default=Contrasting.items, help="texts a batch")
    parser.add_argument("--hard", type=int, default=Contrasting.hard, help="hard negatives a text")
    parser.add_argument("--rate", type=float, default=0.0, help="learning rate; 0: the method's own")
    parser.add_argument("--dropout", type=float, default=-1.0, help="of every layer; -1: as the model says")
    parser.add_argument("--every", type=int, default=60, help="steps between two evaluations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="keep the tuned folders here")
    parser.add_argument("--no-record", action="store_true", help="do not append to results")
    return parser.parse_args()


def run(options: argparse.Namespace) -> int:
    """Tune, judge, record."""
    options.model = named_encoder(options.model) if options.model else None
    shop = beauty(options.data)
    settings = Contrasting(temperature=options.temperature, items=options.items, hard=options.hard)
    task = next_text.from_shop(shop, options.model, settings, dropout=options.dropout, seed=options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        out = options.out or Path(scratch)
        schedule = Schedule(
            epochs=1000,
            learning_rate=options.rate,
            minutes=options.minutes,
            every=options.every,
            seed=options.seed,
        )
        chosen = [Method(name) for name in options.methods.split(",") if name]
        default = untuned = untuned_ways(task, shop, options.model, options)
        if options.model:
            plain = next_text.from_shop(shop, None, settings, seed=options.seed)
            default = untuned_ways(plain, shop, None, options)
        if not chosen:
            return 0
        receipts = compare(options.model, task, chosen, schedule, out, before=untuned["text-kNN"])
        for line in receipt.markdown(receipts):
            print(line)
        print(receipt.verdict(receipts)[1])
        for one in receipts:
            keep(
                {"way": "receipt", "encoder": named(one.method, options.model)} | receipt.plain(one), options
            )
        best = max(receipts, key=lambda one: one.validation).method
        folder = open_folder(out / best)
        module = load_module(folder)
        task.sentences.follow(folder)
        tuned = ways(task, shop, task.sentences.matrix(module.model))
        for name, hits in tuned.items():
            row = {"way": name, "encoder": named(best, options.model)} | figures(hits)
            row |= against(hits, default["text-kNN"], "untuned text-kNN")
            row |= against(hits, untuned[name], f"untuned {name}")
            keep(row, options)
    return 0


def untuned_ways(
    task: Contrast, shop: Dataset, model: Path | None, options: argparse.Namespace
) -> dict[str, dict[str, DoubleArray]]:
    """Hits of an encoder as it comes, recorded; None: the English one."""
    task.load(open_folder(model).path)
    found = ways(task, shop, task.bank)
    for way, hits in found.items():
        keep({"way": way, "encoder": named("untuned", model)} | figures(hits), options)
    return found


def named(how: str, model: Path | None) -> str:
    """How the encoder was tuned, and what it began with where that is not the English one."""
    return f"{how}, {model.name}" if model else how


def ways(task: Contrast, shop: Dataset, vectors: FloatArray) -> dict[str, dict[str, DoubleArray]]:
    """Hits by way and group of one encoder's vectors of the texts."""
    by_item = task.by_item(vectors)
    _, bettered = task.settled(vectors, task.layers(vectors))
    return {
        "text-kNN": task.hits(by_item),
        "whitened": task.hits(task.by_item(bettered)),
        "content": bent(task, shop, by_item),
    }


def bent(task: Contrast, shop: Dataset, vectors: FloatArray) -> dict[str, DoubleArray]:
    """models/content.py, fitted on the training histories alone."""
    events = shop.events.with_columns(
        last=pl.int_range(pl.len()).over("user") == pl.len().over("user") - 1,
        new=pl.Series(task.parts.cold | task.parts.held)[shop.events["item"]],
    )
    taught = replace(shop, events=events.filter(~pl.col("last") & ~pl.col("new")).drop("last", "new"))
    model = Content().fit(taught.with_vectors(vectors))
    return task.hits(model.vectors, model.bend)


def figures(hits: dict[str, DoubleArray]) -> dict[str, Any]:
    """Recall@10 by group with its interval."""
    return {f"recall@10 {name}": round_all(asdict(mean_interval(values))) for name, values in hits.items()}


def against(ours: dict[str, DoubleArray], theirs: dict[str, DoubleArray], name: str) -> dict[str, Any]:
    """Paired gain and relative lift by group."""
    return {
        f"{group} over {name}": {
            "gain": round_all(asdict(difference(ours[group], theirs[group]))),
            "lift": round_all(asdict(lift(ours[group], theirs[group]))),
        }
        for group in ours
    }


def round_all(fields: dict[str, float]) -> dict[str, float]:
    """Five digits are plenty."""
    return {name: round(value, 5) for name, value in fields.items()}


def keep(row: dict[str, Any], options: argparse.Namespace) -> None:
    """Print the row; record it unless told otherwise."""
    row["data"] = options.data.name
    row["seed"] = options.seed
    print({name: value for name, value in row.items() if name not in ("groups", "settings")})
    if not options.no_record:
        record(QUESTION, row)


def beauty(folder: Path) -> Dataset:
    """The shop of a folder; raises InputError when a file is missing."""
    lines = _text(folder, "sequences.txt").splitlines()
    users, sequences = [], []
    for line in lines:
        user, *items = line.split()
        users.append(user)
        sequences.append(items)
    table = pl.read_csv(_text(folder, "items.csv").encode(), infer_schema=False).select("item_id", "title")
    return Dataset.from_sequences(sequences, users, table)


def _text(folder: Path, name: str) -> str:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.exists():
            raw = path.read_bytes()
            return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    raise InputError(f"{folder} holds neither {name} nor {name}.gz")


if __name__ == "__main__":
    sys.exit(main())
