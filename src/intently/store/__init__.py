"""Where behaviour lives.

`EventStore` is the contract; `SqliteStore` keeps it in one file on the shop's own disk, `PostgresStore` in
a database server of the shop's. An event is
acknowledged after its commit is synced, and the same event sent twice counts once. Rows come in
typed and clean (reading a shop's files is the `data` room's work) and leave as polars frames with
the shop's own ids.
"""

from pathlib import Path

from intently.store.base import Added, Appended, Counts, EventRow, EventStore
from intently.store.postgres import PostgresStore
from intently.store.sqlite import SqliteStore

__all__ = [
    "Added",
    "Appended",
    "Counts",
    "EventRow",
    "EventStore",
    "PostgresStore",
    "SqliteStore",
    "open_store",
]


def open_store(place: str | Path) -> EventStore:
    """The store at a path, or at an address that begins with postgresql://."""
    return PostgresStore(place) if isinstance(place, str) else SqliteStore(place)
