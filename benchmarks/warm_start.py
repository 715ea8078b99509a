"""Does a training that starts from an earlier model reach the same quality in less time?

    python benchmarks/warm_start.py --data DIR [--share 0.1] [--seeds 3]

DIR is what next_item.py reads. The earlier model learned without the last training event of so many users
that `--share` of the events are missing: these are the new ones. Then one model starts afresh and one
from the earlier model, both with all training events; both are judged on each user's validation item over
the whole catalogue. `share_of_cold` is warm over afresh: CPU seconds, and NDCG@10.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from intently.data import Dataset, Histories
from intently.evaluate.metrics import hits, ndcg, recall
from intently.language import catalogue_text, encode_catalogue
from intently.models import Recommender
from intently.models.sequence import Sequence
from intently.models.start import Start
from intently.schema import IntArray
from next_item import cpu_s, held_out, read_shop
from record import record


def main() -> None:
    """One line and one record: means over the seeds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with sequences.txt[.gz]")
    parser.add_argument("--share", type=float, default=0.1, help="events that the earlier model lacks")
    parser.add_argument("--seeds", type=int, default=1, help="seeds averaged")
    parser.add_argument("--no-record", action="store_true", help="do not append to results/warm_start.jsonl")
    options = parser.parse_args()
    shop = read_shop(options.data)
    if any(catalogue_text(shop)):
        shop = encode_catalogue(shop)
    train, asked, truth = held_out(shop, "valid")
    earlier = without_newest(train, options.share)
    rows = []
    for seed in range(options.seeds):
        old, _ = fitted(earlier, seed, None)
        cold, cold_s = fitted(train, seed, None)
        warm, warm_s = fitted(train, seed, Start.same_items(old))
        figures = {
            f"{metric} {name}": value
            for name, model in (("earlier", old), ("afresh", cold), ("warm", warm))
            for metric, value in judged(model, asked, truth).items()
        }
        rows.append({**figures, "cpu_s afresh": cold_s, "cpu_s warm": warm_s})
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    mean = {key: round(float(np.mean([row[key] for row in rows])), 5) for key in rows[0]}
    share = {
        "cpu share_of_cold": round(mean["cpu_s warm"] / mean["cpu_s afresh"], 3),
        "ndcg@10 share_of_cold": round(mean["ndcg@10 warm"] / mean["ndcg@10 afresh"], 3),
    }
    new = train.n_events - earlier.n_events
    facts = {"data": options.data.resolve().name, "seeds": options.seeds, "events": train.n_events}
    row = {"model": "sequence", **facts, "new_events": new, **mean, **share}
    print(json.dumps(row))
    if not options.no_record:
        record("warm_start", row)


def without_newest(train: Dataset, share: float) -> Dataset:
    """The same shop before `share` of its events happened: the last ones of users drawn evenly."""
    user = train.events["user"].to_numpy()
    last = np.full(train.n_users, -1, np.int64)
    last[user] = np.arange(len(user))  # later rows overwrite earlier ones
    able = last[np.bincount(user, minlength=train.n_users) > 1]
    kept = np.ones(len(user), bool)
    kept[np.random.default_rng(0).permutation(able)[: int(share * len(user))]] = False
    return replace(train, events=train.events.filter(pl.Series(kept)))


def fitted(train: Dataset, seed: int, start: Start | None) -> tuple[Sequence, float]:
    """(the fitted model, CPU seconds)."""
    before = cpu_s()
    return Sequence(seed=seed).fit(train, start), cpu_s() - before


def judged(model: Recommender, asked: Histories, truth: IntArray) -> dict[str, float]:
    """NDCG@10 and recall@10 of one right item a user."""
    found = hits(model.top_k(asked, 10, repeats=False).items, np.arange(len(truth) + 1), truth)
    one = np.ones(len(truth), np.int64)
    return {"ndcg@10": float(ndcg(found, one, 10).mean()), "recall@10": float(recall(found, one, 10).mean())}


if __name__ == "__main__":
    main()
