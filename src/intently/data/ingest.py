"""Files into a store: every row is accepted, known already, or kept as a reject.

A source is read in batches, each one transaction of the store; what was stored before an interruption
stays and counts as duplicate when the file is imported again. Memory is bounded by a batch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from intently import progress
from intently.data.ingest_columns import KEYS, ImportOptions, assign, day_first, require, typed_batch
from intently.data.ingest_tables import number_columns, typed_rows
from intently.data.parse import canonical
from intently.data.readers import open_source
from intently.data.readers_base import Batch, Source
from intently.data.rejects import Reject, RejectsFile
from intently.errors import InputError
from intently.store import Added, EventStore

TABLES: Final = ("items", "users", "events")
"""The order of import: small tables, whose mistakes are soon found, come first."""


@dataclass(frozen=True)
class Imported:
    """What became of one source: accepted + duplicate + rejected = read.

    read counts rows: blank lines and the header are none. For items and users a duplicate is a row
    that changed nothing.
    """

    table: str
    source: str
    read: int
    accepted: int
    duplicate: int
    rejected: int
    elapsed_s: float
    rejects_path: str
    first_reject: str
    notes: tuple[str, ...]


@dataclass
class _Tally:
    read: int = 0
    accepted: int = 0
    duplicate: int = 0
    begun: bool = False
    naive: bool = False
    day: bool | None = None
    names: dict[str, None] = field(default_factory=dict)
    numeric: frozenset[str] = frozenset()


def import_files(
    store: EventStore,
    files: Sequence[tuple[str, Path]],
    rejects: Path,
    options: ImportOptions | None = None,
) -> list[Imported]:
    """Import (table, path) pairs; table is one of TABLES.

    rejects: a folder (made when needed) for one rejects file a source, or a file when there is one
    source. All sources are opened and their columns checked before the first row is stored.
    Raises InputError for a source that cannot be used, StoreError for the store.
    """
    chosen = options or ImportOptions()
    ordered = sorted(files, key=lambda pair: TABLES.index(pair[0]))
    sources = [(table, open_source(path, encoding=chosen.encoding)) for table, path in ordered]
    _check_columns(sources, chosen)
    kept = [
        RejectsFile(_rejects_path(rejects, table, source, len(sources)), source.path)
        for table, source in sources
    ]
    return [
        import_source(store, table, source, kept_in, chosen)
        for (table, source), kept_in in zip(sources, kept, strict=True)
    ]


def import_source(
    store: EventStore, table: str, source: Source, rejects: RejectsFile, options: ImportOptions
) -> Imported:
    """Import one opened source; see import_files."""
    started = time.perf_counter()
    tally = _Tally(numeric=frozenset() if table == "events" else number_columns(source))
    reached = 0.0
    label = f"importing {source.path.name} ({'MB' if source.unit == 'bytes' else source.unit})"
    scale = 1e6 if source.unit == "bytes" else 1.0
    with rejects, progress.track(label, total=source.total / scale) as advance:
        for batch in source.batches():
            added, bad = _import_batch(store, table, batch, source, options, tally)
            bad = sorted([*batch.bad, *bad], key=lambda reject: reject.line)
            rejects.add(bad)
            tally.read += len(batch.lines) + len(batch.bad)
            tally.accepted += added.accepted
            tally.duplicate += added.duplicates
            advance((batch.done - reached) / scale)
            reached = batch.done
    return Imported(
        table,
        source.path.name,
        tally.read,
        tally.accepted,
        tally.duplicate,
        rejects.count,
        time.perf_counter() - started,
        str(rejects.path) if rejects.count else "",
        _shown(rejects.first),
        _notes(table, source, options, tally),
    )


def _import_batch(
    store: EventStore, table: str, batch: Batch, source: Source, options: ImportOptions, tally: _Tally
) -> tuple[Added, list[Reject]]:
    if not len(batch.lines):
        return Added(0, 0), []
    tally.names |= dict.fromkeys(batch.names)
    mapping = assign(table, batch.names, options.columns)
    if not tally.begun:
        require(table, mapping, batch.names, source.path.name)
        tally.day = day_first(batch, mapping, options) if table == "events" else None
        tally.begun = True
    if table == "events":
        frame, bad, naive = typed_batch(batch, mapping, options, tally.day)
        tally.naive |= naive
        return store.add_events(frame), bad
    key = KEYS[table][0]
    if key not in mapping:  # a later part of a JSONL file without the key at all
        return Added(0, 0), [_keyless(batch, row, key) for row in range(len(batch.lines))]
    rows, bad = typed_rows(batch, mapping, key, options, tally.numeric)
    upsert = store.upsert_items if table == "items" else store.upsert_users
    return upsert(rows), bad


def _keyless(batch: Batch, row: int, key: str) -> Reject:
    return Reject(int(batch.lines[row]), key, f"{key} is missing", batch.given(row))


def _check_columns(sources: Sequence[tuple[str, Source]], options: ImportOptions) -> None:
    """Required columns are there, and each column the user maps is in some source."""
    firsts = [next(iter(source.batches()), None) for _, source in sources]
    met = dict.fromkeys(name for first in firsts if first is not None for name in first.names)
    known = {canonical(name) for name in met}
    for column in options.columns:
        if met and canonical(column) not in known:
            shown = ", ".join(name[:40] for name in list(met)[:30])
            raise InputError(f"no column {column!r} to map; there are: {shown}", field="map")
    for (table, source), first in zip(sources, firsts, strict=True):
        if first is not None and first.names:
            mapping = assign(table, first.names, options.columns)
            require(table, mapping, first.names, source.path.name)


def _rejects_path(rejects: Path, table: str, source: Source, n_sources: int) -> Path:
    name = f"{table}-{source.path.name}.jsonl"
    if rejects.suffix and not rejects.is_dir():
        return rejects if n_sources == 1 else rejects.with_name(f"{rejects.stem}-{name}")
    return rejects / name


def _shown(reject: Reject | None) -> str:
    return "" if reject is None else f"line {reject.line}: {reject.reason}"


def _notes(table: str, source: Source, options: ImportOptions, tally: _Tally) -> tuple[str, ...]:
    """What was decided for the user, so that a wrong guess is seen."""
    mapping = assign(table, list(tally.names), options.columns)
    renamed = [f"{ours} = {name}" for ours, name in mapping.items() if ours != canonical(name)]
    notes = [f"columns read as {', '.join(renamed)}"] if renamed else []
    if source.encoding not in ("", "utf-8", "utf-8-sig"):
        notes.append(f"text read as {source.encoding} (--encoding)")
    if table != "events" or not tally.begun:
        return tuple(notes)
    if "event" not in mapping:
        notes.append(f"no event column: every row is a {options.event} (--event)")
    if tally.naive:
        notes.append(f"times without a zone read as {options.timezone} (--timezone)")
    if tally.day is not None and options.day_first is None:
        notes.append(f"03/04/2024 read {'day' if tally.day else 'month'} first")
    unused = [name for name in tally.names if name not in mapping.values()]
    if unused:
        notes.append(f"columns not used: {', '.join(unused[:10])}{', ...' if len(unused) > 10 else ''}")
    return tuple(notes)
