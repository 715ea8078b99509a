"""What does it cost to take one user out of a linear model, against a new fit without them?

    python benchmarks/erase_user.py --data DIR [--users 5] [--settings '{"max_items": 3000}']
    python benchmarks/erase_user.py --events 2000000

DIR as for next_item.py; --events makes a shop as scale.py does. A model is fitted with keep = "sums"; then
each of a few users, drawn once, is removed from it and put back, and for the first of them a new model is
fitted without the user. CPU seconds of one removal (mean) and of the new fit, without reading any
data; the largest difference between the two models' weights and between their scores for 500 other
users; the share of those users' ten items that are the same, in order; what the sums add to the artifact.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from intently.data import Dataset
from intently.models.linear import Linear
from next_item import cpu_s, read_shop
from record import record
from scale import made

ASKED = 500


def main() -> None:
    """One line and one record a target."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="folder with sequences.txt[.gz]")
    source.add_argument("--events", type=int, help="size of a shop made by scale.py")
    parser.add_argument("--users", type=int, default=5, help="users removed one after the other")
    parser.add_argument("--targets", default="next,self", help="comma-separated")
    parser.add_argument("--settings", default="{}", help='JSON of linear, such as {"max_items": 6000}')
    parser.add_argument("--no-record", action="store_true", help="do not append to results/erase_user.jsonl")
    options = parser.parse_args()
    shop = made(options.events) if options.events else read_shop(options.data)
    for target in options.targets.split(","):
        settings = json.loads(options.settings) | {"target": target}
        row = {"data": options.data.resolve().name if options.data else f"made, {options.events} events"}
        row |= measured(shop, settings, options.users)
        print(json.dumps(row), flush=True)
        if not options.no_record:
            record("erase_user", row)


def measured(shop: Dataset, settings: dict[str, object], n_users: int) -> dict[str, object]:
    """Remove and put back each user; compare the first removal with a new fit."""
    drawn = np.random.default_rng(0).permutation(shop.n_users)
    users, asked = drawn[:n_users].tolist(), shop.histories(drawn[n_users : n_users + ASKED])
    before = cpu_s()
    model = Linear(**settings, keep="sums").fit(shop)  # type: ignore[arg-type]
    keeping_s = cpu_s() - before
    spent, facts = [], {}
    for user in users:
        history = shop.histories([user])
        before = cpu_s()
        model.remove_users(history)
        spent.append(cpu_s() - before)
        if not facts:
            facts = compared(model, replace(shop, events=shop.events.filter(pl.col("user") != user)), asked)
        model.add_users(history)
    sizes = {"users": shop.n_users, "items": shop.n_items, "events": shop.n_events}
    costs = {
        "fit_keeping_sums_cpu_s": round(keeping_s, 2),
        "remove_cpu_s": round(float(np.mean(spent)), 3),
        "refit_over_remove": round(facts["refit_cpu_s"] / float(np.mean(spent)), 1),
        "artifact_mb": artifact_mb(model),
        "artifact_without_sums_mb": artifact_mb(facts.pop("refit")),
    }
    return {"settings": settings, **sizes, "removed": n_users, **facts, **costs}


def compared(model: Linear, without: Dataset, asked: object) -> dict[str, object]:
    """How far `model` is from a new fit on `without`."""
    settings = model.settings() | {"keep": "weights"}
    before = cpu_s()
    refit = Linear(**settings).fit(without)
    refit_s = cpu_s() - before
    gap = abs(model.weights - refit.weights)
    ours, theirs = (one.scores(asked) for one in (model, refit))
    tops = [one.top_k(asked, 10).items for one in (model, refit)]
    return {
        "refit": refit,
        "refit_cpu_s": round(refit_s, 3),
        "largest_weight": float(abs(refit.weights).max()),
        "weights_differ_by": float(gap.max()),
        "scores_differ_by": float(np.abs(ours - theirs).max()),
        "same_top10": round(float((tops[0] == tops[1]).all(axis=1).mean()), 4),
    }


def artifact_mb(model: Linear) -> float:
    """Megabytes that the model takes on disk."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder))
        return round(sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e6, 1)


if __name__ == "__main__":
    main()
