"""Where behaviour lives.

`EventStore` is the contract; `SqliteStore` keeps it in one file on the shop's own disk. An event is
acknowledged after its commit is synced, and the same event sent twice counts once. Rows come in
typed and clean (reading a shop's files is the `data` room's work) and leave as polars frames with
the shop's own ids.
"""

from intently.store.append import Appended
from intently.store.base import Added, Counts, EventRow, EventStore
from intently.store.sqlite import SqliteStore

__all__ = ["Added", "Appended", "Counts", "EventRow", "EventStore", "SqliteStore"]
