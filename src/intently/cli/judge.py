"""Commands that judge: evaluate, compare."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from intently.config import Settings
    from intently.evaluate import Case, Report
    from intently.evaluate.evaluation import Fittable

WIDTH = 100
CUT = typer.Option(
    None, help="Learn before this moment (YYYY-MM-DD, UTC); default: a horizon before the end."
)
HORIZON = typer.Option(None, help="Predict this many days from the cut.")
K = typer.Option(10, "--k", min=1, max=1000, help="Length of the judged lists.")
PROTOCOL = typer.Option("temporal", help="temporal or leave-one-out.")
AS_JSON = typer.Option(False, "--json", help="Print the whole report as JSON.")
HTML = typer.Option(None, help="Also write the page to this file.")
HOME = typer.Option(None, help="Folder of the store and the reports.")
CONFIG = typer.Option(None, help="Settings file instead of intently.toml.")


def register(app: typer.Typer) -> None:
    """Add this group's commands to the application."""
    app.command("evaluate", epilog="Example: intently evaluate --cut 2017-12-03 --html report.html")(evaluate)
    app.command("compare", epilog="Example: intently compare --models popular,repeat,linear")(compare)


def evaluate(
    cut: str | None = CUT,
    horizon_days: float | None = HORIZON,
    k: int = K,
    protocol: str = PROTOCOL,
    as_json: bool = AS_JSON,
    html: Path | None = HTML,
    home: Path | None = HOME,
    config: Path | None = CONFIG,
) -> None:
    """Judge what `intently train` would ship on this shop, against the strong baselines."""
    settings, case, end_s = _question(cut, horizon_days, protocol, home, config)
    recipe = _recipe(case, settings)
    models: dict[str, Fittable] = {recipe.name: recipe.model(), **recipe.rivals()}
    reference = "repeat" if "repeat" in models and recipe.name != "repeat" else "popular"
    _judge("evaluate", models, {}, case, end_s, k, reference, settings, as_json, html)


def compare(
    models: str = typer.Option("", help="Names, separated by commas; default: every model there is."),
    cut: str | None = CUT,
    horizon_days: float | None = HORIZON,
    k: int = K,
    protocol: str = PROTOCOL,
    as_json: bool = AS_JSON,
    html: Path | None = HTML,
    home: Path | None = HOME,
    config: Path | None = CONFIG,
) -> None:
    """Run every model on this shop and print one table, best first."""
    from intently.models import REGISTRY, model_class

    names = [name.strip() for name in models.split(",") if name.strip()] or list(REGISTRY)
    for name in names:
        if name not in REGISTRY:
            model_class(name)  # refuses, with the nearest name
    settings, case, end_s = _question(cut, horizon_days, protocol, home, config)
    recipe = _recipe(case, settings)
    chosen: dict[str, Any] = {**settings.models, **recipe.baselines, recipe.name: recipe.settings}
    built: dict[str, Fittable] = {}
    skipped: dict[str, str] = {}
    for name in names:
        try:
            built[name] = model_class(name)(**chosen.get(name, {}))
        except ModuleNotFoundError as error:
            skipped[name] = f"{error} (pip install 'intently[train]')"
    reference = "popular" if "popular" in built else ""
    _judge("compare", built, skipped, case, end_s, k, reference, settings, as_json, html)


def print_report(report: Report) -> None:
    """The table of a report, best model first, and a line about the probabilities."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    console = Console(width=min(WIDTH, console.width) if console.is_terminal else WIDTH)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), title_justify="left")
    table.add_column("model", no_wrap=True)
    heads = (f"NDCG@{report.k}", f"against {report.reference}", f"recall@{report.k}", "coverage", "fit CPU s")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for row in report.leaderboard().iter_rows(named=True):
        table.add_row(
            escape(row["model"]),
            f"{row[report.metric]:.4f} [dim]{row['low']:.4f}–{row['high']:.4f}[/dim]",
            _lift(row),
            f"{row[f'recall@{report.k}']:.4f}",
            f"{row[f'coverage@{report.k}']:.1%}",
            f"{row['fit_cpu_s']:.1f}",
        )
    from intently.evaluate.page import notes, question

    console.print(question(report), markup=False, highlight=False)
    console.print(table)
    for line in [*_chances(report), *notes(report)]:
        console.print(line, markup=False, highlight=False)
    for name, reason in report.skipped.items():
        console.print(f"skipped {name}: {reason}", markup=False, highlight=False)


def _lift(row: dict[str, Any]) -> str:
    if row["lift"] is None or row["lift"] != row["lift"]:
        return "–"
    return f"{row['lift']:+.1%} [dim]{row['lift_low']:+.1%} to {row['lift_high']:+.1%}[/dim]"


def _chances(report: Report) -> list[str]:
    lines = []
    for name, result in report.results.items():
        if (found := result.chances) is None:
            continue
        value = {key: interval.value for key, interval in found.figures.items()}
        lines.append(
            f"Probabilities of {name} over {found.pairs:,} pairs of all known users: AUC {value['auc']:.4f}, "
            f"log loss {value['log_loss']:.4f}, calibration error {value['ece']:.4f} "
            f"(above 0.1: {value['ece_likely']:.4f}); yes from {found.threshold:.3g}: precision "
            f"{value['precision']:.3f}, recall {value['recall']:.3f}, F1 {value['f1']:.3f}, "
            f"accuracy {value['accuracy']:.3f}."
        )
    return lines


def _question(
    cut: str | None, horizon_days: float | None, protocol: str, home: Path | None, config: Path | None
) -> tuple[Settings, Case, float]:
    """The settings, the case, and where the data ends; the catalogue is read when there are texts."""
    from intently.config import load_settings
    from intently.evaluate.evaluation import case_of
    from intently.pipeline import load_shop, read_catalogue

    settings = load_settings(config, home=home, horizon_days=horizon_days)
    moment = _moment(cut)
    shop = load_shop(settings)
    case_of(shop, moment, protocol=protocol, horizon_days=settings.horizon_days)  # refuse before reading
    shop = read_catalogue(shop, settings)
    target = settings.target or None
    case = case_of(shop, moment, protocol=protocol, horizon_days=settings.horizon_days, target=target)
    return settings, case, shop.end_s


def _recipe(case: Case, settings: Settings) -> Any:
    from intently.recipe import choose

    return choose(case.train, settings)


def _moment(cut: str | None) -> datetime | None:
    if cut is None:
        return None
    from intently.errors import InputError

    try:
        return datetime.fromisoformat(cut)
    except ValueError as error:
        raise InputError(
            f"--cut {cut[:40]!r} is no date", hint="write it as 2017-12-03 or 2017-12-03T18:00", field="cut"
        ) from error


def _judge(
    kind: str,
    models: dict[str, Fittable],
    skipped: dict[str, str],
    case: Case,
    end_s: float,
    k: int,
    reference: str,
    settings: Settings,
    as_json: bool,
    html: Path | None,
) -> None:
    from dataclasses import replace

    from intently.evaluate import evaluate_case

    report = evaluate_case(models, case, k, reference, end_s=end_s)
    report = replace(report, skipped=skipped | report.skipped)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    json_path, html_path = report.write(settings.home / "reports", f"{kind}-{stamp}")
    if html is not None:
        html.write_text(report.to_html(), encoding="utf-8")
    if as_json:
        typer.echo(report.to_json())
        return
    print_report(report)
    written = [str(path) for path in (html or html_path, json_path) if path]
    typer.echo(f"written: {' and '.join(written)}")
