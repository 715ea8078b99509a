"""What does diversity cost? NDCG@10 against how different the ten items of a list are.

    python benchmarks/diversity.py --data DIR [--model linear] [--split test] [--users 5000]

DIR as for next_item.py, with titles. The model is fitted without both held items; its best 100 items of a
user are put in order by the service's own function (serving/answer/diversity.py) at several shares.
Difference is the mean over the pairs of a list of 1 - cosine of the texts' vectors, and, where items.csv has
a column of attribute ids that no model reads, of 1 - Jaccard of those. One JSON line a share.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from intently.data import Dataset
from intently.intervals import difference, mean_interval
from intently.language import encode_catalogue
from intently.models import model_class
from intently.serving.answer.diversity import LOOKED_AT, mmr
from intently.serving.state.newcomers import directions
from next_item import held_out, read_shop
from record import record

SHARES = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
N = 10
ATTRIBUTES = "s3rec_attribute_ids"


def main() -> None:
    """Every share."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="linear")
    parser.add_argument("--split", choices=("test", "valid"), default="test")
    parser.add_argument("--users", type=int, default=5000)
    parser.add_argument("--vectors", type=Path, help="where the text vectors are kept between runs")
    parser.add_argument("--no-record", action="store_true")
    options = parser.parse_args()
    shop = read_shop(options.data)
    vectors = told_vectors(shop, options.vectors)
    train, asked, truth = held_out(shop.with_vectors(vectors), options.split)
    chosen = np.random.default_rng(0).permutation(len(truth))[: options.users]
    model = model_class(options.model)().fit(train)
    best = model.top_k(asked, LOOKED_AT, repeats=False).items
    short, sets = directions(vectors), attribute_sets(shop)
    base: dict[str, Any] = {}
    for share in SHARES:
        lists = [listed(best[user], short, share) for user in chosen]
        gains = np.array([gain(items, truth[user]) for user, items in zip(chosen, lists, strict=True)])
        apart = np.array([distance(items, vectors) for items in lists])
        differ = np.array([jaccard(items, sets) for items in lists]) if sets else None
        base = base or {"gains": gains, "apart": apart}
        row = {"data": options.data.resolve().name, "model": options.model, "split": options.split}
        row |= {"users": len(chosen), "share": share} | told("ndcg@10", mean_interval(gains))
        row |= told("ndcg@10_change", difference(gains, base["gains"]))
        row |= told("text_distance", mean_interval(apart))
        row |= {} if differ is None else {"attribute_distance": round(float(np.nanmean(differ)), 4)}
        row |= {"items_shown": len({item for items in lists for item in items.tolist()})}
        print(json.dumps(row), flush=True)
        if not options.no_record:
            record("diversity", row)


def told_vectors(shop: Dataset, kept: Path | None) -> Any:
    """Text vectors of the catalogue."""
    if kept is not None and kept.exists():
        return np.load(kept)
    vectors = encode_catalogue(shop).vectors
    if kept is not None:
        np.save(kept, vectors)
    return vectors


def listed(best: Any, short: Any, share: float) -> Any:
    """The first N of one user's candidates at a share of diversity."""
    items = best[best >= 0]
    if not share:
        return items[:N]
    rows = short[items]
    return items[mmr(np.maximum(rows @ rows.T, 0.0), N, share)[:N]]


def gain(items: Any, right: int) -> float:
    """1 / log2(place + 1) of the right item, 0 when it is not there."""
    place = np.flatnonzero(items == right)
    return float(1.0 / np.log2(place[0] + 2.0)) if len(place) else 0.0


def distance(items: Any, vectors: Any) -> float:
    """Mean of 1 - cosine over the pairs of a list."""
    rows = vectors[items]
    alike = rows @ rows.T
    pairs = len(items) * (len(items) - 1)
    return float(1.0 - (alike.sum() - np.trace(alike)) / pairs)


def attribute_sets(shop: Dataset) -> list[frozenset[str]]:
    """Attribute ids of each item, [] where the catalogue has none."""
    if ATTRIBUTES not in shop.item_table.columns:
        return []
    return [frozenset((text or "").split()) for text in shop.item_table[ATTRIBUTES].to_list()]


def jaccard(items: Any, sets: list[frozenset[str]]) -> float:
    """Mean of 1 - Jaccard over the pairs of a list of which both have attributes; nan without any."""
    told = [sets[item] for item in items.tolist() if sets[item]]
    pairs = [1 - len(a & b) / len(a | b) for k, a in enumerate(told) for b in told[:k]]
    return float(np.mean(pairs)) if pairs else float("nan")


def told(name: str, interval: Any) -> dict[str, float]:
    """A figure with its interval."""
    return {
        name: round(interval.value, 5),
        f"{name}_low": round(interval.low, 5),
        f"{name}_high": round(interval.high, 5),
    }


if __name__ == "__main__":
    main()
