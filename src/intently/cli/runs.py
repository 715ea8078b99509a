"""The command that lists what was trained, shows one run, and compares two: runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from intently.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from intently.runs.history import Comparison

WIDTH = 100
ACTIONS = {"list": 0, "show": 1, "compare": 2}
"""What can be asked, and how many ids it needs."""
MARKS = "▁▂▃▄▅▆▇█"
NAMES = {"ndcg": "NDCG", "map": "MAP", "mrr": "MRR"}

_EXAMPLES = """Examples, where an id may be any part of one that no other id has, or the word last:

intently runs

intently runs show last

intently runs compare 3f2a 91bc

tensorboard --logdir .intently/runs draws the curves of all"""


def register(app: typer.Typer) -> None:
    """Add this group's command to the application."""
    app.command("runs", epilog=_EXAMPLES)(runs)


def runs(
    action: str = typer.Argument("list", help="list, show ID, or compare ID ID."),
    ids: list[str] = typer.Argument(None, help="Of the runs that are shown or compared."),
    every: bool = typer.Option(False, "--all", help="List the trials of searches as well."),
    most: int = typer.Option(30, "-n", "--n", min=1, help="List at most so many."),
    home: Path | None = typer.Option(None, help="Folder of the shop (default .intently)."),
    config: Path | None = typer.Option(None, help="Settings file instead of intently.toml."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON for machines."),
) -> None:
    """What was trained: with which settings, on which data, how good it was and what it cost."""
    from intently.config import load_settings
    from intently.runs import compare, find

    given = ids or []
    if action not in ACTIONS:
        raise InputError(f"unknown action {action!r}; allowed: {', '.join(ACTIONS)}", field="action")
    if len(given) != ACTIONS[action]:
        raise InputError(
            f"{action} needs {ACTIONS[action]} ids, got {len(given)}",
            hint="`intently runs` lists them; intently runs compare ID ID",
        )
    place = load_settings(config, home=home).home
    if action == "list":
        _list(place, every, most, as_json)
        return
    found = [find(place, one) for one in given]
    if as_json:
        from dataclasses import asdict

        _print_json(found[0] if action == "show" else asdict(compare(*found)))
        return
    from rich.console import Console

    console = Console(width=WIDTH)
    if action == "show":
        _show(found[0], console)
    else:
        _compare(compare(*found), console)


def _list(home: Path, every: bool, most: int, as_json: bool) -> None:
    from intently.progress import note
    from intently.runs import listed

    found, damaged = listed(home)
    chosen = [run for run in found if every or not run["part_of"]][:most]
    for name in damaged:
        note(f"the record of run {name} is damaged and left out")
    if as_json:
        _print_json([{**run, "curves": None} for run in chosen])
        return
    if not found:
        typer.echo(f"nothing was trained in {home} yet")
        return
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    trials = sum(bool(run["part_of"]) for run in found)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), title_justify="left")
    for name in ("run", "what", "model", "figure", "CPU s", "MB"):
        right = name in ("CPU s", "MB")
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "figure")
    for run in chosen:
        cost = run["cost"]
        model = escape(run["name"] or "–")
        row = (run["id"], run["kind"], model, escape(_result(run)))
        known = run["state"] != "cut off"  # else what it took was never written
        spent = (f"{cost['cpu_s']:,.1f}", f"{cost['peak_mb']:,.0f}") if known else ("–", "–")
        table.add_row(*row, *spent)
    console = Console(width=WIDTH)
    console.print(table)
    if trials and not every:
        console.print(f"{trials} trials of searches are not shown; --all lists them", style="dim")


def _result(run: dict[str, Any]) -> str:
    """The run's headline figure, behind what ended it where it did not end well."""
    from intently.runs.history import headline

    figure = headline(run)
    told = "" if figure is None else f"{_name(run['headline'])} {_value(figure)}"
    if run["state"] == "done":
        return told
    reason = f": {run['reason'][:60]}" if run["reason"] and run["state"] == "failed" else ""
    return f"{run['state']}{reason} {told}".strip()


def _show(run: dict[str, Any], console: Console) -> None:
    from intently.models.space import flat

    console.print(
        f"{run['id']}  {run['kind']} {run['name']}  {run['state']} {run['reason']}", highlight=False
    )
    facts = {
        name: run.get(name, "") for name in ("date", "ended", "command", "intently", "commit", "machine")
    }
    facts |= {f"data {name}": value for name, value in run["data"].items()}
    facts |= {name: run[name] for name in ("part_of", "verdict", "version") if run.get(name)}
    cost = run["cost"]
    facts["cost"] = (
        f"{cost['cpu_s']:,.1f} CPU s, {cost['wall_s']:,.1f} s, {cost['peak_mb']:,.0f} MB at the peak"
    )
    _two_columns(
        console, "", {name: _short(value) for name, value in facts.items() if value not in ("", None)}
    )
    _two_columns(console, "settings", {n: _short(value) for n, value in flat(run["settings"]).items()})
    for model, figures in run["metrics"].items():
        _two_columns(console, model, {_name(name): _value(figure) for name, figure in figures.items()})
    _two_columns(
        console,
        "curves",
        {name: f"{_spark([v for _, v in points])}  {points[0][1]:.4g} to {points[-1][1]:.4g} in"
         f" {len(points)}" for name, points in run["curves"].items() if points},
    )  # fmt: skip
    for line in run.get("notes", []):
        console.print(line, highlight=False, markup=False)


def _compare(found: Comparison, console: Console) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    heads = [f"{run['id']} {run['kind']} {run['name']}" for run in (found.first, found.second)]
    tables = {
        "settings that differ": {n: (_short(a), _short(b)) for n, (a, b) in found.settings.items()},
        "data, code and machine": {n: (_short(a), _short(b)) for n, (a, b) in found.world.items()},
        "figures": {_name(n): (_value(a), _value(b)) for n, (a, b) in found.metrics.items()},
        "cost": {n: (_short(a), _short(b)) for n, (a, b) in found.cost.items()},
    }
    for title, rows in tables.items():
        if not rows:
            console.print(f"{title}: none", highlight=False)
            continue
        table = Table(title, *heads, box=box.SIMPLE_HEAD, padding=(0, 1))
        for name, (first, second) in rows.items():
            table.add_row(escape(name), escape(first), escape(second))
        console.print(table)
    console.print(
        "Each interval is of its run alone; runs of the same question may differ by more.", style="dim"
    )


def _two_columns(console: Console, title: str, rows: dict[str, str]) -> None:
    from rich.markup import escape
    from rich.table import Table

    if not rows:
        return
    table = Table(
        title=title or None, title_justify="left", box=None, show_header=False, padding=(0, 2, 0, 0)
    )
    for name, value in rows.items():
        table.add_row(f"[dim]{escape(name)}[/dim]", escape(value))
    console.print(table)


def _value(figure: dict[str, Any] | None) -> str:
    if figure is None or figure["value"] is None:
        return "–"
    if "low" not in figure or figure["low"] is None:
        return f"{figure['value']:.4g}"
    return f"{figure['value']:.4f} [{figure['low']:.4f}, {figure['high']:.4f}]"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    told = "–" if value is None else str(value)
    return told if len(told) <= 60 else told[:57] + "..."


def _name(metric: str) -> str:
    for key, shown in NAMES.items():
        metric = metric.replace(f"{key}@", f"{shown}@")
    return metric


def _spark(values: list[float]) -> str:
    """A curve in one line of at most 30 marks."""
    step = max(1, -(-len(values) // 30))
    few = values[::step]
    low, high = min(few), max(few)
    span = (high - low) or 1.0
    return "".join(MARKS[min(7, int(8 * (value - low) / span))] for value in few)


def _print_json(value: Any) -> None:
    import orjson

    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
