"""Commands that learn and predict: train, recommend, predict."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from intently.serving.state.engine import Engine

HOME = typer.Option(None, help="Folder of the store and the artifacts.")
CONFIG = typer.Option(None, help="Settings file instead of intently.toml.")
TUNED = typer.Option(None, "--model-settings", help="File of [models.NAME] tables, as `search` writes it.")
AS_JSON = typer.Option(False, "--json", help="Print JSON for machines.")


def register(app: typer.Typer) -> None:
    """Add this group's commands to the application."""
    app.command("train", epilog="Example: intently train --horizon-days 14")(train)
    app.command("plan", epilog="Example: intently plan")(plan)
    app.command("recommend", epilog="Example: intently recommend --user 1234 -n 5")(recommend)
    app.command("predict", epilog="Example: intently predict --user 1234 --item 5678")(predict)


def train(
    quick: bool = typer.Option(False, help="Only what can answer within seconds."),
    horizon_days: float | None = typer.Option(None, help="Predict this many days ahead."),
    minutes: float | None = typer.Option(None, help="What training may take; 0: what the data is worth."),
    seed: int | None = typer.Option(None, help="Seed of everything random."),
    speed: str | None = typer.Option(None, help="How texts are encoded: auto, exact, fast or fastest."),
    warm_start: str = typer.Option("", help="Go on from `live` or from the folder of a published model."),
    model_settings: Path | None = TUNED,
    wandb: bool = typer.Option(False, "--wandb", help="Also log to W&B (offline without a key)."),
    home: Path | None = HOME,
    config: Path | None = CONFIG,
    as_json: bool = AS_JSON,
) -> None:
    """Train on the imported shop, judge on its last days, and publish what passes the gate."""
    from intently.config import load_settings
    from intently.pipeline import load_shop
    from intently.pipeline import train as run
    from intently.plan import forecast
    from intently.plan import speed as machine
    from intently.progress import note

    settings = load_settings(
        config,
        model_settings=model_settings,
        home=home,
        horizon_days=horizon_days,
        minutes=minutes,
        seed=seed,
        speed=speed,
        wandb=wandb or None,
    )
    shop = load_shop(settings)
    told_s = 0.0 if quick else forecast(shop, settings, slower=machine()).total_s
    if told_s:
        note(f"about {told_s / 60:.1f} minutes on this machine")
    outcome = run(shop, settings, stage="quick" if quick else "full", warm_start=warm_start)
    if told_s:
        took_s = sum(outcome.seconds.values())
        note(f"took {took_s / 60:.1f} minutes, {took_s / told_s:.2f} times the forecast")
    if as_json:
        _print_json(
            {
                "version": outcome.version,
                "promoted": outcome.promoted,
                "verdict": outcome.verdict,
                "seconds": outcome.seconds,
                "models": outcome.report.leaderboard().to_dicts(),
            }
        )
        return
    from intently.cli.judge import print_report

    print_report(outcome.report)
    typer.echo(outcome.verdict)


def plan(
    horizon_days: float | None = typer.Option(None, help="Predict this many days ahead."),
    home: Path | None = HOME,
    config: Path | None = CONFIG,
    as_json: bool = AS_JSON,
) -> None:
    """What training on this shop will take: minutes, memory and disk, before it is started."""
    from intently.config import load_settings
    from intently.pipeline import load_shop
    from intently.plan import forecast, speed

    settings = load_settings(config, home=home, horizon_days=horizon_days)
    found = forecast(load_shop(settings), settings, slower=speed())
    if as_json:
        _print_json({**asdict(found), "total_s": found.total_s})
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"training {found.recipe}: about {found.total_s / 60:.1f} minutes")
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    for name, seconds in found.stages_s.items():
        table.add_row(name, f"{seconds:.0f}")
    Console(width=100).print(table)
    typer.echo(f"memory: about {found.memory_mb:,.0f} MB at the peak; disk: about {found.disk_mb:,.0f} MB")


def recommend(
    user: str = typer.Option(..., help="The user's id; a stranger gets what is popular."),
    n: int = typer.Option(10, "-n", "--n", min=1, max=100, help="How many items."),
    home: Path | None = HOME,
    config: Path | None = CONFIG,
    as_json: bool = AS_JSON,
) -> None:
    """What a user will meet next, with probabilities and reasons, from the live model."""
    from intently.serving.answer.recommend import recommend as ask
    from intently.serving.shapes.answers import RecommendationRequest

    engine = _engine(home, config)
    answer = ask(engine, RecommendationRequest.model_validate({"user_id": user, "n": n, "explain": True}))
    if as_json:
        _print_json(answer)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{user}: {answer.filled_by}", width=100)
    for name in ("rank", "item", "title", "probability", "why"):
        table.add_column(name, justify="right" if name in ("rank", "probability") else "left")
    for item in answer.items:
        chance = "" if item.probability is None else f"{item.probability:.1%}"
        why = item.reasons[0].text if item.reasons else ""
        table.add_row(str(item.rank), item.item_id, item.title, chance, why)
    Console(width=100).print(table)


def predict(
    user: str = typer.Option(..., help="The user's id."),
    item: str = typer.Option(..., help="The item's id."),
    home: Path | None = HOME,
    config: Path | None = CONFIG,
    as_json: bool = AS_JSON,
) -> None:
    """P(user meets item within the horizon), the decision at the threshold, and the reasons."""
    from intently.serving.answer.predict import predict as ask
    from intently.serving.shapes.answers import PredictRequest

    engine = _engine(home, config)
    answer = ask(engine, PredictRequest(user_id=user, item_id=item, pairs=None, explain=True))
    if as_json:
        _print_json(answer)
        return
    for one in answer.predictions:
        if one.probability is None:
            typer.echo(f"no probability: {one.note}")
            continue
        days = engine.horizon_days(engine.live.current)
        event = engine.event(engine.live.current)
        typer.echo(f"P({event} of {item} by {user} within {days:g} days) = {one.probability:.4f}")
        typer.echo(f"decision at {answer.threshold:.2f}: {'yes' if one.decision else 'no'}")
        for reason in one.reasons:
            typer.echo(f"  because: {reason.text} ({reason.effect:+.2f} log-odds)")


def _engine(home: Path | None, config: Path | None) -> Engine:
    from intently.config import load_settings
    from intently.errors import InputError
    from intently.serving.state.engine import Engine

    settings = load_settings(config, home=home)
    if not settings.has_store:
        raise InputError(f"no shop in {settings.home}", hint="run `intently import events.csv` first")
    engine = Engine(settings)
    engine.live.refresh()
    if engine.live.current is None:
        raise InputError("no model is live", hint="run `intently train` first")
    return engine


def _print_json(value: Any) -> None:
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_SERIALIZE_DATACLASS
    typer.echo(orjson.dumps(value, option=options).decode())
