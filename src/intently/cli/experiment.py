"""The command that says what the arms of an experiment brought: experiment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from intently.intervals import Interval
    from intently.serving.answer.verdict import Verdict


def register(app: typer.Typer) -> None:
    """Add this group's command to the application."""
    app.command("experiment", epilog="Example: intently experiment calm --json")(experiment)


def experiment(
    name: str | None = typer.Argument(None, help="As in the settings; left out: all."),
    home: Path | None = typer.Option(None, help="Folder of the store and the decision log."),
    config: Path | None = typer.Option(None, help="Settings file instead of intently.toml."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON for machines."),
) -> None:
    """What the arms of an experiment brought: users who clicked and bought after its lists."""
    from intently.config import load_settings
    from intently.serving.answer.verdict import verdicts

    found = verdicts(load_settings(config, home=home), name)
    if as_json:
        import orjson

        options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_DATACLASS
        typer.echo(orjson.dumps(found, option=options).decode())
        return
    for one in found:
        _print(one)


def _print(one: Verdict) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    title = escape(f"{one.name}: % of users who did it after a list of their arm, 95 %")
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, collapse_padding=True)
    for column in ("event", "arm"):
        table.add_column(column, overflow="fold")
    for column in ("users", "lists", "events", "did it", "rate", "over the first"):
        table.add_column(column, justify="right", no_wrap=True)
    for place in range(len(one.arms[0].outcomes)):
        for arm in one.arms:
            of = arm.outcomes[place]
            counts = (f"{n:,}" for n in (arm.users, arm.lists, of.events, of.users))
            gain = "" if of.gain is None else _percent(of.gain, "+")
            table.add_row(of.event, escape(arm.arm), *counts, _percent(of.rate), gain)
    Console(width=100).print(table)
    if one.mismatch_p is not None:
        typer.echo(
            f"a split of users as far from the shares as this one has a chance of {one.mismatch_p:.2g}"
        )
    for note in one.notes:
        typer.echo(note, err=True)


def _percent(found: Interval, sign: str = "") -> str:
    if found.value != found.value:
        return "–"
    value, low, high = (format(part * 100, f"{sign}.2f") for part in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"
