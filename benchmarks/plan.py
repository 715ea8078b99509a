"""Does `intently plan` foretell what training takes, within 1.5 times?

    python benchmarks/plan.py --home DIR [--home DIR ...]

Each DIR holds an imported shop. The forecast is made first; then the whole `intently train` runs as a
process of its own in a copy of the shop, and its time, peak memory and new disk are compared with it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from intently import load_settings
from intently.pipeline import load_shop
from intently.plan import forecast, speed
from record import record


def main() -> None:
    """Forecast, train, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--home", action="append", required=True, type=Path, help="folder with an imported shop"
    )
    for home in parser.parse_args().home:
        with tempfile.TemporaryDirectory() as folder:
            row = record("plan", compare(home, Path(folder)))
        sys.stdout.write(json.dumps(row) + "\n")


def compare(home: Path, folder: Path) -> dict[str, Any]:
    """One shop: forecast and what it took."""
    shutil.copy(home / "store.db", folder / "store.db")
    settings = load_settings(home=folder)
    shop = load_shop(settings)
    told = forecast(shop, settings, slower=speed())
    sizes = {"events": shop.n_events, "items": shop.n_items, "users": shop.n_users}
    del shop
    before_mb = disk_mb(folder)
    began = time.perf_counter()
    command = [sys.executable, "-m", "intently", "train", "--home", str(folder), "--json"]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, env=os.environ)
    wall_s = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"training failed with exit code {done.returncode}")
    memory_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    new_mb = disk_mb(folder) - before_mb
    return {
        "shop": home.name,
        **sizes,
        "recipe": told.recipe,
        "forecast_s": round(told.total_s, 1),
        "took_s": round(wall_s, 1),
        "ratio_time": round(wall_s / told.total_s, 2),
        "forecast_memory_mb": round(told.memory_mb),
        "took_memory_mb": round(memory_mb),
        "ratio_memory": round(memory_mb / told.memory_mb, 2),
        "forecast_disk_mb": round(told.disk_mb),
        "took_disk_mb": round(new_mb),
        "ratio_disk": round(new_mb / told.disk_mb, 2),
        "stages_forecast_s": {name: round(value, 1) for name, value in told.stages_s.items()},
        "stages_took_s": json.loads(done.stdout)["seconds"],
    }


def disk_mb(folder: Path) -> float:
    """All files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    main()
