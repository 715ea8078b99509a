"""How fast, and in how much memory, do events get from a file into the store?

    python benchmarks/import_events.py --rows 2000000 --format parquet

Makes a file of random events (Zipf-like items, 1 % exact copies), imports it end to end with the code
behind `intently import` in a process of its own, and removes everything again. events_per_s is wall
time; events_per_cpu_s does not depend on who else uses the machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from record import record

_CHUNK = 1_000_000
_NAMES = ("view", "click", "cart_add", "purchase")


def frame_of(rows: int, start: int, users: int, items: int, rng: np.random.Generator) -> pl.DataFrame:
    """Events `start` onwards, in time order, one copy in a hundred."""
    own = np.arange(start, start + rows)
    own[::100] = np.maximum(own[::100] - 1, start)
    item = (items * rng.random(rows) ** 3).astype(np.int64)
    user = rng.integers(0, users, rows)
    kind = rng.integers(0, len(_NAMES), rows)
    price = np.round(rng.uniform(1, 90, rows), 2)
    for column in (item, user, kind, price):
        column[100::100] = column[99:-1:100]
    return pl.DataFrame(
        {
            "user_id": pl.Series(user).cast(pl.String),
            "item_id": pl.Series(item).cast(pl.String),
            "event": pl.Series(np.asarray(_NAMES, dtype=object)[kind], dtype=pl.String),
            "timestamp": pl.from_epoch(pl.Series(1_600_000_000 + own), "s"),
            "price": price,
            "session_id": pl.Series(own // 5).cast(pl.String),
        }
    )


def write(path: Path, rows: int, users: int, items: int, seed: int) -> None:
    """The file, made chunk by chunk so that the maker needs little memory too."""
    rng = np.random.default_rng(seed)
    parts = [path.with_name(f"part{start}.parquet") for start in range(0, rows, _CHUNK)]
    for start, part in zip(range(0, rows, _CHUNK), parts, strict=True):
        frame_of(min(_CHUNK, rows - start), start, users, items, rng).write_parquet(part)
    together = pl.scan_parquet(parts)
    if path.suffix == ".parquet":
        together.sink_parquet(path, row_group_size=1 << 18)
    elif path.suffix == ".csv":
        together.sink_csv(path)
    else:
        together.sink_ndjson(path)
    for part in parts:
        part.unlink()


_MEASURED = """
import json, resource, sys, time
from pathlib import Path
from intently.data.ingest import import_files
from intently.store import SqliteStore
wall = time.perf_counter()
with SqliteStore(sys.argv[2]) as store:
    done = import_files(store, [("events", Path(sys.argv[1]))], Path(sys.argv[2] + "-rejects"))[0]
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"read": done.read, "accepted": done.accepted, "duplicate": done.duplicate,
    "rejected": done.rejected, "wall_s": time.perf_counter() - wall,
    "cpu_s": used.ru_utime + used.ru_stime, "peak_rss_mb": used.ru_maxrss / 1024}))
"""


def measure(source: Path, store: Path) -> dict[str, float]:
    """One import in a fresh process; peak memory includes the interpreter and its libraries."""
    command = [sys.executable, "-c", _MEASURED, str(source), str(store)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    found["events_per_s"] = found["read"] / found["wall_s"]
    found["events_per_cpu_s"] = found["read"] / found["cpu_s"]
    return {name: round(value, 2) for name, value in found.items()}


def main() -> None:
    """Generate, import, print, record."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rows", type=int, default=2_000_000)
    options.add_argument("--users", type=int, default=200_000)
    options.add_argument("--items", type=int, default=50_000)
    options.add_argument("--format", choices=("parquet", "csv", "jsonl"), default="parquet")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--folder", type=Path, help="where the files lie meanwhile (default: temporary)")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        source = Path(folder) / f"events.{chosen.format}"
        write(source, chosen.rows, chosen.users, chosen.items, chosen.seed)
        size_mb = source.stat().st_size / 1e6
        found = measure(source, Path(folder) / "store.db")
        store_mb = (Path(folder) / "store.db").stat().st_size / 1e6
    row = {"format": chosen.format, "rows": chosen.rows, "users": chosen.users, "items": chosen.items}
    row |= {"file_mb": round(size_mb, 1), "store_mb": round(store_mb, 1), **found}
    print(json.dumps(record("import_events", row)))


if __name__ == "__main__":
    main()
