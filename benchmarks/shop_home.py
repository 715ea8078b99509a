"""A shop's folder made of histories, with a trained model live: what the service's benchmarks ask.

    python benchmarks/shop_home.py --data DIR --home FOLDER [--model sequence] [--settings '{"epochs": 4}']
    python benchmarks/shop_home.py --items 100000 --events 1000000 --home FOLDER

DIR as for next_item.py; with --items and --events a shop is drawn: every item is met, a few of them often, by
users of ten events each. It tells what an answer costs, not how good it is. Histories that have only an order
get times a day apart, ending now, so that the service's clock is ours. The model is fitted on all of them,
published, and promoted without a gate.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import polars as pl

import next_item
from intently import artifact, progress
from intently.data import Dataset
from intently.data.histories import DAY_S
from intently.models import model_class
from intently.schema import EVENTS
from intently.store import SqliteStore


def main() -> None:
    """Make it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--items", type=int, default=0)
    parser.add_argument("--events", type=int, default=0)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--model", default="sequence")
    parser.add_argument("--settings", default="{}", help="JSON of the model's settings")
    asked = parser.parse_args()
    if (asked.data is None) == (asked.items < 1 or asked.events < max(10, asked.items)):
        parser.error("give --data DIR, or --items and at least as many --events")
    progress.show()
    shop = next_item.read_shop(asked.data) if asked.data else drawn(asked.items, asked.events)
    make(dated(shop), asked.home, asked.model, json.loads(asked.settings))


def drawn(n_items: int, n_events: int, seed: int = 0) -> Dataset:
    """Users of ten events each; the item of rank r is met in proportion to 1 / r, after each was met once."""
    random = np.random.default_rng(seed)
    rank = np.exp(random.uniform(0.0, np.log(n_items), n_events - n_items)).astype(np.int64)
    items = np.concatenate([np.arange(n_items), rank])
    random.shuffle(items)
    names = [f"i{item}" for item in items.tolist()]
    shop = Dataset.from_sequences([names[start : start + 10] for start in range(0, n_events, 10)])
    titles = pl.Series("title", [f"Thing {name}" for name in shop.items.ids])
    return Dataset(
        shop.events,
        shop.users,
        shop.items,
        shop.item_table.with_columns(titles),
        shop.user_table,
        None,
        False,
    )


def make(shop: Dataset, home: Path, name: str, settings: dict[str, object]) -> None:
    """Import, fit, publish, promote."""
    fill(home, shop)
    model = model_class(name)(**settings).fit(shop)
    facts = {"stage": "full", "target": shop.target, "data_note": "made by a benchmark"}
    folder = artifact.publish(home / "artifacts", model, shop, facts, "# made by a benchmark\n")
    artifact.promote(home / "artifacts", folder.name)


def dated(shop: Dataset) -> Dataset:
    """Times a day apart, each history ending now, where there are none."""
    if shop.timed:
        return shop
    back = pl.int_range(pl.len()).reverse().over("user").cast(pl.Float64) + 1.0
    moment = time.time()
    events = shop.events.with_columns(time_s=moment - back * DAY_S).sort("time_s", maintain_order=True)
    return Dataset(events, shop.users, shop.items, shop.item_table, shop.user_table, shop.vectors)


def fill(home: Path, shop: Dataset) -> None:
    """Events and items into the store of `home`."""
    ids = {"user_id": shop.users.names(shop.events["user"]), "item_id": shop.items.names(shop.events["item"])}
    names = [EVENTS[code] for code in shop.events["event"]]
    with SqliteStore(home / "store.db") as store:
        store.add_events(pl.DataFrame(ids | {"event": names, "time_s": shop.events["time_s"]}))
        store.upsert_items(shop.item_table)


if __name__ == "__main__":
    main()
