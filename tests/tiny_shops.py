"""Small shops with a known right answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from intently.data import Dataset
from intently.store import SqliteStore

START = datetime(2024, 1, 1, tzinfo=UTC)


def checkerboard(n_users: int = 60, n_items: int = 20, seed: int = 0, vectors: bool = True) -> Dataset:
    """Even users meet only even items, odd users only odd ones, each 6 different ones, a day apart.

    Right answer: every item recommended to a user has the parity of the user's history. With
    `vectors`, items of one parity have texts in one direction (cosine about 0.9), those of the other
    in another; the last item of each parity is never met.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        own = np.arange(user % 2, n_items - 2, 2)
        for day, item in enumerate(rng.permutation(own)[:6]):
            rows.append((f"u{user:03d}", f"i{item:03d}", START + timedelta(days=day, hours=user % 7)))
    events = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    names = [f"i{item:03d}" for item in range(n_items)]
    parity = np.arange(n_items) % 2
    items = pl.DataFrame(
        {
            "item_id": names,
            "title": [("garden hose" if odd else "lip balm") + f" {i}" for i, odd in enumerate(parity)],
            "price": [2.0 + odd for odd in parity],
        }
    )
    dataset = Dataset.from_frames(events, items)
    if not vectors:
        return dataset
    text = rng.normal(0, 0.12, (n_items, 8))
    text[np.arange(n_items), parity] += 1.0
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    return dataset.with_vectors(text.astype(np.float32))


def weekly_basket(n_users: int = 30, weeks: int = 20, n_items: int = 24, seed: int = 0) -> Dataset:
    """A grocery: user u buys its staples u % 8 and 8 + u % 8 every week, and one random item.

    Right answer: the two staples of the user come first.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        for week in range(weeks):
            at = START + timedelta(days=7 * week + user % 5)
            for item in (user % 8, 8 + user % 8, int(rng.integers(16, n_items))):
                rows.append((f"u{user:03d}", f"i{item:03d}", "purchase", at, f"{user}-{week}"))
    columns = ["user_id", "item_id", "event", "timestamp", "session_id"]
    events = pl.DataFrame(rows, schema=columns, orient="row")
    names = [f"i{item:03d}" for item in range(n_items)]
    return Dataset.from_frames(events, pl.DataFrame({"item_id": names, "title": names}))


def chain(n_users: int = 80, n_items: int = 12, length: int = 6, seed: int = 0) -> Dataset:
    """Everyone walks around one circle: item i is always followed by i + 1; there is no clock.

    Right answer: the item after the last one.
    """
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, n_items, n_users)
    walks = [[f"i{(start + step) % n_items:03d}" for step in range(length)] for start in starts]
    return Dataset.from_sequences(walks)


def stored(shop: Dataset, folder: Path) -> Path:
    """`folder` as a home with the shop's events, as purchases, in its store."""
    with SqliteStore(folder / "store.db") as store:
        store.add_events(
            [
                {
                    "user_id": shop.users[row["user"]],
                    "item_id": shop.items[row["item"]],
                    "event": "purchase",
                    "time_s": row["time_s"],
                }
                for row in shop.events.iter_rows(named=True)
            ]
        )
    return folder
