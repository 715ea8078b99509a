"""From how many users on do personal models beat the list of best-sellers?

    python benchmarks/enough_events.py                    # Complete Journey, what is bought in 4 weeks
    python benchmarks/enough_events.py --data DIR         # sequences.txt[.gz]: next item

Draws ever more users at random, fits popularity and the cheap personal models on just them, and prints
the paired difference in recall@10 with its 95 % interval. `intently doctor` takes its rule from here.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

import numpy as np

from intently import Dataset
from intently.evaluate.evaluation import case_of
from intently.evaluate.judgement import judge
from intently.models.covisit import CoVisit
from intently.models.popular import Popular
from intently.models.repeat import Repeat
from record import record

SIZES = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


def some_users(shop: Dataset, n: int, seed: int) -> Dataset:
    """The shop as if only n of its users had come."""
    chosen = np.random.default_rng(seed).choice(shop.n_users, size=n, replace=False)
    events = shop.events.filter(shop.events["user"].is_in(chosen.tolist()))
    return Dataset(events, shop.users, shop.items, shop.item_table, shop.user_table, shop.vectors, shop.timed)


def sequences(folder: Path) -> Dataset:
    """A line a user: the user, then items in order."""
    plain = folder / "sequences.txt"
    path = plain if plain.exists() else folder / "sequences.txt.gz"
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        rows = [line.split() for line in lines]
    return Dataset.from_sequences([row[1:] for row in rows], [row[0] for row in rows])


def compare(shop: Dataset, protocol: str, n: int, seed: int) -> list[dict[str, object]]:
    """One row a personal model: its paired difference to popularity on n users."""
    case = case_of(some_users(shop, n, seed), protocol=protocol)
    models = [CoVisit()] if protocol == "leave-one-out" else [CoVisit(), Repeat()]
    popular = judge(Popular().fit(case.train), case, (10,), name="popular")
    rows: list[dict[str, object]] = []
    for model in models:
        judged = judge(model.fit(case.train), case, (10,), name=model.name)
        gap, _ = judged.against(popular, "recall@10")
        found = {"model": model.name, "users": n, "seed": seed, "events": case.train.n_events}
        found |= {"popular": round(popular.mean("recall@10"), 5), "own": round(judged.mean("recall@10"), 5)}
        rows.append(found | {"low": round(gap.low, 5), "high": round(gap.high, 5)})
    return rows


def main() -> None:
    """Compare at each size, print, record."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, help="folder with sequences.txt[.gz]")
    options.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    options.add_argument("--seeds", type=int, default=3)
    chosen = options.parse_args()
    if chosen.data:
        shop, protocol = sequences(chosen.data), "leave-one-out"
    else:
        from intently.data.shops import complete_journey

        tables = complete_journey()
        shop, protocol = Dataset.from_frames(tables.events, tables.items, tables.users), "temporal"
    for n in [size for size in chosen.sizes if size <= shop.n_users]:
        for seed in range(chosen.seeds):
            for row in compare(shop, protocol, n, seed):
                print(json.dumps(record("enough_events", {"protocol": protocol} | row)), flush=True)


if __name__ == "__main__":
    main()
