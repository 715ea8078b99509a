"""How soon is what has just happened in the answers?

    python benchmarks/freshness.py                      # a drawn shop of 12,000 items
    python benchmarks/freshness.py --home shop          # a copy of a shop of your own, with `vectors`
    python benchmarks/freshness.py --pictures           # the drawn shop with a picture of each item

events  one client posts a click and asks for the user's list next, `--events` times: milliseconds from the
        first byte of the event to the last of the list, and how many of the lists have changed; the event is
        on disk by then. The first WARM_UP are not counted: the service still reads the catalogue's texts.
items   one item after another is put, of a category of its own, its title a known one's and two words more;
        seconds from the first byte of it until a list of that category names it by its text, which the shop's
        language model has read by then: what only fills a list up does not count. With --pictures the
        titles tell nothing, and each new item has a picture of its own, of 800 x 800 pixels.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
from PIL import Image, ImageDraw

import shop_home
from intently.config import Settings, load_settings
from intently.data import Dataset
from intently.reader import ItemReader
from record import record
from service import OURS, copied, sample_users, served

KINDS = ("tea", "soap", "lamp", "chair", "bread", "shirt", "knife", "towel", "candle", "pan")
LOOKS = ("green", "small", "wooden", "soft", "bright", "plain", "heavy", "striped", "old", "round")
WAIT_S = 30.0
WARM_UP = 100


def main() -> None:
    """Both questions."""
    wanted = parser().parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        shown, config = Path(scratch) / "shown", Path(scratch) / "intently.toml"
        config.write_text(f"pictures = {json.dumps(str(shown))}\n" if wanted.pictures else "")
        settings = load_settings(config, home=Path(scratch) / "home")
        home = copied(wanted.home, Path(scratch)) if wanted.home else made_up(settings)
        if wanted.home:
            shutil.copytree(wanted.home / "vectors", home / "vectors")
        with (
            served([*OURS, "--config", str(config)], home) as (address, _),
            httpx.Client(base_url=address, timeout=60) as client,
        ):
            users = sample_users(address, 2000, wanted.seed)
            shop = client.get("/v1/shop").json()
            facts = {name: shop[name] for name in ("model", "n_items", "n_users", "n_events")}
            wanted.shown = settings.pictures
            for case in (of_events, of_items):
                row = (
                    facts
                    | case(client, users, wanted)
                    | {"pictures": wanted.pictures}
                    | {"load_average": round(os.getloadavg()[0], 1)}
                )
                print(json.dumps(record("freshness", row, wanted.out)), flush=True)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    made.add_argument("--home", type=Path, default=None, help="a shop's folder; left out: one is drawn")
    made.add_argument("--events", type=int, default=2000)
    made.add_argument("--items", type=int, default=30)
    made.add_argument("--pictures", action="store_true", help="draw a picture of each item")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--out", type=Path, default=None, help="results file instead of the usual one")
    return made


def made_up(settings: Settings) -> Path:
    """A drawn shop with titles (and pictures), a live model, and vectors of its items."""
    shop = shop_home.dated(shop_home.drawn(12_000, 200_000))
    names = list(shop.items.ids)
    titles = [
        f"{LOOKS[n % 10]} {LOOKS[n // 10 % 10]} {KINDS[n // 100 % 10]} {name}" for n, name in enumerate(names)
    ]
    kinds = [KINDS[n // 100 % 10] for n in range(len(names))]
    table = shop.item_table.with_columns(title=pl.Series(titles), category=pl.Series(kinds))
    if settings.pictures:
        files = [f"{n // 12}.png" for n in range(len(names))]  # a thousand looks
        for n, file in enumerate(dict.fromkeys(files)):
            draw_picture(settings.pictures / file, n)
        table = table.with_columns(title=pl.lit("Thing"), image=pl.Series(files))
    shop = Dataset(shop.events, shop.users, shop.items, table, shop.user_table, None, shop.timed)
    shop_home.make(shop, settings.home, "covisit", {})
    ItemReader.of(table, settings)
    return settings.home


def draw_picture(file: Path, seed: int, side: int = 160) -> None:
    """Discs of one colour on another."""
    file.parent.mkdir(exist_ok=True)
    draw = random.Random(seed)
    ground, ink = (tuple(draw.randrange(256) for _ in range(3)) for _ in range(2))
    picture = Image.new("RGB", (side, side), ground)
    brush = ImageDraw.Draw(picture)
    for _ in range(draw.randrange(3, 20)):
        x, y, r = draw.randrange(side), draw.randrange(side), draw.randrange(side // 30, side // 5)
        brush.ellipse((x - r, y - r, x + r, y + r), fill=ink)
    picture.save(file)


def of_events(client: httpx.Client, users: list[str], wanted: argparse.Namespace) -> dict[str, Any]:
    """From an event to the list behind it."""
    draw = random.Random(wanted.seed)
    took, changed = [], []
    for _ in range(WARM_UP + wanted.events):
        user = draw.choice(users)
        before = listed(client, user)
        body = {"user_id": user, "item_id": draw.choice(before), "event": "click"}
        began = time.perf_counter()
        client.post("/v1/events", json=body).raise_for_status()
        after = listed(client, user)
        took.append((time.perf_counter() - began) * 1e3)
        changed.append(after != before)
    took = took[WARM_UP:]
    p50, p99 = np.percentile(took, [50, 99]).round(2).tolist()
    return {
        "case": "events",
        "warm_up": WARM_UP,
        "asked": len(took),
        "changed": sum(changed[WARM_UP:]),
        "p50_ms": p50,
        "p99_ms": p99,
    }


def listed(client: httpx.Client, user: str, n: int = 20) -> list[str]:
    """The items of a list."""
    answer = client.get(f"/v1/recommendations/{user}", params={"n": n}).raise_for_status()
    return [item["item_id"] for item in answer.json()["items"]]


def of_items(client: httpx.Client, users: list[str], wanted: argparse.Namespace) -> dict[str, Any]:
    """From a new item to a list that names it."""
    draw, took = random.Random(wanted.seed), []
    for place in range(wanted.items + 1):
        user, kind = draw.choice(users), f"kind {place}"
        item = {
            "item_id": f"new-{place}",
            "title": f"{title(client, user, draw)} brand new",
            "category": kind,
        }
        if wanted.shown:
            draw_picture(wanted.shown / f"new-{place}.png", 10**6 + place, 800)
            item |= {"title": "Thing", "image": f"new-{place}.png"}
        asked = {"user_id": user, "n": 1, "filter": f'category = "{kind}"'}
        began = time.perf_counter()
        client.post("/v1/items", json=item).raise_for_status()
        while source(client, asked) != "new":
            if time.perf_counter() - began > WAIT_S:
                raise SystemExit(f"{item} was not recommended within {WAIT_S:g} s")
        took.append(time.perf_counter() - began)
    first, later = took[0], sorted(took[1:])
    return {"case": "items", "asked": len(later), "first_s": round(first, 3)} | {
        "p50_s": round(later[len(later) // 2], 3), "max_s": round(later[-1], 3),
    }  # fmt: skip


def title(client: httpx.Client, user: str, draw: random.Random) -> str:
    """That of one of the user's items, of those that have one."""
    items = listed(client, user)
    told = [client.get(f"/v1/items/{item}").json()["attributes"].get("title") for item in items]
    return str(draw.choice([one for one in told if one]))


def source(client: httpx.Client, asked: dict[str, Any]) -> str:
    """Who named the first item of a list."""
    answer = client.post("/v1/recommendations", json=asked).raise_for_status()
    return next((str(item["source"]) for item in answer.json()["items"]), "")


if __name__ == "__main__":
    main()
