"""The runs of a home: all of them, one by its id, and how two differ."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intently.errors import InputError
from intently.models.space import flat
from intently.runs.record import FILE, FOLDER, process_start

Facts = dict[str, Any]
NEEDED = ("id", "kind", "date", "state", "settings", "metrics", "cost")
SAME_RUN = (
    "id",
    "process",
    "pid",
    "state",
    "reason",
    "ended",
    "part_of",
    "notes",
    "curves",
    "headline",
    "version",
)


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side: name -> (what the first says, what the second says); None: nothing."""

    first: Facts
    second: Facts
    settings: dict[str, tuple[Any, Any]]  # those that differ, dotted
    world: dict[str, tuple[Any, Any]]  # data, code and machine, where they differ
    metrics: dict[str, tuple[Facts | None, Facts | None]]  # those of the main models first, without a name
    cost: dict[str, tuple[Any, Any]]


def listed(home: Path) -> tuple[list[Facts], list[str]]:
    """Every run, newest first, and the folders whose run.json cannot be read."""
    found, damaged = [], []
    for path in (home / FOLDER).glob(f"*/{FILE}"):
        try:
            found.append(_read(path))
        except (OSError, ValueError, KeyError, TypeError):
            damaged.append(path.parent.name)
    return sorted(found, key=lambda run: (run["date"], run["id"]), reverse=True), sorted(damaged)


def find(home: Path, said: str) -> Facts:
    """The run whose id is `said`, or the only one whose id has it inside; "last" is the newest.

    Raises InputError for none and for more than one.
    """
    runs, damaged = listed(home)
    if said == "last" and runs:
        return next((run for run in runs if not run["part_of"]), runs[0])
    near = [run for run in runs if run["id"] == said] or [run for run in runs if said and said in run["id"]]
    if len(near) == 1:
        return near[0]
    if near:
        names = ", ".join(run["id"] for run in near[:5])
        raise InputError(f"{said!r} means {len(near)} runs: {names}{', ...' if len(near) > 5 else ''}")
    if any(said in name for name in damaged):
        raise InputError(f"the record of run {said!r} is damaged")
    raise InputError(f"no run {said!r} in {home}", hint="`intently runs` lists them")


def compare(first: Facts, second: Facts) -> Comparison:
    """What differs in settings, data and code, and the figures of both."""
    ours, theirs = _figures(first), _figures(second)
    return Comparison(
        first=first,
        second=second,
        settings=_differences(flat(_settings(first)), flat(_settings(second))),
        world=_differences(_world(first), _world(second)),
        metrics={name: (ours.get(name), theirs.get(name)) for name in {**ours, **theirs}},
        cost={
            name: (first["cost"].get(name), second["cost"].get(name))
            for name in {**first["cost"], **second["cost"]}
        },
    )


def headline(run: Facts) -> Facts | None:
    """The figure that a list shows, with its interval where it has one."""
    figures: Facts = run["metrics"].get(run["name"]) or next(iter(run["metrics"].values()), {})
    found: Facts | None = figures.get(run["headline"])
    return found


def _read(path: Path) -> Facts:
    run: Facts = json.loads(path.read_text(encoding="utf-8"))
    if missing := [name for name in NEEDED if name not in run]:
        raise KeyError(missing[0])
    if run["state"] == "running" and not _lives(run):
        run["state"] = "cut off"
    return run


def _lives(run: Facts) -> bool:
    try:
        os.kill(int(run["pid"]), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        pass  # somebody else's, but alive
    return not run["process"] or process_start(int(run["pid"])) == run["process"]


def _settings(run: Facts) -> Facts:
    return {"model": run["name"], **run["settings"]}


def _world(run: Facts) -> Facts:
    rest = {
        name: value
        for name, value in run.items()
        if name not in SAME_RUN and isinstance(value, str) and name not in ("date", "name", "verdict")
    }
    return rest | {f"data.{name}": value for name, value in run["data"].items()}


def _figures(run: Facts) -> dict[str, Facts]:
    """The main model's under their own names, the others' behind the model's."""
    own = run["metrics"].get(run["name"], {})
    others = {
        f"{model} {name}": figure
        for model, figures in run["metrics"].items()
        if model != run["name"]
        for name, figure in figures.items()
    }
    return {**own, **others}


def _differences(first: Facts, second: Facts) -> dict[str, tuple[Any, Any]]:
    return {
        name: (first.get(name), second.get(name))
        for name in {**first, **second}
        if first.get(name) != second.get(name)
    }
