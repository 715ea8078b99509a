"""Commands that keep a shop's folder safe: backup and restore."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add this group's commands to the application."""
    app.command("backup")(backup)
    app.command("restore")(restore)


def backup(
    out: Path = typer.Option(..., help="File that is written; it must not exist."),
    home: Path | None = typer.Option(None, help="Folder of the store and the artifacts."),
    config: Path | None = typer.Option(None, help="Settings file instead of intently.toml."),
) -> None:
    """Write a shop's folder and its settings to one file; the service may run meanwhile.

    Events, catalogue, models, rules, keys and decisions of one moment each, with a SHA-256 of every file.
    """
    from intently.backup import SETTINGS, back_up
    from intently.config import load_settings

    settings = load_settings(config, home=home)
    done = back_up(settings.home, out, config or Path(SETTINGS))
    typer.echo(f"{out}: {done.files} files, {done.bytes / 1e6:,.1f} MB, as of {done.made_at}")


def restore(
    file: Path = typer.Argument(help="A file that `intently backup` wrote."),
    home: Path | None = typer.Option(None, help="Folder that is made; it must be empty or missing."),
    config: Path | None = typer.Option(None, help="Settings file instead of intently.toml."),
) -> None:
    """Make a shop's folder from a back-up; a damaged file is refused."""
    from intently.backup import SETTINGS, restore
    from intently.config import load_settings

    place = load_settings(config, home=home).home
    done = restore(file, place)
    typer.echo(f"{place}: {done.files} files, {done.bytes / 1e6:,.1f} MB, as of {done.made_at}")
    if (place / SETTINGS).exists():
        typer.echo(f"the settings of then are in {place / SETTINGS}; use them with --config, or move them")
