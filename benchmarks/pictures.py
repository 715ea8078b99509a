"""Do pictures tell which items are alike, beside their texts and without?

    python benchmarks/pictures.py --photos DIR --against DIR      # DIR/<class>/<picture>
    python benchmarks/pictures.py --shop items.csv --folder DIR   # title, category and image of each item

The first asks for the five nearest pictures of `--against` to each photo: the share that are of its class, by
our vectors and by a peer without a network, the pixels of the picture at 16 x 16. The second leaves out one
item at a time, as if it came new, and asks for the share of its nearest, and of its five nearest, that are of
its category: by text alone, by picture alone, and by both as the service joins them. Also what reading a
picture costs. One JSON line a way.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from intently.intervals import mean_interval
from intently.language import TextEncoder
from intently.nn.inference import unit
from intently.schema import BoolArray, FloatArray
from intently.senses import ImageEncoder, Joined, PictureFolder
from intently.senses.pictures import pixels_of
from record import record

NEAREST = 5
SMALL = 16
Classes = np.ndarray[Any, np.dtype[np.str_]]


def main() -> None:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--photos", type=Path, help="folders of classes whose pictures are asked about")
    parser.add_argument("--against", type=Path, help="folders of classes whose pictures are known")
    parser.add_argument("--shop", type=Path, help="CSV with title, category and image")
    parser.add_argument("--folder", type=Path, help="where those pictures are")
    parser.add_argument("--no-record", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        if options.shop:
            rows = of_shop(options.shop, options.folder, Path(cache))
        elif options.photos and options.against:
            rows = of_photos(options.photos, options.against, Path(cache))
        else:
            parser.error("give --photos and --against, or --shop and --folder")
    for row in rows:
        print(json.dumps(row), flush=True)
        if not options.no_record:
            record("pictures", row)


def of_photos(photos: Path, against: Path, cache: Path) -> list[dict[str, Any]]:
    """One row a way."""
    asked, wanted = classes_of(photos)
    known, theirs = classes_of(against)
    encoder = ImageEncoder(cache=cache)
    encoder.encode(known[:1])  # the network is exported once
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    seen = encoder.encode(known[1:])
    cost = {
        "pictures_per_s": round(len(seen) / (time.perf_counter() - wall_s), 1),
        "pictures_per_cpu_s": round(len(seen) / (time.process_time() - cpu_s), 1),
    }
    ways = {
        "network": (encoder.encode(asked), encoder.encode(known)),
        "pixels": (thumbnails(asked), thumbnails(known)),
    }
    about = {"data": against.parent.name, "asked": len(asked), "known": len(known)}
    rows = []
    for way, (ours, others) in ways.items():
        hits = theirs[nearest(ours @ others.T)] == wanted[:, None]
        rows.append(about | {"way": way} | shares(hits) | (cost if way == "network" else {}))
    return rows


def of_shop(items: Path, folder: Path, cache: Path) -> list[dict[str, Any]]:
    """One row a way."""
    with items.open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    category = np.array([row["category"] for row in table])
    some = np.array([(category == one).sum() > 1 for one in category])  # others have nothing to be found
    texts = TextEncoder(cache=cache, speed="exact").encode([row["title"] for row in table])
    pictures = PictureFolder(folder)
    seen = ImageEncoder(cache=cache).encode([pictures.find(row["image"]) for row in table])
    joined = Joined.learned(seen)
    assert joined is not None
    ways = {
        "text": texts,
        "picture": joined.vectors(np.zeros_like(texts), seen),
        "both": joined.vectors(texts, seen),
    }
    about = {"data": items.stem, "asked": int(some.sum()), "known": len(table) - 1}
    return [about | {"way": way} | shares(left_out(vectors, category, some)) for way, vectors in ways.items()]


def left_out(vectors: FloatArray, category: Classes, some: BoolArray) -> BoolArray:
    """(n, NEAREST) whether the nearest others are of an item's category."""
    alike = vectors @ vectors.T
    np.fill_diagonal(alike, -np.inf)
    hits: BoolArray = (category[nearest(alike)] == category[:, None])[some]
    return hits


def nearest(alike: FloatArray) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(n, NEAREST) columns, the most alike first."""
    return np.argsort(-alike, axis=1, kind="stable")[:, :NEAREST]


def shares(hits: BoolArray) -> dict[str, Any]:
    """Of the nearest and of the five nearest, with 95 % intervals over those asked."""
    first, five = mean_interval(hits[:, 0].astype(float)), mean_interval(hits.mean(axis=1))
    return {
        "nearest": round(first.value, 4),
        "nearest_95": [round(first.low, 4), round(first.high, 4)],
        "five_nearest": round(five.value, 4),
        "five_nearest_95": [round(five.low, 4), round(five.high, 4)],
    }


def classes_of(root: Path) -> tuple[list[Path], Classes]:
    """(pictures, the folder that each lies in)."""
    files = sorted(file for file in root.glob("*/*") if file.is_file())
    return files, np.array([file.parent.name for file in files])


def thumbnails(files: list[Path]) -> FloatArray:
    """(n, 768) centred pixels of small pictures, unit length."""
    small = [
        np.asarray(Image.fromarray(pixels_of(file)).resize((SMALL, SMALL)), np.float32) for file in files
    ]
    flat = np.stack(small).reshape(len(files), -1)
    return unit((flat - flat.mean(axis=1, keepdims=True)).astype(np.float32))


if __name__ == "__main__":
    main()
