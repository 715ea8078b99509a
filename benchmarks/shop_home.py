"""A shop's folder made of histories, with a trained model live: what the service's benchmarks ask.

    python benchmarks/shop_home.py --data DIR --home FOLDER [--model sequence] [--settings '{"epochs": 4}']

DIR as for next_item.py. Histories that have only an order get times a day apart, ending now, so that the
service's clock is ours. The model is fitted on all of them, published, and promoted without a gate.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

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
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--model", default="sequence")
    parser.add_argument("--settings", default="{}", help="JSON of the model's settings")
    asked = parser.parse_args()
    progress.show()
    make(asked.data, asked.home, asked.model, json.loads(asked.settings))


def make(data: Path, home: Path, name: str, settings: dict[str, object]) -> None:
    """Import, fit, publish, promote."""
    shop = dated(next_item.read_shop(data))
    fill(home, shop)
    model = model_class(name)(**settings).fit(shop)
    facts = {"stage": "full", "target": shop.target, "data_note": f"histories of {data.name}"}
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
