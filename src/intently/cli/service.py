"""Commands that answer: the service."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from intently.config import Settings


ONE_THREAD = "OPENBLAS_NUM_THREADS"
"""An answer's matrices are small: handing parts of them to other threads costs more than the products."""


def register(app: typer.Typer) -> None:
    """Add this group's commands to the application."""
    app.command("serve")(serve)


def serve(
    host: str | None = typer.Option(
        None, help="Address to listen on; others than loopback need a key: see `keys`."
    ),
    port: int | None = typer.Option(None, help="Port to listen on; 0 takes a free one."),
    home: Path | None = typer.Option(None, help="Folder of the store and the artifacts."),
    config: Path | None = typer.Option(None, help="Settings file instead of intently.toml."),
    workers: int | None = typer.Option(
        None, help="Processes that answer; more than one need `store` and `redis` in the settings."
    ),
) -> None:
    """Answer over HTTP, and show the page, until stopped."""
    os.environ.setdefault(ONE_THREAD, "1")  # numpy reads it when it is imported, so before anything else
    from intently.config import load_settings
    from intently.errors import MissingExtraError

    try:
        from intently.serving.server import serve as run
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "fastapi", "serve") from error
    settings = load_settings(config, host=host, port=port, workers=workers, home=home)
    if hint := elsewhere(settings):
        typer.echo(hint, err=True)
    run(settings, announce)


def elsewhere(settings: Settings) -> str:
    """Where the demonstration shop is, when this home holds no shop of its own; '' otherwise."""
    demo = settings.model_copy(update={"home": settings.home / "demo"})
    if settings.has_store or not demo.store_path.exists():
        return ""
    return f"{settings.home} holds no shop; for the demonstration: intently serve --home {demo.home}"


def announce(address: str) -> None:
    """Say where the page is."""
    typer.echo(f"Intently answers at {address} (stop with Ctrl+C)")
