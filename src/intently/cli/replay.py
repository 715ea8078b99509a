"""Commands that replay: the online layer against the model that stands still, on the shop's own log."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from intently.data import Dataset
    from intently.models import Recommender
    from intently.serving.online.recovery import Recovery
    from intently.serving.online.replay import Month

FIRST = 0.5
"""Share of the log that the frozen model learns from, when no --cut is given."""


def register(app: typer.Typer) -> None:
    """Add this group's commands to the application."""
    app.command("replay", epilog="Example: intently replay --cut 2017-07-01 --shift 0.3")(replay)


def replay(
    cut: str | None = typer.Option(None, help="Train before this moment (YYYY-MM-DD, UTC); default: half."),
    stage: str = typer.Option(
        "quick", help="Which frozen model: quick, or full as `intently train` makes it."
    ),
    visits: int = typer.Option(2000, min=0, help="Visits a month that are asked, drawn at random; 0: all."),
    shift: float = typer.Option(0.0, help="Share of purchases that move to other categories; 0: none."),
    shift_at: str | None = typer.Option(None, help="When they move; default: 28 days after the cut."),
    within: float = typer.Option(
        0.1, min=0.001, max=0.9, help="Recovered: this close to the shop unshifted."
    ),
    seed: int = typer.Option(0, help="Of the shift and of the visits drawn."),
    as_json: bool = typer.Option(False, "--json", help="Print the figures as JSON."),
    home: Path | None = typer.Option(None, help="Folder of the store."),
    config: Path | None = typer.Option(None, help="Settings file instead of intently.toml."),
) -> None:
    """Walk through the log in time: does what is learned while serving beat the model that stands still?"""
    from intently.config import load_settings
    from intently.data.histories import DAY_S
    from intently.errors import InputError
    from intently.pipeline import load_shop
    from intently.serving.online import recovery as back
    from intently.serving.online.replay import replay as walk
    from intently.serving.online.stream import plant

    settings = load_settings(config, home=home, seed=seed)
    shop = load_shop(settings)
    if stage not in ("quick", "full"):
        raise InputError(f"--stage {stage[:20]!r}; allowed: quick, full", field="stage")
    cut_s = _moment(cut, "--cut", shop.start_s + FIRST * (shop.end_s - shop.start_s), shop)
    at_s = _moment(shift_at, "--shift-at", cut_s + 28 * DAY_S, shop)
    planted = plant(shop, at_s, shift, seed) if shift else None
    frozen, shop = _frozen(shop, cut_s, stage, settings)
    plain = walk(shop, frozen, cut_s, most_visits=visits, seed=seed)
    found: dict[str, Recovery] = {}
    if planted is not None:
        moved = walk(planted.apply(shop), frozen, cut_s, most_visits=visits, seed=seed)
        window = max(min(back.WINDOW, int((moved.at_s >= at_s).sum()) // 4), 1)
        found = back.recovery(plain, moved, at_s, within, window)
    if as_json:
        _json(frozen.name, plain.months(), found, planted.share if planted else 0.0)
        return
    _print(frozen.name, plain.months())
    if planted is not None:
        typer.echo(f"A shift that moves {planted.share:.0%} of purchases to other categories:")
        for name, one in found.items():
            typer.echo(f"  {name}: {_told(one, within)}")


def _frozen(shop: Dataset, cut_s: float, stage: str, settings: Any) -> tuple[Recommender, Dataset]:
    from intently.pipeline import read_catalogue
    from intently.recipe import choose

    shop = read_catalogue(shop, settings) if stage == "full" else shop
    train = shop.as_of(cut_s)
    return choose(train, settings, stage=stage).model().fit(train), shop


def _moment(text: str | None, option: str, default_s: float, shop: Dataset) -> float:
    from datetime import UTC, datetime

    from intently.data.dataset import seconds
    from intently.errors import InputError

    try:
        moment_s = default_s if text is None else seconds(datetime.fromisoformat(text))
    except ValueError as error:
        raise InputError(f"{option} {str(text)[:40]!r} is no date", hint="write it as 2017-07-01") from error
    if not shop.start_s < moment_s < shop.end_s:
        first, last = (datetime.fromtimestamp(s, UTC).date() for s in (shop.start_s, shop.end_s))
        raise InputError(f"{option} lies outside the log, which runs from {first} to {last}")
    return moment_s


def _print(name: str, months: list[Month]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"NDCG@10 of the next basket: {name} as trained, and with the online layer")
    for column in ("month", "visits", "users", "frozen", "online", "gain (95 %)"):
        table.add_column(column, justify="left" if column == "month" else "right")
    for one in months:
        gain = f"{one.gain.value:+.4f} [{one.gain.low:+.4f}, {one.gain.high:+.4f}]"
        values = f"{one.frozen.value:.4f}", f"{one.online.value:.4f}"
        table.add_row(one.name, f"{one.visits:,}", f"{one.users:,}", *values, gain)
    Console(width=100).print(table)


def _told(one: Recovery, within: float) -> str:
    lost = f"lost {one.lost:.0%} of its NDCG@10 at worst, {one.left:.0%} at the end"
    if one.events is None:
        return f"{lost}; not within {within:.0%} again"
    return f"{lost}; within {within:.0%} again after {one.events:,} events ({one.days:.0f} days)"


def _json(name: str, months: list[Month], found: dict[str, Recovery], share: float) -> None:
    import orjson

    said = {
        "model": name,
        "months": [asdict(one) for one in months],
        "shift": share,
        "recovery": {key: asdict(one) for key, one in found.items()},
    }
    typer.echo(orjson.dumps(said, option=orjson.OPT_INDENT_2).decode())
