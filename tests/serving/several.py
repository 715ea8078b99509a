"""Two services of one shop: a PostgreSQL, a Redis that is a real server, one folder."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from served import Running, grocery, publish, repeat, running

from intently.schema import EVENTS
from intently.store import open_store

SOON_S = 5.0
"""What comes by message takes milliseconds; shared machines are slow."""


def settle_in(home: Path, database: str, redis: str, more: str = "") -> tuple[str, ...]:
    """The shop in the database, a model in `home`; the options of its services."""
    shop = grocery()
    publish(home, shop, repeat(shop))
    names = [EVENTS[code] for code in shop.events["event"]]
    rows = zip(
        shop.users.names(shop.events["user"]),
        shop.items.names(shop.events["item"]),
        names,
        shop.events["time_s"].to_list(),
        strict=True,
    )
    keys = ("user_id", "item_id", "event", "time_s")
    with open_store(database) as store:
        store.add_events([dict(zip(keys, row, strict=True)) for row in rows])
        store.upsert_items([{"item_id": i, "title": f"Thing {i}", "price": 2.0} for i in shop.items.ids])
    (home / "mine.toml").write_text(f'store = "{database}"\nredis = "{redis}"\n{more}')
    return ("--config", str(home / "mine.toml"))


@contextmanager
def two(home: Path, options: tuple[str, ...]) -> Iterator[tuple[Running, Running]]:
    """Two services on ports of their own, so that a test knows which one it asks."""
    with running(home, *options) as one, running(home, *options) as other:
        yield one, other


def soon(holds: Callable[[], object], within_s: float = SOON_S) -> float:
    """Seconds until something holds; fails when it does not in time."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < within_s, "not in time"
        time.sleep(0.002)
    return time.monotonic() - began


def at_once(work: Callable[[Running, str], None], services: tuple[Running, ...]) -> None:
    """work(service, a letter of its own) for each, all at a time."""
    named = zip(services, "abcdefghij", strict=False)
    threads = [threading.Thread(target=work, args=each) for each in named]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
