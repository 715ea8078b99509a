"""How well is "will this household buy that within four weeks" answered, and by what?

    python benchmarks/click_classifier.py [--cut-back 28] [--cache DIR] [--models click] [--no-record]
    python benchmarks/click_classifier.py --retail online_retail.parquet --cache DIR

The Complete Journey, or the UCI Online Retail shop from its table, temporal split. Every model learns from
the months before the last 28 days, is calibrated and gets its threshold on households that it has not
learned from, and is judged on the last 28 days: all on the same candidate pairs, `--per-user` drawn at random
for each of `--users` households (those who bought nothing in that time are among them). The language model
reads pairs of texts, behaviour and candidate, and nothing else; it is dear, so it learns from a sample of the
same training pairs (`learns_from_at_most`). `--cut-back 28` moves the question four weeks earlier: use that
one while developing.

`auc, gain` and `log_loss, gain` are differences to the first of `--models`, the same households drawn.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from click_texts import TextPairs
from intently import Dataset, load_settings, progress
from intently.data import Histories
from intently.data.histories import DAY_S
from intently.data.shops import complete_journey
from intently.evaluate.chances import Pairs, differences, judge_chances
from intently.models.boosted import Boosted
from intently.models.click import Click
from intently.models.two_stage import TwoStage
from intently.pipeline import read_catalogue
from record import record

HORIZON_DAYS = 28.0
PER_USER = 20
SHOWN = ("auc", "precision", "recall", "f1", "accuracy", "log_loss", "ece")
ROWS = 400_000

MODELS: dict[str, tuple[str, Callable[[argparse.Namespace], TwoStage]]] = {
    "logistic": (
        "logistic regression",
        lambda asked: Click(hidden=(), learning_rate=0.01, max_rows=ROWS, seed=asked.seed),
    ),
    "boosted": ("LightGBM", lambda asked: Boosted(text=False, max_rows=ROWS, seed=asked.seed)),
    "boosted_text": (
        "LightGBM, with the match of texts",
        lambda asked: Boosted(max_rows=ROWS, seed=asked.seed),
    ),
    "click_facts": (
        "network 2 x 64, no text",
        lambda asked: Click(text=False, max_rows=ROWS, seed=asked.seed),
    ),
    "click": ("network 2 x 64 on frozen MiniLM", lambda asked: Click(max_rows=ROWS, seed=asked.seed)),
    "cross": (
        "DCN-v2 on frozen MiniLM",
        lambda asked: Click(network="cross", max_rows=ROWS, seed=asked.seed),
    ),
    "interest": (
        "DIN on frozen MiniLM",
        lambda asked: Click(network="interest", max_rows=ROWS, seed=asked.seed),
    ),
    "language": (
        "MiniLM tuned (LoRA) on pairs of texts",
        lambda asked: TextPairs(learn=asked.language_pairs, max_rows=ROWS, seed=asked.seed),
    ),
}


def main() -> None:
    """Fit, judge, print, record."""
    asked = arguments()
    progress.show()
    dataset = read_shop(asked.retail)
    dataset = dataset.as_of(dataset.end_s - asked.cut_back * DAY_S)
    with tempfile.TemporaryDirectory() as folder:
        dataset = read_catalogue(dataset, load_settings(home=Path(asked.cache or folder)))
    cut_s = dataset.end_s - HORIZON_DAYS * DAY_S
    past, future = dataset.split_at(cut_s)
    pairs: tuple[Histories, list[list[int]], np.ndarray[Any, Any]] | None = None
    first: Pairs | None = None
    for name in asked.models.split(","):
        title, make = MODELS[name]
        model, cpu_s = make(asked), time.process_time()
        model.fit(past)
        cpu_s = time.process_time() - cpu_s
        if pairs is None:  # candidates of all the models are the same
            pairs = judged_pairs(model, past, future, cut_s, asked)
        answered, ask_cpu_ms = asked_of(model, *pairs)
        row = {"model": title, **judged(model, answered), "ask_cpu_ms_a_pair": ask_cpu_ms}
        if first is not None:
            for key, value in differences(answered, first).items():
                row[f"{key}, gain"] = [round(float(v), 5) for v in bounds(value)]
        first = first or answered
        row["fit_cpu_s"] = round(cpu_s, 1)
        row["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        row |= {"data": "online_retail"} if asked.retail else {}
        say({**row, "cut_back_days": asked.cut_back, "seed": asked.seed}, asked)


def read_shop(retail: Path | None) -> Dataset:
    """The Complete Journey, or Online Retail: lines of known customers that were not returned.

    A product is its description, as the table lacks the codes of many lines.
    """
    if retail is None:
        shop = complete_journey()
        return Dataset.from_frames(shop.events, shop.items, shop.users)
    lines = pl.read_parquet(retail).filter(
        (pl.col("Quantity") > 0) & (pl.col("UnitPrice") > 0) & (pl.col("Description").str.strip_chars() != "")
    )
    events = lines.drop_nulls("CustomerID").select(
        user_id=pl.col("CustomerID").cast(pl.String),
        item_id=pl.col("Description").str.strip_chars(),
        event=pl.lit("purchase"),
        timestamp=pl.col("InvoiceDate").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        quantity=pl.col("Quantity").cast(pl.Float32),
        price=pl.col("UnitPrice").cast(pl.Float32),
    )
    items = events.group_by("item_id", maintain_order=True).agg(price=pl.col("price").median())
    return Dataset.from_frames(events, items.with_columns(title=pl.col("item_id").str.to_lowercase()))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--retail", type=Path, help="the table of Online Retail in place of the grocery")
    parser.add_argument("--cut-back", type=float, default=0.0, help="days to drop from the end first")
    parser.add_argument("--models", default=",".join(MODELS), help="which of them, in this order")
    parser.add_argument("--users", type=int, default=250, help="households to be judged on")
    parser.add_argument("--per-user", type=int, default=PER_USER, help="candidates of each household")
    parser.add_argument(
        "--language-pairs", type=int, default=2000, help="pairs the language model learns from"
    )
    parser.add_argument("--cache", default="", help="folder of the text vectors")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-record", action="store_true", help="print only")
    asked = parser.parse_args()
    unknown = [name for name in asked.models.split(",") if name not in MODELS]
    if unknown:
        parser.error(f"unknown model {unknown[0]!r}; allowed: {', '.join(MODELS)}")
    return asked


def judged_pairs(
    model: TwoStage, past: Dataset, future: Dataset, cut_s: float, asked: argparse.Namespace
) -> tuple[Histories, list[list[int]], np.ndarray[Any, Any]]:
    """Histories of the households, `per_user` candidates of each, and which of them were bought."""
    random = np.random.default_rng(asked.seed)
    everyone = past.histories(at=cut_s)
    known = np.flatnonzero(everyone.lengths > 0)
    histories = everyone.select(np.sort(random.permutation(known)[: asked.users]))
    items: list[list[int]] = []
    for batch in histories.batches(256):
        pairs = model._pairs(batch)  # scoring them all takes a language model a quarter of an hour
        for row in range(len(batch)):
            drawn = random.permutation(np.unique(pairs.items[pairs.rows == row]))[: asked.per_user]
            items.append(np.sort(drawn).tolist())
    indptr, bought = future.baskets(past.target)
    truth = [
        np.isin(chosen, bought[indptr[user] : indptr[user + 1]])
        for user, chosen in zip(histories.users, items, strict=True)
    ]
    return histories, items, np.concatenate(truth)


def asked_of(
    model: TwoStage, histories: Histories, items: list[list[int]], happened: np.ndarray[Any, Any]
) -> tuple[Pairs, float]:
    """The model's chances of the pairs, and CPU milliseconds a pair."""
    cpu_s = time.process_time()
    chance = np.concatenate(model.probability(histories, items)).astype(np.float64)
    cpu_s = time.process_time() - cpu_s
    user = np.repeat(np.arange(len(items), dtype=np.int32), [len(row) for row in items])
    pairs = Pairs(user, happened, chance, len(items), int(happened.sum()))
    return pairs, round(1000 * cpu_s / len(chance), 3)


def judged(model: TwoStage, pairs: Pairs) -> dict[str, Any]:
    """Every figure of SHOWN, [value, low, high] with households drawn anew."""
    found = judge_chances(model.name, pairs, model.threshold)
    return {
        "learns_from_at_most": int(getattr(model, "learn", ROWS)),
        "n_pairs": found.pairs,
        "positives": found.positives,
        "threshold": round(model.threshold, 4),
        **{name: [round(float(v), 5) for v in bounds(found.figures[name])] for name in SHOWN},
    }


def bounds(value: Any) -> tuple[float, float, float]:
    """(value, low, high)."""
    return value.value, value.low, value.high


def say(row: dict[str, Any], asked: argparse.Namespace) -> None:
    """One line on standard output, and one in the results."""
    if not asked.no_record:
        row = record("click_classifier", row)
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
