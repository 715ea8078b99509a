"""Does a large shop fit, and does an event of it cost more than one of a small shop?

    python benchmarks/scale.py [--events 2000000,20000000] [--models covisit,linear] [--asked 2000]

Makes shops with a user to 20 events and an item to 100, up to 1 million users and 200,000 items at 20
million events: tastes (each user keeps to a few of 500 kinds of items), Zipf-like popularity inside a
kind, and a favourite successor of each item, so that there is something to learn. Every size and model
runs in a process of its own: CPU seconds of fitting an event, CPU milliseconds of one user's ten
items, and the peak of memory, the shop itself included. recall@10 of the held-back last items is a
check that something was learned, not a result. `times_smallest`: fitting an event, against the first
size of the same run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl

from intently.data import Dataset
from intently.data.histories import DAY_S
from intently.data.ids import IdMap
from intently.evaluate import leave_one_out
from intently.evaluate.metrics import hits, recall
from intently.models import model_class
from intently.schema import EVENT_CODES
from next_item import cpu_s, peak_rss_mb
from record import record

EVENTS_A_USER, EVENTS_AN_ITEM, KINDS = 20, 100, 500
STAYS, FOLLOWS = 0.8, 0.3
"""Chance that the next item is of the user's present kind, and that it is the last one's successor."""

CHUNK = 100_000
"""Users that are made at once."""


def main() -> None:
    """One line and one record a model and size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--events", default="2000000,20000000", help="sizes, smallest first")
    parser.add_argument("--models", default="covisit,linear", help="comma-separated")
    parser.add_argument("--settings", default="{}", help='JSON, such as {"sequence": {"epochs": 1}}')
    parser.add_argument("--asked", type=int, default=2000, help="users that are answered")
    parser.add_argument("--no-record", action="store_true", help="do not append to results/scale.jsonl")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measured(options.child, int(options.events), options)))
        return
    for name in options.models.split(","):
        first = 0.0
        for size in options.events.split(","):
            row = in_a_process(name, size, options)
            first = first or row["fit_cpu_us_an_event"]
            row["times_smallest"] = round(row["fit_cpu_us_an_event"] / first, 3)
            print(json.dumps(row), flush=True)
            if not options.no_record:
                record("scale", row)


def in_a_process(name: str, size: str, options: argparse.Namespace) -> dict[str, float]:
    """The row of one model and size."""
    words = ["--child", name, "--events", size, "--asked", str(options.asked), "--settings", options.settings]
    command = [sys.executable, str(Path(__file__).resolve()), *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    row: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return row


def measured(name: str, n_events: int, options: argparse.Namespace) -> dict[str, object]:
    """Fit, answer, judge."""
    case = leave_one_out(made(n_events), repeats=None)
    shop_mb = peak_rss_mb()
    model = model_class(name)(**json.loads(options.settings).get(name, {}))
    cpu, wall = cpu_s(), time.perf_counter()
    model.fit(case.train)
    fit_cpu_s, fit_wall_s = cpu_s() - cpu, time.perf_counter() - wall
    rows = np.sort(np.random.default_rng(1).permutation(len(case))[: options.asked])
    asked, truth = case.histories.select(rows), case.truth[rows]
    cpu = cpu_s()
    items = model.top_k(asked, 10).items
    answer_cpu_ms = (cpu_s() - cpu) / len(rows) * 1e3
    found = recall(hits(items, np.arange(len(rows) + 1), truth), np.ones(len(rows), np.int64), 10)
    sizes = {"events": n_events, "users": case.train.n_users, "items": case.train.n_items}
    costs = {
        "fit_cpu_s": round(fit_cpu_s, 1),
        "fit_wall_s": round(fit_wall_s, 1),
        "fit_cpu_us_an_event": round(fit_cpu_s / case.train.n_events * 1e6, 2),
        "answer_cpu_ms": round(answer_cpu_ms, 2),
        "shop_mb": round(shop_mb),
        "peak_rss_mb": round(peak_rss_mb()),
    }
    return {"model": name, **sizes, **costs, "recall@10": round(float(found.mean()), 4)}


def made(n_events: int, seed: int = 0) -> Dataset:
    """A shop of `n_events` events in time order; the same seed gives the same shop."""
    n_users, n_items = max(n_events // EVENTS_A_USER, 1), max(n_events // EVENTS_AN_ITEM, KINDS)
    random = np.random.default_rng(seed)
    successor = random.permutation(n_items).astype(np.int32)
    parts = [
        walked(min(CHUNK, n_users - start), n_items, successor, random) for start in range(0, n_users, CHUNK)
    ]
    items = np.concatenate(parts)  # (users, EVENTS_A_USER)
    user = np.repeat(np.arange(n_users, dtype=np.int32), EVENTS_A_USER)
    gaps = random.exponential(10 * DAY_S, items.shape)
    seconds = (1.6e9 + np.cumsum(gaps, axis=1)).ravel()
    order = np.argsort(seconds, kind="stable")
    events = pl.DataFrame(
        {
            "user": user[order],
            "item": items.ravel()[order],
            "event": np.full(len(order), EVENT_CODES["purchase"], np.uint8),
            "time_s": seconds[order],
        }
    ).with_columns(
        *(pl.lit(None, pl.Float32).alias(name) for name in ("value", "quantity", "price")),
        pl.lit(-1, pl.Int64).alias("session"),
    )
    users, catalogue = IdMap(map(str, range(n_users))), IdMap(map(str, range(n_items)))
    names = [pl.DataFrame({key: ids.ids}) for key, ids in (("item_id", catalogue), ("user_id", users))]
    return Dataset(events, users, catalogue, names[0], names[1])


def walked(n: int, n_items: int, successor: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(n, EVENTS_A_USER) int32 item ids: what each of `n` users meets, in order."""
    a_kind = n_items // KINDS
    kind = random.integers(0, KINDS, n)
    out = np.empty((n, EVENTS_A_USER), np.int32)
    for step in range(EVENTS_A_USER):
        kind = np.where(random.random(n) < STAYS, kind, random.integers(0, KINDS, n))
        fresh = kind * a_kind + (a_kind * random.random(n) ** 3).astype(np.int64)
        follows = (random.random(n) < FOLLOWS) & (step > 0)
        out[:, step] = np.where(follows, successor[out[:, step - 1]], fresh)
    return out


if __name__ == "__main__":
    main()
