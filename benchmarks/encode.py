"""How fast and how faithfully is a catalogue read?

    python benchmarks/encode.py                          # the demo's shop
    python benchmarks/encode.py --data items.csv.gz      # any items table with titles

For each way of encoding: texts a CPU-second on a sample, and the cosine to the exact vectors (mean and
worst). Then the whole catalogue as a user meets it, from an empty cache: CPU and wall seconds of the first
run, everything included (loading, export, measuring), and of the second.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from intently.data import Dataset
from intently.language import TextEncoder, catalogue_text, encode_catalogue
from record import record


def main() -> None:
    """Measure, print one JSON line a figure, and keep it in results/encode.jsonl."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, help="items.csv[.gz] with item_id, title, ...; default: the demo"
    )
    parser.add_argument("--sample", type=int, default=2000, help="distinct texts for the two ways")
    parser.add_argument("--encoder", type=Path, help="transformers folder; default: the bundled model")
    parser.add_argument("--threads", type=int, default=0, help="cores of the whole run; 0: all")
    parser.add_argument("--dry", action="store_true", help="print only, keep nothing")
    options = parser.parse_args()
    dataset = read_shop(options.data)
    name = options.data.resolve().parent.name if options.data else "complete_journey"
    texts = sorted(set(filter(None, catalogue_text(dataset))))
    facts = {"catalogue": name, "items": dataset.n_items, "distinct_texts": len(texts)}
    rows = compare_ways(texts[:: max(1, len(texts) // options.sample)], options.encoder)
    rows.append(whole_run(dataset, options.encoder, options.threads))
    for row in rows:
        line = facts | row if options.dry else record("encode", facts | row)
        sys.stdout.write(json.dumps(line) + "\n")


def read_shop(path: Path | None) -> Dataset:
    """The demo's shop, or one of which only the items are known."""
    if path is None:
        from intently.data.shops import complete_journey

        shop = complete_journey()
        return Dataset.from_frames(shop.events.head(1), shop.items)
    items = pl.read_csv(path.read_bytes(), infer_schema=False)
    events = pl.DataFrame({"user_id": ["u"], "item_id": items["item_id"][:1], "timestamp": [0]})
    return Dataset.from_frames(events, items)


def compare_ways(texts: list[str], folder: Path | None) -> list[dict[str, Any]]:
    """Speed on one thread and fidelity of both ways on the same texts; models are loaded before."""
    rows = []
    exact = np.zeros(0, np.float32)
    with tempfile.TemporaryDirectory() as cache:
        for speed in ("exact", "fast"):
            encoder = TextEncoder(folder, speed=speed, cache=Path(cache), threads=1)
            encoder.encode([text + " ." for text in texts[:64]])  # loads and exports
            start = cpu_s()
            vectors = encoder.encode(texts)
            spent = cpu_s() - start
            exact = vectors if speed == "exact" else exact
            cosines = (vectors * exact).sum(axis=1)
            rows.append(
                {
                    "way": speed,
                    "texts": len(texts),
                    "texts_per_cpu_s": round(len(texts) / spent, 1),
                    "cosine_mean": round(float(cosines.mean()), 5),
                    "cosine_min": round(float(cosines.min()), 5),
                }
            )
    return rows


def whole_run(dataset: Dataset, folder: Path | None, threads: int) -> dict[str, Any]:
    """encode_catalogue from an empty cache, then again."""
    row: dict[str, Any] = {"way": "auto, whole catalogue"}
    with tempfile.TemporaryDirectory() as cache:
        for run in ("first", "second"):
            encoder = TextEncoder(folder, cache=Path(cache), threads=threads)
            start, began = cpu_s(), time.perf_counter()
            encode_catalogue(dataset, encoder)
            row[f"{run}_wall_s"] = round(time.perf_counter() - began, 2)
            row[f"{run}_cpu_s"] = round(cpu_s() - start, 2)
            row["threads"] = encoder.threads
            row["load"] = round(os.getloadavg()[0], 1)  # above the number of cores, the wall time is not ours
    return row


def cpu_s() -> float:
    """CPU seconds of this process, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
