"""The command that makes a logged answer again: replay-decision."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add this group's command to the application."""
    app.command(
        "replay-decision", epilog="Example: intently replay-decision rec_0193abc4d5e60011223344556677"
    )(replay_decision)


def replay_decision(
    recommendation_id: str = typer.Argument(help="Of an answer, as the service gave it."),
    home: Path | None = typer.Option(None, help="Folder of the store and the artifacts."),
    config: Path | None = typer.Option(None, help="Settings file instead of intently.toml."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON for machines."),
) -> None:
    """Make an answer again as of its moment, with the versions of then, and compare; 1 when it differs."""
    from intently.config import load_settings
    from intently.serving.answer.replay import replay

    found = replay(load_settings(config, home=home), recommendation_id)
    if as_json:
        import orjson

        options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_DATACLASS
        typer.echo(orjson.dumps(found, option=options).decode())
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table(width=100)
        for name in ("rank", "answered", "made again"):
            table.add_column(name)
        for place in range(max(len(found.logged), len(found.replayed))):
            pair = [part[place] if place < len(part) else "" for part in (found.logged, found.replayed)]
            table.add_row(str(place + 1), *pair)
        Console(width=100).print(table)
        told = "the same list" if found.same else "another list"
        more = "all candidates in the same order" if found.same_candidates else "other candidates"
        typer.echo(f"{told}; {more}; scores differ by {found.largest_gap:.2g} at most")
        for note in found.notes:
            typer.echo(note, err=True)
    if not found.same:
        raise typer.Exit(1)
