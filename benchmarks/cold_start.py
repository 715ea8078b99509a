"""Who answers for items and for users that nobody has met? Next item among the whole catalogue.

    python benchmarks/cold_start.py --data DIR [--models popular,content,two_tower] [--split valid]

DIR is a folder of next_item.py, with texts. A seeded tenth of the items is removed from all training
histories (cold items), and so is everything that a seeded tenth of the users did (cold users). All models
are fitted once on the rest, without each user's last item. Then the whole catalogue is ranked, what the
history holds masked:

    cold items    last items of the other users that are cold
    warm items    last items of the other users that are not
    cold users N  the item after a cold user's first N, for N from 0 to 3

Besides the models stand text-kNN, the cosine between the encoder's vectors as they come and the decayed mean
of the history, and the same whitened over the catalogue; both choose their decay on the item before the
last. Every row has its intervals (bootstrap over users), and the paired difference between two_tower, and
ensemble where it is asked for, and that row's model. --split valid leaves everyone's last item out of
everything: for choosing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from intently.data import Dataset, Histories
from intently.errors import InputError, IntentlyError
from intently.evaluate.metrics import hits, ndcg, recall
from intently.intervals import difference, mean_interval
from intently.language.whitening import whitened
from intently.models import model_class
from intently.models.content import unit
from intently.models.ranking import Ranked, rank
from intently.schema import BoolArray, DoubleArray, FloatArray, IntArray
from next_item import _made, _settings, _vectors, cpu_s, read_shop
from record import record

QUESTION = "cold_start"
OURS = ("two_tower", "ensemble")
MODELS = "popular,content,two_tower"
SHARE = 0.1
FIRST = (0, 1, 2, 3)
DECAYS = (0.4, 0.6, 0.8, 1.0)
BATCH = 256

Figures = dict[str, dict[str, DoubleArray]]
"""Group -> metric -> one value a question."""


def main() -> int:
    """All models, then one line each; 0, or 2 for bad input."""
    options = arguments()
    try:
        return run(options)
    except IntentlyError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with sequences and items.csv")
    parser.add_argument("--models", default=MODELS, help=f"comma-separated, default {MODELS}")
    parser.add_argument("--settings", default="{}", help='JSON, such as {"two_tower": {"d": 64}}')
    parser.add_argument("--split", choices=("test", "valid"), default="test", help="valid: for choosing")
    parser.add_argument("--seed", type=int, default=0, help="of what is cold, and of the models")
    parser.add_argument("--no-record", action="store_true", help="do not append to results")
    return parser.parse_args()


def run(options: argparse.Namespace) -> int:
    """Fit, ask, compare, record."""
    names = [name for name in options.models.split(",") if name]
    settings = _settings(options.settings)
    for name in names:
        model_class(name)
    shop = read_shop(options.data)
    with tempfile.TemporaryDirectory() as folder:
        vectors = _vectors(options.data, shop, Path(folder), ["content"])
        if vectors is None:
            raise InputError("cold items need texts", hint="--data with items.csv and its titles")
        shop = shop.with_vectors(np.load(vectors))
    if options.split == "valid":
        shop = shop.leave_one_out()[0]
    split = Split(shop, options.seed)
    found: dict[str, Figures] = {}
    costs: dict[str, float] = {}
    for name, table in (("text-kNN", shop.vectors), ("whitened text-kNN", _whitened(shop.vectors))):
        found[name] = split.figures(split.nearest_text(table))
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        before = cpu_s()
        seeded = {"seed": options.seed} if name in OURS else {}
        model = _made(name, seeded | settings.get(name, {})).fit(split.train)
        costs[name] = cpu_s() - before
        found[name] = split.figures(lambda asked, model=model: model.top_k(asked, 10, repeats=False))
    for name in found:
        row: dict[str, Any] = {"model": name} | compared(found, name)
        row |= {"fit_cpu_s": round(costs.get(name, 0.0), 1), "settings": settings.get(name, {})}
        row |= {"data": options.data.resolve().name, "split": options.split, "seed": options.seed}
        print(line(row), flush=True)
        if not options.no_record:
            record(QUESTION, row)
    return 0


def compared(found: dict[str, Figures], name: str) -> dict[str, Any]:
    """A model's figures with their intervals, and what ours has over them, paired."""
    out: dict[str, Any] = {}
    for group, by_metric in found[name].items():
        for metric, values in by_metric.items():
            out[f"{metric} {group}"] = short(asdict(mean_interval(values)))
            for own in OURS:
                if own in found and name != own:
                    gain = difference(found[own][group][metric], values)
                    out[f"{own} over it, {metric} {group}"] = short(asdict(gain))
    return out


class Split:
    """Training part and questions; see the top of this file."""

    def __init__(self, shop: Dataset, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.shop = shop
        self.cold_item = tenth(shop.n_items, random)
        self.cold_user = tenth(shop.n_users, random)
        known, last = shop.leave_one_out()
        user, item = (known.events[name].to_numpy() for name in ("user", "item"))
        kept = ~self.cold_user[user] & ~self.cold_item[item]
        self.train = replace(known, events=known.events.filter(pl.Series(kept)))
        self.questions: dict[str, tuple[Histories, IntArray]] = {}
        for group, wanted in (("cold items", self.cold_item), ("warm items", ~self.cold_item)):
            rows = np.flatnonzero(~self.cold_user & (last >= 0) & wanted[np.maximum(last, 0)])
            self.questions[group] = known.histories(rows), last[rows]
        everything = shop.histories()
        for n in FIRST:
            rows = np.flatnonzero(self.cold_user & (everything.lengths > n))
            places = everything.indptr[rows] + n
            self.questions[f"cold users {n}"] = begun(everything.select(rows), n), everything.items[places]

    def nearest_text(self, table: FloatArray | None) -> Callable[[Histories], Ranked]:
        """Cosine to the decayed mean of the past; the decay is chosen on the training part's last items."""
        assert table is not None
        known, last = self.train.leave_one_out()
        rows = np.flatnonzero(last >= 0)[:4000]
        asked, truth = known.histories(rows), last[rows]
        best = max(DECAYS, key=lambda decay: float(judged(by_text(table, decay), asked, truth)[0].mean()))
        return by_text(table, best)

    def figures(self, answer: Callable[[Histories], Ranked]) -> Figures:
        """What `answer` finds, by group."""
        out: Figures = {}
        for group, (asked, truth) in self.questions.items():
            found = judged(answer, asked, truth)
            out[group] = {"recall@10": found[0], "ndcg@10": found[1]}
        return out


def tenth(n: int, random: np.random.Generator) -> BoolArray:
    """(n,) a random tenth of n."""
    out = np.zeros(n, bool)
    out[random.permutation(n)[: int(SHARE * n)]] = True
    return out


def begun(histories: Histories, n: int) -> Histories:
    """Only the first `n` events of each user, who have as many; asked at the end."""
    places = (histories.indptr[:-1, None] + np.arange(n)).ravel()
    return replace(
        histories,
        indptr=np.arange(len(histories) + 1, dtype=np.int64) * n,
        items=histories.items[places],
        time_s=histories.time_s[places],
        events=histories.events[places],
    )


def by_text(table: FloatArray, decay: float) -> Callable[[Histories], Ranked]:
    """The ten nearest texts; a user without a history gets the first ten items, as nothing is known."""

    def answer(histories: Histories) -> Ranked:
        parts = []
        for batch in histories.batches(BATCH):
            weights = (decay**batch.steps_back).astype(np.float32)
            wanted = unit(batch.matrix(len(table), weights) @ table)
            parts.append(rank(wanted @ table.T, batch, 10, repeats=False))
        return Ranked.concat(parts, 10)

    return answer


def judged(
    answer: Callable[[Histories], Ranked], asked: Histories, truth: IntArray
) -> tuple[DoubleArray, DoubleArray]:
    """(recall@10, NDCG@10) of each question."""
    found = hits(answer(asked).items, np.arange(len(truth) + 1), truth)
    one = np.ones(len(truth), np.int64)
    return recall(found, one, 10), ndcg(found, one, 10)


def _whitened(vectors: FloatArray | None) -> FloatArray:
    assert vectors is not None
    return unit(whitened(vectors)).astype(np.float32)


def short(fields: dict[str, float]) -> dict[str, float]:
    """Five digits are plenty."""
    return {name: round(value, 5) for name, value in fields.items()}


def line(row: dict[str, Any]) -> str:
    """The row's recall in few words."""
    parts = [f"{row['model']:>18}"]
    for key, value in row.items():
        if key.startswith("recall@10 "):
            parts.append(f"{key.removeprefix('recall@10 ')} {value['value']:.4f}")
    return "  ".join(parts) + f"  fit {row['fit_cpu_s']} CPU s"


if __name__ == "__main__":
    sys.exit(main())
