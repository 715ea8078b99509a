"""The command that lists published models, makes one live, and goes back: models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from intently.errors import InputError

if TYPE_CHECKING:
    from intently.serving.shapes.models import ModelLine

ACTIONS = {"list": 0, "promote": 1, "roll-back": 0}
"""What can be asked, and how many versions it needs."""

_EXAMPLES = """Examples, where a version may be any part of one that no other has:

intently models

intently models promote 20260101T120000

intently models roll-back"""


def register(app: typer.Typer) -> None:
    """Add this group's command to the application."""
    app.command("models", epilog=_EXAMPLES)(models)


def models(
    action: str = typer.Argument("list", help="list, promote VERSION, or roll-back."),
    given: list[str] = typer.Argument(None, metavar="[VERSION]", help="The version that is promoted."),
    home: Path | None = typer.Option(None, help="Folder of the store and the artifacts."),
    config: Path | None = typer.Option(None, help="Settings file instead of intently.toml."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON for machines."),
) -> None:
    """Published models: which there are, how good each was, and which one answers.

    A running service follows within two seconds.
    """
    from intently import artifact
    from intently.config import load_settings

    names = given or []
    if action not in ACTIONS:
        raise InputError(f"unknown action {action!r}; allowed: {', '.join(ACTIONS)}", field="action")
    if len(names) != ACTIONS[action]:
        raise InputError(
            f"{action} needs {ACTIONS[action]} versions, got {len(names)}",
            hint="`intently models` lists them",
        )
    root = load_settings(config, home=home).artifacts
    if action == "list":
        _list(root, as_json)
        return
    if action == "promote":
        version = _found(artifact.versions(root), names[0])
        artifact.verify(root / version)
        artifact.promote(root, version)
    else:
        version = artifact.roll_back(root)
    typer.echo(f'{{"live": "{version}"}}' if as_json else f"live: {version}")


def _found(versions: list[str], part: str) -> str:
    """The one version whose name holds `part`."""
    found = [version for version in versions if part in version]
    if part in versions:
        return part
    if len(found) != 1:
        told = f"{len(found)} versions have" if found else "no version has"
        raise InputError(
            f"{told} {part[:60]!r} in its name", hint="`intently models` lists them", field="version"
        )
    return found[0]


def _list(root: Path, as_json: bool) -> None:
    from intently.serving.answer.models import listed

    lines, trouble = listed(root)
    if as_json:
        import orjson

        said = {"trouble": trouble, "models": lines}
        typer.echo(orjson.dumps(said, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_DATACLASS).decode())
        return
    if trouble:
        typer.echo(f"which one is live cannot be read: {trouble}", err=True)
    if not lines:
        typer.echo("no model is published yet; run: intently train")
        return
    _print(lines)


def _print(lines: list[ModelLine]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(width=100)
    for name in ("version", "", "model", "stage", "event"):
        table.add_column(name)
    table.add_column("NDCG@10", justify="right")
    table.add_column("events", justify="right")
    for line in lines:
        state = "live" if line.live else f"{line.before} before" if line.before else line.trouble
        figure = line.metrics.get("ndcg@10")
        table.add_row(
            line.version,
            state,
            line.model,
            line.stage,
            line.event,
            "" if figure is None else f"{figure:.4f}",
            "" if line.n_events is None else f"{line.n_events:,}",
        )
    Console(width=100).print(table)
