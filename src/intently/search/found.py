"""What a search found: the best settings against the default, and the TOML that `intently train` reads."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intently.intervals import LEVEL, Interval, difference
from intently.models.space import nested
from intently.search.question import Question
from intently.search.study import DEFAULT, FOLDER, Search, Tried
from intently.search.worker import users_of

FILE = "found.toml"
DRAWS = 4000
"""Of the bootstrap: a level close to 1 looks at rare draws."""


@dataclass(frozen=True)
class Found:
    """One model's search. gain: best against default on the same users, None when the default is the best.

    Several trials may seem better by chance alone, so the interval is as wide as Bonferroni asks of their
    number. importance: share of the spread in NDCG@10 that each setting explains.
    """

    question: Question
    trials: list[Tried]
    best: Tried
    default: Tried
    gain: Interval | None
    importance: dict[str, float]

    @property
    def settings(self) -> dict[str, Any]:
        """The searched settings of the best trial, by their dotted names; none when the default won."""
        return {} if self.best.number == DEFAULT else dict(self.best.point or {})

    @property
    def better(self) -> bool:
        """Whether the whole interval of the gain lies above nothing."""
        return self.gain is not None and self.gain.low > 0

    def count(self, state: str) -> int:
        """Trials that ended like this."""
        return sum(trial.state == state for trial in self.trials)

    def told(self) -> str:
        """The verdict in one sentence."""
        name, n = self.question.model, len(self.trials)
        tried = f"{n} trials" if n != 1 else "1 trial"
        base = f"NDCG@10 {self.default.value:.4f}"
        if self.best.number == DEFAULT:
            return f"{name}: nothing beat the default settings in {tried} ({base} on validation)"
        told = f"{name}: {base} with the default, {self.best.value:.4f} with the best of {tried}"
        if self.gain is None:
            return f"{told}; how sure that is cannot be said: the trials' folders are gone"
        sure = f"{self.gain.value:+.4f} [{self.gain.low:+.4f}, {self.gain.high:+.4f}]"
        if self.better:
            return f"{told}: better by more than chance, {sure}"
        return f"{told}: no more than chance may bring, {sure}; the default would do as well"


def found_in(search: Search) -> Found | None:
    """What the study holds; None before the default was judged."""
    trials = search.tried()
    if not trials:
        return None
    default = trials[0]
    whole = [trial for trial in trials if trial.state == "done" and not math.isnan(trial.value)]
    best = max(whole, key=lambda trial: trial.value)  # of equals the first: the default
    gain = None
    if best.number != DEFAULT:
        home = search.place.home
        ours, usual = users_of(home, best.run), users_of(home, default.run)
        if ours is not None and usual is not None and len(ours) == len(usual):
            level = 1.0 - (1.0 - LEVEL) / max(1, len(whole) - 1)
            gain = difference(ours, usual, draws=DRAWS, level=level)
    return Found(search.question, trials, best, default, gain, search.importance())


def write(found: Sequence[Found], home: Path, stamp: Mapping[str, str], out: Path | None = None) -> Path:
    """The tables of what was found as TOML.

    In the home each model has its own part, and found.toml is all of them, those of earlier searches too;
    `out` takes only these. A model whose default won has no table: `train` uses the default anyway.
    """
    parts = {one.question.model: table(one, stamp) for one in found}
    if out is not None:
        _replace(out, _whole(parts))
        return out
    room = home / FOLDER
    for model, text in parts.items():
        _replace(room / f"{model}.toml", text)
    kept = {path.stem: path.read_text(encoding="utf-8") for path in room.glob("*.toml") if path.name != FILE}
    _replace(room / FILE, _whole(kept))
    return room / FILE


def table(found: Found, stamp: Mapping[str, str]) -> str:
    """One model's table, with where it comes from as comments."""
    case = found.question.case
    asked = f"{len(case):,} users on validation ({case.protocol}), data {case.train.fingerprint[:12]}"
    lines = [f"# {found.told()}", f"# {asked}, {stamp.get('date', '')}"]
    if found.settings:
        lines += _table(f"models.{found.question.model}", nested(found.settings))
    return "\n".join(lines) + "\n"


def _table(name: str, settings: Mapping[str, Any]) -> list[str]:
    inner = {key: value for key, value in settings.items() if isinstance(value, Mapping)}
    own = [f"{key} = {_toml(value)}" for key, value in settings.items() if key not in inner]
    lines = [f"[{name}]", *own] if own else []
    for key, value in inner.items():
        lines += _table(f"{name}.{key}", value)
    return lines


def _toml(value: bool | int | float | str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)


def _whole(parts: Mapping[str, str]) -> str:
    head = (
        "# Written by `intently search` for `intently train --model-settings`, or a part of intently.toml.\n"
    )
    return "\n".join([head, *(parts[name] for name in sorted(parts))])


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)
