"""How fast and how faithfully is a catalogue read?

    python benchmarks/encode.py                                        # the demo's shop
    python benchmarks/encode.py --data items.csv.gz                    # any items table with titles
    python benchmarks/encode.py --data reviews.csv.gz --text review    # any column of any table

For each of the three speeds, on the same sample: texts a CPU-second, how many times that of the exact way,
the cosine to the exact vectors (mean and worst), and the share of each text's ten nearest that stay the
nearest. The static vectors of `fastest` are fitted to other texts than those of the sample. The encoder is
the one that the texts would get, or the one of --encoder. With --whole then the whole catalogue as a user
meets it, from an empty cache: CPU and wall seconds of the first run, everything included (loading, export,
measuring), and of the second.
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
from intently.language.choice import encoder_for
from intently.language.folder import bundled_folder
from intently.language.static import fidelity
from record import record


def main() -> None:
    """Measure, print one JSON line a figure, and keep it in results/encode.jsonl."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="csv[.gz], items or with --text; default: the demo's items")
    parser.add_argument("--text", default="", help="column to read; default: what is read of an item")
    parser.add_argument("--sample", type=int, default=2000, help="distinct texts for the three speeds")
    parser.add_argument("--fit", type=int, default=6000, help="distinct texts to fit the static vectors to")
    parser.add_argument("--encoder", type=Path, help="transformers folder; default: as the texts need")
    parser.add_argument("--whole", action="store_true", help="also encode the whole catalogue")
    parser.add_argument("--threads", type=int, default=0, help="cores of the whole run; 0: all")
    parser.add_argument("--dry", action="store_true", help="print only, keep nothing")
    options = parser.parse_args()
    dataset = None if options.text else read_shop(options.data)
    found = read_column(options.data, options.text) if dataset is None else catalogue_text(dataset)
    texts = spread(sorted(set(filter(None, found))))
    folder = options.encoder or encoder_for(texts)
    facts = {
        "catalogue": options.data.resolve().parent.name if options.data else "complete_journey",
        "distinct_texts": len(texts),
        "encoder": "english" if folder == bundled_folder() else folder.name,
    }
    rows = compare_ways(texts[: options.sample], texts[options.sample :][: options.fit], folder)
    if options.whole and dataset is not None:
        rows.append(whole_run(dataset, folder, options.threads))
    for row in rows:
        line = facts | row if options.dry else record("encode", facts | row)
        sys.stdout.write(json.dumps(line) + "\n")


def spread(texts: list[str]) -> list[str]:
    """The texts in an order that is random, and the same every time."""
    return [texts[row] for row in np.random.default_rng(0).permutation(len(texts))]


def read_column(path: Path, name: str) -> list[str]:
    """The cells of one column, without blanks around them."""
    return [cell.strip() for cell in pl.read_csv(path.read_bytes(), infer_schema=False)[name] if cell]


def read_shop(path: Path | None) -> Dataset:
    """The demo's shop, or one of which only the items are known."""
    if path is None:
        from intently.data.shops import complete_journey

        shop = complete_journey()
        return Dataset.from_frames(shop.events.head(1), shop.items)
    items = pl.read_csv(path.read_bytes(), infer_schema=False)
    events = pl.DataFrame({"user_id": ["u"], "item_id": items["item_id"][:1], "timestamp": [0]})
    return Dataset.from_frames(events, items)


def compare_ways(texts: list[str], others: list[str], folder: Path) -> list[dict[str, Any]]:
    """Speed on one thread and fidelity of the three speeds on `texts`; models are loaded, exported and
    fitted to `others` before."""
    rows: list[dict[str, Any]] = []
    exact = np.zeros(0, np.float32)
    with tempfile.TemporaryDirectory() as cache:
        for speed in ("exact", "fast", "fastest"):
            encoder = TextEncoder(folder, speed=speed, cache=Path(cache), threads=1)
            began = cpu_s()
            encoder.encode(others if speed == "fastest" else others[:64])
            ready_s, start = cpu_s() - began, cpu_s()
            vectors = encoder.encode(texts)
            each_s = (cpu_s() - start) / len(texts)
            if speed == "exact":
                exact, exact_s = vectors, each_s
            measured = fidelity(vectors, exact)
            rows.append(
                {
                    "way": speed,
                    "texts": len(texts),
                    "texts_per_cpu_s": round(1 / each_s, 1),
                    "times_exact": round(exact_s / each_s, 2),
                    "cosine_mean": round(float(measured["fidelity"]), 5),
                    "cosine_min": round(float(measured["worst"]), 5),
                    "same_neighbours": round(float(measured["neighbours"]), 3),
                    "ready_cpu_s": round(ready_s, 1),
                }
            )
    return rows


def whole_run(dataset: Dataset, folder: Path, threads: int) -> dict[str, Any]:
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
