"""`intently demo`: a real shop, from nothing to a page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from intently.config import Settings


def register(app: typer.Typer) -> None:
    """Add this group's commands to the application."""
    app.command("demo", epilog="Example: intently demo --port 8080")(demo)
    app.command("demo-train", hidden=True)(demo_train)


def demo(
    home: Path = typer.Option(Path(".intently/demo"), help="Folder of the demonstration shop."),
    port: int = typer.Option(8000, min=0, max=65535, help="Port of the page."),
    host: str = typer.Option("127.0.0.1", help="Address to listen on."),
) -> None:
    """Import a real shop's year of purchases, train, judge, and answer with a page.

    The page stands as soon as the first model is ready; the full training runs beside it and takes
    over when it is better. Run it again and it goes on where it was.
    """
    from intently.config import load_settings
    from intently.data.shops import DATA_NOTE

    settings = load_settings(home=home, port=port, host=host)
    typer.echo(DATA_NOTE)
    stage = _first_model(settings)
    beside = None
    if stage != "full":
        beside = subprocess.Popen([sys.executable, "-m", "intently", "demo-train", "--home", str(home)])
        typer.echo("the full training runs beside the page; it takes over when it is better")
    from intently.cli.service import announce
    from intently.serving.server import serve

    try:
        serve(settings, announce)
    finally:
        if beside is not None and beside.poll() is None:
            beside.terminate()
            beside.wait(timeout=20)


def demo_train(home: Path = typer.Option(Path(".intently/demo"))) -> None:
    """The full training beside the page."""
    from intently.cli.judge import print_report
    from intently.config import load_settings
    from intently.pipeline import load_shop, train

    settings = load_settings(home=home)
    outcome = train(load_shop(settings), settings, facts=_facts())
    print_report(outcome.report)
    typer.echo(outcome.verdict)


def _first_model(settings: Settings) -> str:
    """Import what is not there yet and make sure that something answers; the live stage."""
    from intently import artifact, progress
    from intently.pipeline import load_shop, train

    if not settings.store_path.exists():
        _import(settings)
    live = artifact.live(settings.artifacts)
    if live is not None:
        return str(artifact.verify(live).get("stage", "full"))
    outcome = train(load_shop(settings), settings, stage="quick", facts=_facts())
    progress.note(outcome.verdict)
    return "quick"


def _import(settings: Settings) -> None:
    from intently import progress
    from intently.data.shops import complete_journey, typed
    from intently.store import SqliteStore

    shop = complete_journey()
    aside = settings.store_path.with_name("store.importing.db")
    aside.parent.mkdir(parents=True, exist_ok=True)
    for left in aside.parent.glob("store.importing.db*"):  # of an import that was cut off
        left.unlink()
    with SqliteStore(aside) as store:
        store.upsert_items(shop.items)
        store.upsert_users(shop.users)
        events = typed(shop.events)
        with progress.track("importing purchases", total=events.height) as advance:
            for part in events.iter_slices(100_000):
                store.add_events(part)
                advance(part.height)
        counts = store.counts()
    aside.rename(settings.store_path)
    progress.note(f"imported {counts.events:,} events, {counts.items:,} items, {counts.users:,} users")


def _facts() -> dict[str, str]:
    from intently.data.shops import DATA_NOTE, SHOP_NAME

    return {"shop": SHOP_NAME, "data_note": DATA_NOTE}
