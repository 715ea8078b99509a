"""How fast does the service answer over HTTP? One worker, a real shop, random users, a public load tool.

    python benchmarks/shop_home.py --data DIR --home shop     # or any folder with a store and a live model
    python benchmarks/service.py --home shop [--peer]

Starts `intently serve` on a free port, warms it up, then lets wrk (Debian's package) ask
GET /v1/recommendations/{user}?n=20 for users drawn at random, at several numbers of connections, and
POST /v1/events one at a time. `recommend` asks users whom the service was asked for before, `first` users
whom it was not (drawn at random, so some come twice), right after the start: their history has to be read.
`ready` asks others whom it was not asked for, once the service has nothing left to do. Prints and keeps one
line a case: requests/s, median, p90 and p99 in milliseconds, and the server's own CPU seconds a request: a
busy machine changes those least.
`--peer` asks the same model behind FastAPI and eager torch (peers/fastapi_torch.py) in the same run, in turn
with ours; our lines then say how many times less CPU they took.
`--copy` (default) works on a copy of the store, so that posted events stay out of the shop.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from record import record

ASK = """
local paths = {%s}
math.randomseed(%d)
request = function() return wrk.format("GET", paths[math.random(#paths)]) end
"""
SEND = """
local users = {%s}
local n = 0
math.randomseed(%d)
request = function()
  n = n + 1
  local body = string.format('{"user_id":"%%s","item_id":"%s","event":"click","event_id":"load-%%d-%%d"}',
    users[math.random(#users)], math.random(1, 1000000000), n)
  return wrk.format("POST", "/v1/events", {["content-type"] = "application/json"}, body)
end
"""
DONE = """
done = function(summary, latency, _)
  local e = summary.errors
  local line = 'RESULT {"requests":%d,"seconds":%f,"p50_ms":%f,"p90_ms":%f,' ..
    '"p99_ms":%f,"max_ms":%f,"failed":%d}'
  io.write(string.format(line .. '\\n', summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(90) / 1e3, latency:percentile(99) / 1e3,
    latency.max / 1e3,
    e.status + e.connect + e.read + e.write + e.timeout))
end
"""


OURS = [
    sys.executable,
    "-c",
    "import sys; sys.argv[0] = 'intently'; from intently.cli import main; main()",
    "serve",
]
PEER = Path(__file__).parent / "peers" / "fastapi_torch.py"

MOST_FRESH = 50_000
"""Users that were not asked for yet: more than a run asks for."""


def main() -> None:
    """Every case once."""
    wanted = parser().parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("this needs wrk: apt-get install wrk")
    with tempfile.TemporaryDirectory() as scratch:
        home = copied(wanted.home, Path(scratch)) if wanted.copy else wanted.home
        theirs = peer_rows(home, wanted) if wanted.peer else {}
        with served(OURS, home) as (address, pid):
            shop = ask(address, "/v1/shop")
            users = sample_users(address, wanted.users, wanted.seed)
            facts = {key: shop[key] for key in ("model", "stage", "n_items", "n_users", "n_events")}
            fresh = fresh_users(address, users, wanted)
            for case in ("first", "ready", "recommend", "event"):
                if case == "ready":
                    idle(pid)
                for connections in wanted.connections:
                    asked = next(fresh) if case in ("first", "ready") else users
                    row = load(address, pid, case, connections, asked, wanted)
                    peer = theirs.get(connections) if case == "recommend" else None
                    if peer is not None:
                        row["times_less_cpu_than_peer"] = round(
                            peer["server_cpu_ms"] / row["server_cpu_ms"], 1
                        )
                    say(facts | row, wanted)


def fresh_users(address: str, users: list[str], wanted: argparse.Namespace) -> Iterator[list[str]]:
    """Users that nobody asked for yet, others each time; those of `users` are asked for first, once."""
    others = sorted(set(sample_users(address, MOST_FRESH, wanted.seed + 1)) - set(users))
    random.Random(wanted.seed).shuffle(others)
    for user in users:
        ask(address, f"/v1/recommendations/{urllib.request.quote(user, safe='')}?n={wanted.n}")
    runs = 2 * len(wanted.connections)
    share = len(others) // runs
    for place in range(runs):
        yield others[place * share : (place + 1) * share]


def idle(pid: int) -> None:
    """Return when a process has next to nothing to do, at the latest after two minutes."""
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        before = cpu_seconds(pid)
        time.sleep(3)
        if cpu_seconds(pid) - before < 0.1:
            return


def say(row: dict[str, Any], wanted: argparse.Namespace) -> None:
    """One line on standard output, and one in the results."""
    print(json.dumps(row if wanted.no_record else record("service", row, wanted.out)), flush=True)


def peer_rows(home: Path, wanted: argparse.Namespace) -> dict[int, dict[str, Any]]:
    """The peer's lines by connections: the same users, the same model."""
    with served(OURS, home) as (address, _):
        users = sample_users(address, wanted.users, wanted.seed)
    rows = {}
    with served([sys.executable, str(PEER)], home) as (address, pid):
        for connections in wanted.connections:
            rows[connections] = load(address, pid, "peer", connections, users, wanted)
            say({"model": "FastAPI and eager torch"} | rows[connections], wanted)
    return rows


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    made.add_argument("--home", type=Path, required=True, help="a shop's folder with a live model")
    made.add_argument("--connections", type=int, nargs="+", default=[1, 4, 16])
    made.add_argument("--seconds", type=int, default=10)
    made.add_argument("--n", type=int, default=20, help="items an answer")
    made.add_argument("--users", type=int, default=2000, help="users to draw from")
    made.add_argument("--explain", action="store_true", help="ask for reasons too")
    made.add_argument("--copy", action=argparse.BooleanOptionalAction, default=True)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--peer", action="store_true", help="FastAPI and eager torch in the same run")
    made.add_argument("--no-record", action="store_true", help="print only")
    made.add_argument("--out", type=Path, default=None, help="results file instead of the usual one")
    return made


def copied(home: Path, scratch: Path) -> Path:
    """The store and the artifacts, aside."""
    for name in ("store.db", "store.db-wal"):
        if (home / name).exists():
            shutil.copy2(home / name, scratch / name)
    shutil.copytree(home / "artifacts", scratch / "artifacts")
    return scratch


@contextmanager
def served(command: list[str], home: Path) -> Iterator[tuple[str, int]]:
    """A service in a process of its own: address and process id."""
    port = ["--port", "0"]
    process = subprocess.Popen([*command, "--home", str(home), *port], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if "answers at " not in line:
            raise SystemExit("the service did not start")
        yield line.partition("answers at ")[2].split()[0], process.pid
    finally:
        process.terminate()
        process.wait(30)


def ask(address: str, path: str) -> dict[str, Any]:
    """One answer."""
    with urllib.request.urlopen(address + path, timeout=60) as answer:
        return dict(json.load(answer))


def sample_users(address: str, n: int, seed: int) -> list[str]:
    """Users drawn from all that have events, in pages of 200 of a random place."""
    total = ask(address, "/v1/users?n=1")["total"]
    pages = list(range(0, total, 200))
    random.Random(seed).shuffle(pages)
    some: list[str] = []
    for start in pages:
        some += [user["user_id"] for user in ask(address, f"/v1/users?n=200&start={start}")["users"]]
        if len(some) >= 10 * n:
            break
    return random.Random(seed).sample(some, min(n, len(some)))


def load(
    address: str, pid: int, case: str, connections: int, users: list[str], wanted: argparse.Namespace
) -> dict[str, Any]:
    """One run of wrk after a short warm-up."""
    script = script_of(address, case, users, wanted)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        if case not in ("first", "ready"):
            wrk(address, file.name, connections, 2)
        began = cpu_seconds(pid)
        told = wrk(address, file.name, connections, wanted.seconds)
        spent = cpu_seconds(pid) - began
    return {
        "case": case,
        "n": 1 if case == "event" else wanted.n,
        "explain": wanted.explain,
        "connections": connections,
        "requests": told["requests"],
        "failed": told["failed"],
        "requests_per_s": round(told["requests"] / told["seconds"], 1),
        "p50_ms": round(told["p50_ms"], 2),
        "p90_ms": round(told["p90_ms"], 2),
        "p99_ms": round(told["p99_ms"], 2),
        "max_ms": round(told["max_ms"], 2),
        "server_cpu_ms": round(spent / max(told["requests"], 1) * 1e3, 3),
        "memory_mb": memory_mb(pid),
        "load_average": round(os.getloadavg()[0], 1),
    }


def script_of(address: str, case: str, users: list[str], wanted: argparse.Namespace) -> str:
    """What wrk runs."""
    safe = [urllib.request.quote(user, safe="") for user in users]
    if case == "peer":
        paths = ",".join(f'"/recommend/{user}?n={wanted.n}"' for user in safe)
        return ASK % (paths, wanted.seed) + DONE
    if case in ("first", "ready", "recommend"):
        more = "&explain=true" if wanted.explain else ""
        paths = ",".join(f'"/v1/recommendations/{user}?n={wanted.n}{more}"' for user in safe)
        return ASK % (paths, wanted.seed) + DONE
    best = ask(address, f"/v1/recommendations/{safe[0]}?n=1")["items"][0]["item_id"]
    return SEND % (",".join(f'"{user}"' for user in safe), wanted.seed, best) + DONE


def wrk(address: str, script: str, connections: int, seconds: int) -> dict[str, Any]:
    """Run it and read its result."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", script, address]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"^RESULT (.*)$", done.stdout, re.MULTILINE)
    if found is None:
        raise SystemExit(f"wrk said nothing that can be read: {done.stdout[-300:]}")
    return dict(json.loads(found.group(1)))


def memory_mb(pid: int) -> int:
    """What a process holds in memory."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) // 1024 if found else 0


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
