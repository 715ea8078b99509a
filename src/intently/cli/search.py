"""The command that looks for better settings of models on the shop's own past: search."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from intently.cores import cores
from intently.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from intently.config import Settings
    from intently.runs import Run
    from intently.search import Found, Question

WIDTH = 100

_EXAMPLES = """Examples:

intently search --minutes 60

intently search --model sequence --minutes 30 --jobs 2

intently search --model linear --model covisit --trials 40

intently train --model-settings .intently/search/found.toml trains with what was found"""


def register(app: typer.Typer) -> None:
    """Add this group's command to the application."""
    app.command("search", epilog=_EXAMPLES)(search)


def search(
    model: list[str] = typer.Option(
        [], "--model", help="Search this model's settings; repeatable. Default: all that train would use."
    ),
    minutes: float = typer.Option(60.0, "--minutes", help="Wall time of all models together."),
    trials: int = typer.Option(
        0, "--trials", help="Trials a model at most, with those of earlier calls; 0: no limit."
    ),
    jobs: int = typer.Option(0, "--jobs", help="Trials at once, each on one thread; 0: as many as cores."),
    horizon_days: float | None = typer.Option(None, help="Predict this many days ahead."),
    seed: int | None = typer.Option(None, help="Seed of everything random."),
    out: Path | None = typer.Option(
        None, "--out", help="Write the TOML here, not to HOME/search/found.toml."
    ),
    wandb: bool = typer.Option(False, "--wandb", help="Also log to W&B (offline without a key)."),
    home: Path | None = typer.Option(None, help="Folder of the shop (default .intently)."),
    config: Path | None = typer.Option(None, help="Settings file instead of intently.toml."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON for machines."),
) -> None:
    """Look for better settings on a validation cut of the past; stop it and it goes on where it was.

    Trials never see the days that `train` judges on. The default settings are the first trial, so what is
    found is never worse than they are on validation; when nothing beats them, that is said.
    """
    _check(minutes, trials, jobs)
    from intently.config import load_settings
    from intently.pipeline import load_shop, read_catalogue
    from intently.runs import record

    settings = load_settings(config, home=home, horizon_days=horizon_days, seed=seed, wandb=wandb or None)
    questions = _questions(load_shop(settings), settings, model)
    shop = read_catalogue(load_shop(settings), settings)
    questions = _questions(shop, settings, model)
    asked = {
        "models": [one.model for one in questions],
        "minutes": minutes,
        "trials": trials,
        "jobs": jobs or cores(),
        "horizon_days": settings.horizon_days,
        "seed": settings.seed,
    }
    names = "+".join(one.model for one in questions)
    with record(settings.home, "search", names, settings=asked, wandb=settings.wandb) as run:
        run.saw(questions[0].case.train)
        found, whole = _search(questions, run, settings, minutes, trials, jobs or cores())
        told, page = _keep(found, run, settings, out)
        if not whole:
            _say(found, told, page, as_json)
            raise KeyboardInterrupt
    _say(found, told, page, as_json)


def _check(minutes: float, trials: int, jobs: int) -> None:
    if not minutes > 0:
        raise InputError(f"minutes must be above 0, got {minutes}", field="minutes")
    for field, value in {"trials": trials, "jobs": jobs}.items():
        if value < 0:
            raise InputError(f"{field} must be 0 or more, got {value}", field=field)


def _questions(shop: Any, settings: Settings, names: Sequence[str]) -> list[Question]:
    try:
        from intently.search import questions
    except ImportError as error:
        raise MissingExtraError("optuna", "train") from error
    return questions(shop, settings, names)


def _search(
    questions: Sequence[Question], run: Run, settings: Settings, minutes: float, trials: int, jobs: int
) -> tuple[list[Found], bool]:
    """Every model in turn, with an equal part of the time that is left; whether all came to their end."""
    from intently.progress import note
    from intently.search.found import found_in
    from intently.search.study import Limits, Search
    from intently.search.worker import Place

    deadline = time.monotonic() + 60.0 * minutes
    place = Place(settings.home, run.id, settings.wandb)
    found = []
    for left, question in zip(range(len(questions), 0, -1), questions, strict=True):
        part = max(0.0, deadline - time.monotonic()) / 60.0 / left
        note(f"searching {question.model}: {len(question.case):,} users, {', '.join(question.space)}")
        with Search(question, place, Limits(part, trials, jobs)) as study:
            whole = study.run()
            if (one := found_in(study)) is not None:
                found.append(one)
        if not whole:
            return found, False
    return found, True


def _keep(
    found: Sequence[Found], run: Run, settings: Settings, out: Path | None
) -> tuple[Path | None, Path | None]:
    """Write TOML and page, and record the figures; the two paths."""
    if not found:
        return None, None
    from intently.progress import note
    from intently.search.drawing import write_page
    from intently.search.found import write

    toml = write(found, settings.home, {"date": datetime.now(UTC).isoformat(timespec="seconds")}, out)
    for one in found:
        figures: dict[str, Any] = {
            "ndcg@10": one.best.value,
            "default ndcg@10": one.default.value,
            **({"gain": one.gain} if one.gain else {}),
            **{f"trials {state}": one.count(state) for state in ("done", "pruned", "failed")},
            **{f"importance {name}": share for name, share in one.importance.items()},
        }
        run.measured(one.question.model, figures)
    run.say(verdict="; ".join(one.told() for one in found))
    path = settings.home / "reports" / f"search-{run.id}.html"
    try:
        return toml, write_page(found, path)
    except MissingExtraError as error:
        note(f"no page: {error}")
        return toml, None


def _say(found: Sequence[Found], toml: Path | None, page: Path | None, as_json: bool) -> None:
    if as_json:
        _print_json(found, toml, page)
        return
    if not found:
        typer.echo("nothing was found: the default settings were not judged to the end")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(width=WIDTH)
    for one in found:
        counts = f"{one.count('done')} judged, {one.count('pruned')} given up, {one.count('failed')} failed"
        console.print(f"{one.question.model}: {counts}", markup=False, highlight=False)
        table = Table(box=box.SIMPLE_HEAD)
        for name in ("setting", "default", "best", "share"):
            table.add_column(name, justify="left" if name == "setting" else "right")
        for name in one.question.space:
            usual, best = (trial.point or {} for trial in (one.default, one.best))
            share = f"{one.importance[name]:.0%}" if name in one.importance else "–"
            table.add_row(name, _shown(usual.get(name)), _shown(best.get(name)), share)
        console.print(table)
        console.print(one.told(), markup=False, highlight=False)
    written = [str(path) for path in (toml, page) if path]
    typer.echo(f"written: {' and '.join(written)}")
    if any(one.settings for one in found):
        typer.echo(f"use it: intently train --model-settings {toml}")


def _shown(value: Any) -> str:
    return "–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _print_json(found: Sequence[Found], toml: Path | None, page: Path | None) -> None:
    from dataclasses import asdict

    import orjson

    told = {
        "toml": str(toml) if toml else None,
        "page": str(page) if page else None,
        "models": {
            one.question.model: {
                "verdict": one.told(),
                "better": one.better,
                "default": one.default.value,
                "best": one.best.value,
                "settings": one.settings,
                "gain": asdict(one.gain) if one.gain else None,
                "importance": one.importance,
                "trials": [asdict(trial) for trial in one.trials],
            }
            for one in found
        },
    }
    typer.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
