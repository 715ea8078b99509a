"""How many events a second does the service put on disk, over HTTP, and at what cost?

    python benchmarks/service_ingest.py                 # a made-up shop of 200,000 events
    python benchmarks/service_ingest.py --home shop     # a copy of a shop of your own

Starts `intently serve` and lets wrk (Debian's package, a process of its own on the same cores) send to it:
single events over 64 connections, and batches of 1,000 over 4; each event has an id of its own. In the same
run wrk posts an empty body to a stock FastAPI application under uvicorn that answers {}, which stores
nothing: the ratio to it does not depend on how busy the machine is. Every case is run `--repeat` times in
turns, and the best of each is kept. Afterwards the events are counted in the store: as many as were answered
for, or the run is refused. Kept: events/s, the server's own CPU microseconds an event, the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from intently.store import SqliteStore
from record import record
from service import DONE, OURS, copied, cpu_seconds, served, wrk

SINGLE = """
local n, run = 0, "%s"
math.randomseed(%d)
request = function()
  n = n + 1
  return wrk.format("POST", "/v1/events", {["content-type"] = "application/json"},
    string.format('{"user_id":"u%%d","item_id":"i%%d","event":"click","event_id":"%%s-%%d"}',
      math.random(%d), math.random(%d), run, n))
end
"""
BATCH = """
local n, run = 0, "%s"
math.randomseed(%d)
request = function()
  local parts = {}
  for i = 1, 1000 do
    n = n + 1
    parts[i] = string.format('{"user_id":"u%%d","item_id":"i%%d","event":"click","event_id":"%%s-%%d"}',
      math.random(%d), math.random(%d), run, n)
  end
  return wrk.format("POST", "/v1/events", {["content-type"] = "application/json"},
    '{"events":[' .. table.concat(parts, ",") .. ']}')
end
"""
EMPTY = 'request = function() return wrk.format("POST", "/v1/events") end\n'
STOCK = """
import sys, uvicorn
from fastapi import FastAPI
app = FastAPI()
@app.post("/v1/events")
async def take(): return {}
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False)
"""
CASES = {"single": (SINGLE, 64, 1), "batch": (BATCH, 4, 1000)}


def main() -> None:
    """Every case in turns, then what was stored."""
    wanted = parser().parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("this needs wrk: apt-get install wrk")
    with tempfile.TemporaryDirectory() as scratch:
        home = copied(wanted.home, Path(scratch)) if wanted.home else made_up(Path(scratch), wanted)
        before = stored(home)
        with served(OURS, home) as (address, pid), stock() as (plain, plain_pid):
            runs: dict[str, list[dict[str, Any]]] = {case: [] for case in (*CASES, "stock")}
            for turn in range(wanted.repeat):
                for case in CASES:
                    runs[case].append(sent(address, pid, case, turn, wanted))
                runs["stock"].append(load(plain, plain_pid, EMPTY + DONE, 64, 1, wanted.seconds))
            answered = accepted(address)
        kept = stored(home) - before
        if kept != answered:
            raise SystemExit(f"{answered:,} events were answered for, {kept:,} are stored")
    least = min(runs["stock"], key=lambda run: run["cpu_us"])
    most = max(runs["stock"], key=lambda run: run["per_s"])
    for case, (_script, connections, size) in CASES.items():
        row = best(runs[case]) | {"case": case, "events a request": size, "connections": connections}
        row |= {"stock cpu_us a request": least["cpu_us"], "stock requests_per_s": most["per_s"]}
        row |= {"times stock": round(row["events_per_s"] / most["per_s"], 2)}
        row |= {"cpu, times stock": round(row["cpu_us_an_event"] / least["cpu_us"], 3)}
        row |= {"events_before": before, "stored": kept, "load_average": round(os.getloadavg()[0], 1)}
        print(json.dumps(record("service_ingest", row, wanted.out)), flush=True)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    made.add_argument("--home", type=Path, default=None, help="a shop's folder; left out: one is made up")
    made.add_argument("--seconds", type=int, default=5)
    made.add_argument("--repeat", type=int, default=3)
    made.add_argument("--events", type=int, default=200_000, help="events of the made-up shop")
    made.add_argument("--users", type=int, default=20_000)
    made.add_argument("--items", type=int, default=12_000)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--out", type=Path, default=None, help="results file instead of the usual one")
    return made


def made_up(scratch: Path, wanted: argparse.Namespace) -> Path:
    """A store with random events."""
    draw = random.Random(wanted.seed)
    rows = pl.DataFrame(
        {
            "user_id": [f"u{draw.randint(1, wanted.users)}" for _ in range(wanted.events)],
            "item_id": [f"i{draw.randint(1, wanted.items)}" for _ in range(wanted.events)],
            "event": ["click"] * wanted.events,
            "time_s": [time.time() - draw.random() * 30 * 86400.0 for _ in range(wanted.events)],
        }
    )
    with SqliteStore(scratch / "store.db") as store:
        store.add_events(rows)
    return scratch


def stored(home: Path) -> int:
    """Events in the store."""
    with SqliteStore(home / "store.db") as store:
        return store.counts().events


@contextmanager
def stock() -> Iterator[tuple[str, int]]:
    """A stock application in a process of its own: address and process id."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", STOCK, str(port)])
    try:
        for _ in range(100):
            time.sleep(0.1)
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait(30)


def sent(address: str, pid: int, case: str, turn: int, wanted: argparse.Namespace) -> dict[str, Any]:
    """One run of events."""
    script, connections, size = CASES[case]
    filled = script % (f"{case}{turn}-{os.getpid()}", wanted.seed + turn, wanted.users, wanted.items)
    return load(address, pid, filled + DONE, connections, size, wanted.seconds)


def load(address: str, pid: int, script: str, connections: int, size: int, seconds: int) -> dict[str, Any]:
    """One run of wrk: its figures, and what the server spent."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        began = cpu_seconds(pid)
        told = wrk(address, file.name, connections, seconds)
        spent = cpu_seconds(pid) - began
    events = max(told["requests"] * size, 1)
    return told | {"per_s": round(events / told["seconds"], 1), "cpu_us": round(spent / events * 1e6, 2)}


def best(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The quickest run, with the least that an event cost in any."""
    quickest = max(runs, key=lambda run: run["per_s"])
    return {
        "events_per_s": quickest["per_s"],
        "cpu_us_an_event": min(run["cpu_us"] for run in runs),
        "p50_ms": round(quickest["p50_ms"], 2),
        "p99_ms": round(quickest["p99_ms"], 2),
        "failed": sum(run["failed"] for run in runs),
        "runs": [run["per_s"] for run in runs],
    }


def accepted(address: str) -> int:
    """Events that the service says it accepted; asked when it has gone quiet."""
    import urllib.request

    time.sleep(1.0)
    with urllib.request.urlopen(address + "/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return sum(int(float(line.split()[-1])) for line in lines if line.startswith("intently_events_total"))


if __name__ == "__main__":
    main()
