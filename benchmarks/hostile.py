"""Does the service stand up to hostile input, overload, a kill and an hour's worth of requests?

    python benchmarks/hostile.py                    # every part but the soak
    python benchmarks/hostile.py generated soak     # these parts
    python benchmarks/hostile.py soak --soak-s 180

Each part starts `intently serve` on a small shop of its own and records one line:

corpus      every bad request that tests/reliability/corpus.py makes of /openapi.json
generated   requests that schemathesis makes of it, `--cases` of them at least
half_open   500 connections that send nothing, half a head, or a head letter by letter: seconds until all
            are closed
overload    wrk with four times as many connections as requests may be in work: answers by status, and how
            long after it one request takes as long as before
kill        SIGKILL with a million events in the store: seconds until /readyz says 200 again
soak        wrk asks and sends for `--soak-s` seconds: memory at a tenth of the time and at the end
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl

from record import record

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "serving"), str(TESTS / "reliability")]

from served import Running, grocery, keep, publish, repeat, running  # noqa: E402

from intently.store import SqliteStore  # noqa: E402

COUNT = """
local threads = {}
function setup(thread) thread:set("told", ""); table.insert(threads, thread) end
function init() counts = {} end
math.randomseed(os.time())
function request()
  local user = string.format("u%%03d", math.random(0, 29))
  local dice = math.random()
  if dice < %(events)f then
    return wrk.format("POST", "/v1/events", {["content-type"] = "application/json"},
      string.format('{"user_id":"%%s","item_id":"i%%03d","event":"click"}', user, math.random(0, 23)))
  elseif dice < %(predict)f then
    return wrk.format("POST", "/v1/predict", {["content-type"] = "application/json"},
      string.format('{"user_id":"%%s","item_id":"i%%03d"}', user, math.random(0, 23)))
  end
  return wrk.format("GET", "/v1/recommendations/" .. user .. "?n=10")
end
function response(status, headers)
  local name = tostring(status)
  if (status == 503 or status == 429) and not headers["retry-after"] then
    name = name .. " without retry-after"
  end
  counts[name] = (counts[name] or 0) + 1
  told = ""
  for key, value in pairs(counts) do told = told .. key .. "=" .. value .. ";" end
end
function done(summary, latency)
  for _, thread in ipairs(threads) do io.write("TOLD " .. thread:get("told") .. "\\n") end
  local e = summary.errors
  io.write(string.format("RESULT %%d %%f %%f %%f %%d\\n", summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, e.connect + e.read + e.write + e.timeout))
end
"""


def main() -> None:
    """The parts asked for."""
    parts: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
        "corpus": corpus,
        "generated": generated,
        "half_open": half_open,
        "overload": overload,
        "kill": kill,
        "soak": soak,
    }
    reader = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    reader.add_argument("parts", nargs="*", choices=[[], *parts], default=[])
    reader.add_argument("--cases", type=int, default=1500)
    reader.add_argument("--soak-s", type=float, default=180.0)
    reader.add_argument("--events", type=int, default=1_000_000)
    asked = reader.parse_args()
    for name in asked.parts or [part for part in parts if part != "soak"]:
        row = {"part": name} | parts[name](asked)
        print(json.dumps(row), flush=True)
        record("hostile", row)


def shop_at(home: Path) -> Path:
    """A small shop with a live model."""
    shop = grocery()
    keep(home, shop)
    publish(home, shop, repeat(shop))
    return home


def memory_mb(service: Running) -> float:
    """Resident memory now."""
    pages = int(Path(f"/proc/{service.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def cpu_s(service: Running) -> float:
    """CPU seconds of the service so far."""
    fields = Path(f"/proc/{service.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def corpus(_asked: argparse.Namespace) -> dict[str, Any]:
    """All of them."""
    from corpus import cases
    from test_hostile import complaint, state

    with tempfile.TemporaryDirectory() as folder, running(shop_at(Path(folder))) as service:
        every = cases(service.client.get("/openapi.json").json())
        before, told, wrong = state(service.client, Path(folder)), {}, []
        for case in every:
            answer = service.client.request(case.method, case.path, content=case.body, headers=case.headers)
            told[answer.status_code] = told.get(answer.status_code, 0) + 1
            if said := complaint(case, answer):
                wrong.append(f"{case.name}: {answer.status_code} {said}")
        unchanged = state(service.client, Path(folder)) == before
    answers = dict(sorted(told.items()))
    return {"cases": len(every), "answers": answers, "wrong": wrong[:20], "state_unchanged": unchanged}


def generated(asked: argparse.Namespace) -> dict[str, Any]:
    """At least as many as asked for, as many to each route."""
    from generated import put

    with tempfile.TemporaryDirectory() as folder, running(shop_at(Path(folder))) as service:
        paths = service.client.get("/openapi.json").json()["paths"]
        routes = sum(len(methods) for methods in paths.values())
        told = put(service.address, {}, each=-(-asked.cases // routes) + 4)
        alive = service.client.get("/healthz").status_code == 200
    answers = dict(sorted(told.by_status.items()))
    return {
        "cases": told.sent,
        "routes": routes,
        "answers": answers,
        "wrong": told.wrong[:20],
        "alive": alive,
    }


def half_open(_asked: argparse.Namespace) -> dict[str, Any]:
    """Until the last one is closed."""
    row: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, running(shop_at(Path(folder))) as service:
        before_mb = memory_mb(service)
        for name, head in (("silent", b""), ("half_a_head", b"GET /healthz HTT"), ("dripping", b"GET /")):
            links = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(500)]
            began = time.perf_counter()
            for link in links:
                link.sendall(head)
                link.setblocking(False)
            answered, left = 0, list(links)
            while left and time.perf_counter() - began < 60:
                time.sleep(0.5)
                answered += service.client.get("/healthz").status_code == 200
                left = [link for link in left if _is_open(link, b"a" if name == "dripping" else b"")]
            row[f"{name}_closed_s"] = round(time.perf_counter() - began, 1)
            row[f"{name}_left"] = len(left)
            for link in links:
                link.close()
        row |= {"connections": 500, "memory_mb": round(memory_mb(service) - before_mb, 1)}
    return row


def _is_open(link: socket.socket, drip: bytes) -> bool:
    try:
        if drip:
            link.send(drip)
        return link.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def wrk(service: Running, connections: int, seconds: float, events: float, predict: float) -> dict[str, Any]:
    """Answers by status, requests a second, milliseconds."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(COUNT % {"events": events, "predict": events + predict})
        script.flush()
        command = [
            "wrk",
            "-t2",
            f"-c{connections}",
            f"-d{seconds:.0f}s",
            "--timeout",
            "20s",
            "-s",
            script.name,
        ]
        out = subprocess.run([*command, service.address], capture_output=True, text=True, check=True).stdout
    told: dict[str, int] = {}
    for line in out.splitlines():
        if line.startswith("TOLD "):
            for part in filter(None, line[5:].split(";")):
                name, _, n = part.partition("=")
                told[name] = told.get(name, 0) + int(n)
    n, took_s, p50, p99, failed = next(x for x in out.splitlines() if x.startswith("RESULT ")).split()[1:]
    return {
        "requests_per_s": round(int(n) / float(took_s), 1),
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "broken": int(failed),
        "answers": dict(sorted(told.items())),
    }


def overload(_asked: argparse.Namespace) -> dict[str, Any]:
    """Twenty seconds of it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "intently.toml").write_text("[limits]\nat_once = 100\n")
        settings = ("--config", str(Path(folder) / "intently.toml"))
        with running(shop_at(Path(folder)), *settings) as service:
            calm_ms = _median_ms(service)
            health: list[int] = []
            stop = threading.Event()
            watch = threading.Thread(target=_watch, args=(service.address, health, stop))
            watch.start()
            while not health:  # its connection is open before the load begins
                time.sleep(0.1)
            told = wrk(service, 400, 20, 0.2, 0.4)
            stop.set()
            watch.join()
            began, recovered_s = time.perf_counter(), 0.0
            while time.perf_counter() - began < 30:
                if _median_ms(service) <= 2 * calm_ms + 5:
                    recovered_s = time.perf_counter() - began
                    break
    answered = sum(status == 200 for status in health)
    row = {"at_once": 100, "connections": 400, "calm_ms": round(calm_ms, 1)}
    return (
        row
        | told
        | {"health_asked": len(health), "health_200": answered, "recovered_s": round(recovered_s, 2)}
    )


def _watch(address: str, found: list[int], stop: threading.Event) -> None:
    with httpx.Client(base_url=address, timeout=30, trust_env=False) as client:
        found.append(client.get("/healthz").status_code)
        while not stop.wait(0.5):
            found.append(client.get("/healthz").status_code)


def _median_ms(service: Running) -> float:
    took = []
    for _ in range(9):
        began = time.perf_counter()
        assert service.client.get("/v1/recommendations/u003?n=10").status_code == 200
        took.append((time.perf_counter() - began) * 1e3)
    return sorted(took)[4]


def kill(asked: argparse.Namespace) -> dict[str, Any]:
    """Killed while it takes in events."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        home = shop_at(Path(folder))
        for _ in range(0, asked.events, 100_000):
            users, items = rng.integers(0, 50_000, 100_000), rng.integers(0, 20_000, 100_000)
            frame = pl.DataFrame({"user_id": users, "item_id": items}).cast(pl.String)
            times = pl.Series("time_s", rng.uniform(1.7e9, 1.71e9, 100_000))
            with SqliteStore(home / "store.db") as store:
                store.add_events(frame.with_columns(times, event=pl.lit("click")))
        with running(home) as service:
            service.client.post("/v1/events", json={"user_id": "u1", "item_id": "i1", "event": "click"})
            service.kill()
        began = time.perf_counter()
        with running(home) as service:
            while service.client.get("/readyz").status_code != 200:
                time.sleep(0.02)
            ready_s = time.perf_counter() - began
            row = {"events": service.client.get("/v1/shop").json()["n_events"], "ready_s": round(ready_s, 2)}
            row |= {"cpu_s": round(cpu_s(service), 2), "memory_mb": round(memory_mb(service), 1)}
            service.process.send_signal(signal.SIGTERM)
    return row


def soak(asked: argparse.Namespace) -> dict[str, Any]:
    """Memory in megabytes while it answers and takes in events."""
    seen: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder, running(shop_at(Path(folder))) as service:
        began = time.perf_counter()
        load = threading.Thread(target=lambda: told.update(wrk(service, 16, asked.soak_s, 0.1, 0.2)))
        told: dict[str, Any] = {}
        load.start()
        while load.is_alive():
            load.join(timeout=2.0)
            seen.append((time.perf_counter() - began, memory_mb(service)))
        events = service.client.get("/v1/shop").json()["n_events"]
    early = next(mb for at_s, mb in seen if at_s >= asked.soak_s / 10)
    middle = next(mb for at_s, mb in seen if at_s >= asked.soak_s / 2)
    memory = {"memory_mb_early": round(early, 1), "memory_mb_middle": round(middle, 1)}
    return (
        {"seconds": asked.soak_s}
        | told
        | memory
        | {"memory_mb_end": round(seen[-1][1], 1), "n_events": events}
    )


if __name__ == "__main__":
    main()
