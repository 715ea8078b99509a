"""Commands about data: `import` and `doctor`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from intently.errors import InputError

if TYPE_CHECKING:
    from intently.data.doctor_finding import Finding
    from intently.data.ingest import Imported

HOME = typer.Option(None, "--home", help="Folder of the store and the models (default .intently).")
JSON = typer.Option(False, "--json", help="Print JSON for machines.")


def register(app: typer.Typer) -> None:
    """Add this group's commands to the application."""
    app.command("import")(import_)
    app.command()(doctor)


def import_(
    events: list[Path] = typer.Argument(None, help="Behaviour: CSV, JSONL or Parquet, also .gz."),
    items: Path = typer.Option(None, "--items", help="Catalogue: item_id, title and any attribute."),
    users: Path = typer.Option(None, "--users", help="Profiles: user_id and any attribute."),
    map_: list[str] = typer.Option([], "--map", help="COLUMN=OURS, as household_id=user_id; repeatable."),
    event: str = typer.Option("purchase", "--event", help="What a row is when no column says it."),
    timezone: str = typer.Option("UTC", "--timezone", help="Zone of times that name none."),
    day_first: bool | None = typer.Option(
        None, "--day-first/--month-first", help="Which comes first in 03/04/2024 (default: as rows show)."
    ),
    encoding: str = typer.Option("", "--encoding", help="Encoding of text files (default: found out)."),
    rejects: Path = typer.Option(
        None, "--rejects", help="File for rows not used (default: HOME/rejects/); repair and import it."
    ),
    home: Path = HOME,
    json: bool = JSON,
) -> None:
    """Read a shop's tables into the store; rows that cannot be used are kept aside.

    Importing the same file twice changes nothing. An exact copy of a row counts once, unless the
    two have different event ids. Blank lines are no rows.
    """
    from intently.config import load_settings
    from intently.data.ingest import import_files
    from intently.data.ingest_columns import ImportOptions
    from intently.store import open_store

    files = [("events", path) for path in events or []]
    files += [("items", items)] if items else []
    files += [("users", users)] if users else []
    if not files:
        raise InputError("nothing to import", hint="intently import events.csv --items items.csv")
    settings = load_settings(home=home)
    options = ImportOptions(_pairs(map_), event, timezone, day_first, encoding)
    with open_store(settings.store_place) as store:
        done = import_files(store, files, rejects or settings.home / "rejects", options)
    _print_imported(done, json)
    for one in done:
        if one.read and one.rejected == one.read:
            message = f"none of the {one.read} rows of {one.source} could be used; {one.first_reject}"
            raise InputError(message, hint=f"they are in {one.rejects_path}")


def doctor(home: Path = HOME, json: bool = JSON) -> None:
    """Look for what is wrong with the data, and whether it is enough to beat popularity."""
    from intently.config import load_settings
    from intently.data.doctor import as_dict, examine
    from intently.store import open_store

    settings = load_settings(home=home)
    if not settings.has_store:
        raise InputError(f"there is no store at {settings.store_path}", hint="intently import events.csv")
    with open_store(settings.store_place) as store:
        findings = examine(store, time.time())
    if json:
        _print_json([as_dict(finding) for finding in findings])
    else:
        _print_findings(findings)


def _pairs(given: list[str]) -> dict[str, str]:
    found = {}
    for pair in given:
        source, equals, ours = pair.rpartition("=")
        if not equals or not source or not ours:
            message = f"--map takes COLUMN=OURS, got {pair[:80]!r}"
            raise InputError(message, hint="for example --map household_id=user_id", field="map")
        found[source] = ours
    return found


def _print_json(value: object) -> None:
    import orjson

    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def _print_imported(done: list[Imported], json: bool) -> None:
    from dataclasses import asdict

    if json:
        _print_json([asdict(one) for one in done])
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("table", "source", box=None)
    for name in ("read", "accepted", "duplicate", "rejected", "seconds"):
        table.add_column(name, justify="right")
    for one in done:
        numbers = (one.read, one.accepted, one.duplicate, one.rejected)
        shown = [f"{number:,}" for number in numbers]
        table.add_row(one.table, escape(one.source[:36]), *shown, f"{one.elapsed_s:.1f}")
    console = Console(width=100, soft_wrap=False)
    console.print(table)
    for one in done:
        for note in one.notes:
            console.print(f"  {escape(one.source)}: {escape(note)}", style="dim")
        if one.rejected:
            console.print(f"  {escape(one.source)}: first reject: {escape(one.first_reject)}")
            console.print(f"  repair `row` and import again: {escape(one.rejects_path)}")


def _print_findings(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(width=100)
    colours = {"bad": "red", "warning": "yellow", "note": "cyan", "good": "green"}
    for found in findings:
        colour = colours[found.severity]
        console.print(
            f"[{colour}]{found.severity:>8}[/]  [bold]{escape(found.name)}[/]: {escape(found.says)}"
        )
        for row in found.rows[:5]:
            cells = "  ".join(f"{key}={value}" for key, value in row.items())
            console.print(f"            {escape(cells)}", style="dim", overflow="ellipsis", no_wrap=True)
