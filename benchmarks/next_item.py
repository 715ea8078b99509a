"""How well does each model guess a user's next item? Leave-one-out over the whole catalogue.

    python benchmarks/next_item.py --data DIR [--models popular,linear] [--seeds 3]

DIR holds sequences.txt[.gz] (a line a user: `user item item ...` in time order; last = test, last but
one = validation), or sequences.csv[.gz] with the columns user_id, history (items with blanks between)
and last_item, and optionally items.csv[.gz] (item_id, title, ...). Models are fitted without both
held items; at test time the history, the validation item included, is given without a refit and masked.
Every item of the sequences is ranked. Users with fewer than three items only train.

One JSON line a model on standard output; progress and errors go to standard error. Every model runs in
a process of its own, so that its CPU seconds (all threads) and its peak of memory are its own.
"""

from __future__ import annotations

import argparse
import gzip
import inspect
import io
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from intently.data import Dataset, Histories
from intently.data.histories import DAY_S
from intently.errors import InputError, IntentlyError
from intently.evaluate.metrics import hits, ndcg, recall
from intently.models import REGISTRY, Recommender, model_class
from record import record

MODELS = "popular,covisit,linear,content,blend,sequence,two_tower,graph"
METRICS = ("recall@5", "ndcg@5", "recall@10", "ndcg@10")
COSTS = ("fit_cpu_s", "fit_wall_s", "peak_rss_mb", "coverage@10")
LEAST = 3
"""Items from which a user is asked; the others only train."""


def main() -> int:
    """Run the models one after the other; 0, 1 when a model failed, 2 for bad input."""
    options = arguments()
    try:
        if options.child:
            return child(options)
        return parent(options)
    except IntentlyError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with sequences.txt[.gz]")
    parser.add_argument("--models", default=MODELS, help=f"comma-separated, default {MODELS}")
    parser.add_argument("--seeds", type=int, default=1, help="seeds averaged, for models that have one")
    parser.add_argument("--split", choices=("test", "valid"), default="test", help="valid: for choosing")
    parser.add_argument("--settings", default="{}", help='JSON, such as {"linear": {"l2": 50}}')
    parser.add_argument("--no-record", action="store_true", help="do not append to results/next_item.jsonl")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--vectors", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def parent(options: argparse.Namespace) -> int:
    """Check everything first, then one process a model and seed."""
    names = [name for name in options.models.split(",") if name]
    for name in names:
        model_class(name)
    settings = _settings(options.settings)
    if options.seeds < 1:
        raise InputError(f"--seeds must be at least 1, got {options.seeds}")
    for name, given in settings.items():
        _made(name, given)
    dataset = read_shop(options.data)
    held_out(dataset, options.split)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        vectors = _vectors(options.data, dataset, Path(folder), names)
        for name in names:
            if name == "content" and vectors is None:
                print("content: skipped, the items have no texts", file=sys.stderr)
                continue
            row = _measure(options, name, settings.get(name, {}), vectors)
            failed += row is None
            if row is not None:
                print(json.dumps(row), flush=True)
                if not options.no_record:
                    record("next_item", row)
    return 1 if failed else 0


def _settings(text: str) -> dict[str, dict[str, Any]]:
    try:
        settings = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"--settings is not JSON: {error}") from error
    if not isinstance(settings, dict) or not set(settings) <= set(REGISTRY):
        raise InputError(f"--settings must map models to settings, got {text[:80]}")
    return settings


def _made(name: str, settings: dict[str, Any]) -> Recommender:
    """An unfitted model; raises InputError for settings that it does not have."""
    try:
        return model_class(name)(**settings)
    except TypeError as error:
        raise InputError(f"settings of {name}: {error}") from error


def _vectors(data: Path, dataset: Dataset, folder: Path, names: list[str]) -> Path | None:
    """File of the text vectors, made in a process of its own; None without texts or an encoder."""
    from intently.language import catalogue_text

    if not {"content", "blend", "sequence", "two_tower", "ensemble"} & set(names):
        return None
    if not any(catalogue_text(dataset)):
        print("no texts: items.csv is missing or has no titles", file=sys.stderr)
        return None
    path = folder / "vectors.npy"
    done = _run(["--data", str(data), "--child", "encode", "--vectors", str(path)])
    if done is None:
        print("going on without text vectors", file=sys.stderr)
        return None
    print(f"texts read in {done['encode_cpu_s']} CPU s", file=sys.stderr)
    return path


def _measure(
    options: argparse.Namespace, name: str, settings: dict[str, Any], vectors: Path | None
) -> dict[str, Any] | None:
    """One row: the mean over the seeds; None when a run failed."""
    seeded = "seed" in inspect.signature(model_class(name).__init__).parameters
    rows = []
    for seed in range(options.seeds if seeded else 1):
        print(f"{name}, seed {seed} ..." if seeded else f"{name} ...", file=sys.stderr, flush=True)
        given = settings | ({"seed": seed} if seeded else {})
        words = ["--data", str(options.data), "--child", name, "--split", options.split]
        words += ["--settings", json.dumps({name: given})]
        row = _run([*words, "--vectors", str(vectors)] if vectors else words)
        if row is None:
            return None
        rows.append(row)
    mean = {key: float(np.mean([row[key] for row in rows])) for key in (*METRICS, *COSTS)}
    digits = dict.fromkeys(METRICS, 5) | {"fit_cpu_s": 2, "fit_wall_s": 2, "peak_rss_mb": 0, "coverage@10": 4}
    out = {"model": name} | {key: round(value, digits[key]) for key, value in mean.items()}
    facts = {key: rows[0][key] for key in ("users", "items", "events")}
    spread = {"ndcg@10_sd": round(float(np.std([r["ndcg@10"] for r in rows], ddof=1)), 5)} if rows[1:] else {}
    described = {"data": options.data.resolve().name, "split": options.split, "seeds": len(rows)}
    return out | described | facts | spread | {"settings": settings, "texts": vectors is not None}


def _run(words: list[str]) -> dict[str, Any] | None:
    """The JSON line that a process of this file prints last; None when it failed."""
    command = [sys.executable, str(Path(__file__).resolve()), *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(f"{words[3]}: failed with exit code {done.returncode}", file=sys.stderr)
        return None
    row: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return row


def child(options: argparse.Namespace) -> int:
    """Encode the texts, or fit and judge one model; print one JSON line."""
    dataset = read_shop(options.data)
    if options.child == "encode":
        from intently.language import encode_catalogue

        before = cpu_s()
        np.save(options.vectors, encode_catalogue(dataset).vectors)
        print(json.dumps({"encode_cpu_s": round(cpu_s() - before, 1)}))
        return 0
    if options.vectors:
        dataset = dataset.with_vectors(np.load(options.vectors))
    model = _made(options.child, _settings(options.settings).get(options.child, {}))
    train, asked, truth = held_out(dataset, options.split)
    cpu, wall = cpu_s(), time.perf_counter()
    model.fit(train)
    costs = {"fit_cpu_s": cpu_s() - cpu, "fit_wall_s": time.perf_counter() - wall}
    items = model.top_k(asked, 10, repeats=False).items
    found = hits(items, np.arange(len(truth) + 1), truth)
    one = np.ones(len(truth), np.int64)
    row = {f"recall@{k}": float(recall(found, one, k).mean()) for k in (5, 10)}
    row |= {f"ndcg@{k}": float(ndcg(found, one, k).mean()) for k in (5, 10)}
    row |= costs | {"coverage@10": len(np.unique(items[items >= 0])) / dataset.n_items}
    sizes = {"users": len(truth), "items": dataset.n_items, "events": dataset.n_events}
    print(json.dumps(row | sizes | {"peak_rss_mb": peak_rss_mb()}))
    return 0


def held_out(dataset: Dataset, split: str) -> tuple[Dataset, Histories, Any]:
    """(what models may learn from, the asked histories, the right item of each)."""
    user = dataset.events["user"].to_numpy()
    place = np.round(dataset.moments() / DAY_S).astype(np.int64)  # event j of a user lies on day j
    length = np.bincount(user, minlength=dataset.n_users)
    asked = np.flatnonzero(length >= LEAST)
    if len(asked) == 0:
        raise InputError(f"no user has {LEAST} items, so nobody can be asked")
    from_end = length[user] - place  # 1 for the last
    short = length[user] < LEAST
    answer = 1 if split == "test" else 2
    train = replace(dataset, events=dataset.events.filter(pl.Series(short | (from_end > 2))))
    known = replace(dataset, events=dataset.events.filter(pl.Series(short | (from_end > answer))))
    truth = np.full(dataset.n_users, -1, np.int32)
    held = from_end == answer
    truth[user[held]] = dataset.events["item"].to_numpy()[held]
    return train, known.histories(asked), truth[asked]


def read_shop(folder: Path) -> Dataset:
    """The sequences of a folder, with the item table where there is one. Raises InputError."""
    if not folder.is_dir():
        raise InputError(f"no folder {folder.name!r}", hint="--data is a folder with sequences.txt[.gz]")
    sequences = _sequences(folder)
    ids = pl.DataFrame({"item_id": sorted({item for items in sequences for item in items})})
    table = _items(folder)
    return Dataset.from_sequences(
        sequences, items=ids if table is None else ids.join(table, on="item_id", how="left")
    )


def _sequences(folder: Path) -> list[list[str]]:
    """The items of each user, in time order."""
    text = _text(folder, "sequences.txt")
    if text is None:
        table = _table(folder, "sequences.csv", ("user_id", "history", "last_item"))
        if table is None:
            raise InputError(f"{folder.name} has no sequences.txt, sequences.csv or .gz of them")
        whole = pl.concat_str(["user_id", "history", "last_item"], separator=" ", ignore_nulls=True)
        lines = table.select(whole)[:, 0].str.split(" ").to_list()
    else:
        lines = [line.split() for line in text.splitlines()]
    sequences = [words[1:] for words in lines if len(words) > 1]
    if not sequences:
        raise InputError("sequences.txt has no line `user item item ...`")
    return sequences


def _items(folder: Path) -> pl.DataFrame | None:
    table = _table(folder, "items.csv", ("item_id",))
    if table is None:
        return None
    return table.filter(pl.col("item_id").is_not_null()).unique("item_id", keep="last", maintain_order=True)


def _table(folder: Path, name: str, needed: tuple[str, ...]) -> pl.DataFrame | None:
    """The CSV file `name` or `name`.gz, all text; None when neither is there."""
    text = _text(folder, name)
    if text is None:
        return None
    try:
        table = pl.read_csv(io.StringIO(text), infer_schema=False, truncate_ragged_lines=True)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{name} cannot be read: {str(error).splitlines()[0]}") from error
    for column in needed:
        if column not in table.columns:
            raise InputError(f"{name} has no column {column}; got {', '.join(table.columns)}")
    return table


def _text(folder: Path, name: str) -> str | None:
    """Content of `name` or `name`.gz; None when neither is there."""
    try:
        if (folder / name).exists():
            return (folder / name).read_text(encoding="utf-8-sig")
        if (folder / f"{name}.gz").exists():
            return gzip.decompress((folder / f"{name}.gz").read_bytes()).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"{name} cannot be read: {error}") from error
    return None


def cpu_s() -> float:
    """CPU seconds of this process and its children so far, all threads."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def peak_rss_mb() -> float:
    """Peak of resident memory; from /proc where there is one, as ru_maxrss counts the parent's too."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    kib = int(found.group(1)) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib / 1024


if __name__ == "__main__":
    sys.exit(main())
