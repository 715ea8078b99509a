"""Does the shipped pipeline predict what households buy in the next four weeks?

    python benchmarks/complete_journey.py [--cut-back 0] [--models repeat,linear] [--no-record]

Temporal split of The Complete Journey: everything before the last 28 days may be learned from, distinct
products of the last 28 days are the truth, the whole catalogue is ranked. One JSON line a model;
the pipeline's line holds its lift over every other with a paired bootstrap interval, and how far its
probabilities hold on all candidate pairs and on uniformly sampled pairs. `--cut-back 28` moves the
question four weeks earlier: use that one while developing, the last four weeks are looked at once.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from intently import Dataset, load_settings, progress
from intently.data.histories import DAY_S
from intently.data.shops import complete_journey
from intently.evaluate import Case, judge, temporal
from intently.evaluate.chances import Pairs, ask_pairs, asked_for_chances, judge_chances
from intently.evaluate.judgement import Judgement
from intently.models import Recommender, model_class
from intently.pipeline import read_catalogue
from intently.recipe import choose
from record import record

ALL_CANDIDATES = 4000
SAMPLED = 500
RIVALS: dict[str, tuple[str, dict[str, Any]]] = {
    "popular": ("popular", {}),
    "repeat": ("repeat", {"half_life_days": None}),
    "covisit": ("covisit", {}),
    "linear": ("linear", {"max_items": 6000}),
    "sequence": ("sequence", {"minutes": 3.0}),
}
SHOWN = ("ndcg@10", "recall@10", "precision@10", "mrr@10", "hit@10")


def main() -> None:
    """Fit, judge, print, record."""
    asked = arguments()
    progress.show()
    shop = complete_journey()
    dataset = Dataset.from_frames(shop.events, shop.items, shop.users)
    dataset = dataset.as_of(dataset.end_s - asked.cut_back * DAY_S)
    with tempfile.TemporaryDirectory() as folder:
        dataset = read_catalogue(dataset, load_settings(home=Path(asked.cache or folder)))
    case = temporal(dataset, horizon_days=28.0)
    recipe = choose(case.train, load_settings())
    rivals = {name: RIVALS[name] for name in asked.models.split(",") if name}
    judged = {
        name: one(model_class(kind)(**given), case, name, asked)[1] for name, (kind, given) in rivals.items()
    }
    model, main_judged, row = one(recipe.model(), case, "pipeline", asked, keep=True)
    lifts = {name: interval(main_judged.against(other, "ndcg@10")[1]) for name, other in judged.items()}
    lifts_recall = {
        name: interval(main_judged.against(other, "recall@10")[1]) for name, other in judged.items()
    }
    say({"model": "pipeline", **row, "lift_ndcg@10": lifts, "lift_recall@10": lifts_recall}, asked)
    chances("pipeline", model, case, asked)
    plain = {**recipe.settings, "inner": {"popular": {}}, "text": False}
    bare, bare_judged, row = one(model_class("boosted")(**plain), case, "boosted_plain", asked, keep=True)
    lift = interval(main_judged.against(bare_judged, "ndcg@10")[1])
    say({"model": "boosted_plain", **row, "lift_of_pipeline": lift}, asked)
    chances("boosted_plain", bare, case, asked)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cut-back", type=float, default=0.0, help="days to drop from the end first")
    parser.add_argument("--models", default=",".join(RIVALS), help="rivals of the pipeline")
    parser.add_argument("--cache", default="", help="folder of the text vectors")
    parser.add_argument("--no-record", action="store_true", help="print only")
    asked = parser.parse_args()
    unknown = [name for name in asked.models.split(",") if name and name not in RIVALS]
    if unknown:
        parser.error(f"unknown model {unknown[0]!r}; allowed: {', '.join(RIVALS)}")
    return asked


def one(
    model: Recommender, case: Case, name: str, asked: argparse.Namespace, keep: bool = False
) -> tuple[Recommender, Judgement, dict[str, Any]]:
    """Fit and judge one model; prints its line unless `keep`."""
    cpu, wall = time.process_time(), time.perf_counter()
    model.fit(case.train)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    judgement = judge(model, case, (5, 10, 20), name=name)
    row: dict[str, Any] = {metric: round(judgement.mean(metric), 5) for metric in SHOWN}
    row["ndcg@10_interval"] = interval(judgement.interval("ndcg@10"))
    row |= {
        "coverage@10": round(judgement.coverage[10], 4),
        "users": len(case),
        "fit_cpu_s": round(cpu, 1),
        "fit_wall_s": round(wall, 1),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "cut_back_days": asked.cut_back,
    }
    if not keep:
        say({"model": name, **row}, asked)
    return model, judgement, row


def chances(name: str, model: Recommender, case: Case, asked: argparse.Namespace) -> None:
    """How far the probabilities hold, on all candidate pairs and on uniformly sampled ones."""
    threshold = float(getattr(model, "threshold", 0.5))
    for kind, pairs in (
        ("all candidate pairs", ask_pairs(model, case, ALL_CANDIDATES)),
        ("pairs sampled from the whole catalogue", sampled_pairs(model, case)),
    ):
        found = judge_chances(name, pairs, threshold)
        figures = {key: interval(value) for key, value in found.figures.items()}
        say(
            {
                "model": name,
                "pairs": kind,
                "n_pairs": found.pairs,
                "positives": found.positives,
                "reached": round(found.reached, 4),
                "threshold": round(threshold, 4),
                **figures,
                "cut_back_days": asked.cut_back,
            },
            asked,
        )


def sampled_pairs(model: Any, case: Case, seed: int = 0) -> Pairs:
    """SAMPLED items of each known user, drawn uniformly from the whole catalogue."""
    random = np.random.default_rng(seed)
    rows, quiet = asked_for_chances(case)
    truth = [case.truth[case.indptr[row] : case.indptr[row + 1]] for row in rows] + [()] * len(quiet)
    drawn = random.integers(0, case.train.n_items, (len(truth), SAMPLED))
    labels = [np.isin(items, true) for items, true in zip(drawn, truth, strict=True)]
    found: list[Any] = []
    for histories in (case.histories.select(rows), case.quiet.select(quiet)):
        for batch in histories.batches(256):
            found += model.probability(batch, drawn[len(found) : len(found) + len(batch)].tolist())
    users = np.repeat(np.arange(len(truth), dtype=np.int32), SAMPLED)
    chance = np.concatenate(found).astype(np.float64)
    return Pairs(users, np.concatenate(labels), chance, len(truth), int(case.n_true[rows].sum()))


def interval(value: Any) -> list[float | None]:
    """[value, low, high], rounded; None where it is not a number."""
    return [None if np.isnan(v) else round(float(v), 5) for v in (value.value, value.low, value.high)]


def say(row: dict[str, Any], asked: argparse.Namespace) -> None:
    """One line on standard output, and one in the results."""
    if not asked.no_record:
        row = record("complete_journey", row)
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
