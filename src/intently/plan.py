"""What training will take on this data, said before it is started.

Each stage's cost grows with sizes that are known beforehand: events, moments, pairs, users times items.
The rates were read off two shops on two cores and checked on a third (docs/LOG.md, "plan"). `speed` times a
small fixed piece of work to place this machine against the reference. `intently train` says the forecast
first and, at the end, how far off it was.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import numpy as np
import polars as pl

from intently.config import Settings
from intently.data import Dataset
from intently.data.histories import DAY_S
from intently.language.choice import HAN_SHARE, MULTILINGUAL, mostly_han
from intently.models.boosted import Boosted
from intently.models.ensemble import ASKED
from intently.models.linear import MAX_ITEMS
from intently.recipe import Recipe, choose, judging_case, moment_s
from intently.senses.pictures import names_of

REFERENCE_S = 0.029
"""Seconds of `speed`'s work on the reference machine (EPYC, 2 cores)."""
REFERENCE_CORES = 2

TEXT_S, CHINESE_TEXT_S, UNPACK_S, PICTURE_S = 1.5e-3, 4.5e-3, 4.0, 7.7e-3
EVENT_S = {"popular": 2e-7, "repeat": 2.2e-6, "covisit": 1.3e-5, "linear": 2e-5, "content": 2e-6}
EASE_EVENT_S = 1e-6
LINEAR_CUBE_S = 1.3e-11
PAIR_S, PAIR_ROUND_S = 1.4e-6, 8e-8
ROUNDS = 150  # early stopping usually ends between 70 and all 200
CELL_S = 1.0e-7  # one item of one user's dense scores, all inner models
ASK_CELL_S, ASK_USER_S, ASK_SIMPLE_CELL_S = 1.4e-7, 4e-4, 1.7e-8
FUSE_USER_S = 1.1e-3  # trees over one user's pool, learned twice and judged
START_S, LOAD_EVENT_S, PUBLISH_S, PUBLISH_EVENT_S = 2.5, 3.5e-6, 1.3, 2.2e-6


@dataclass(frozen=True)
class Forecast:
    """Wall seconds by stage, peak memory and new disk in MB, for the recipe named."""

    recipe: str
    stages_s: dict[str, float]
    memory_mb: float
    disk_mb: float

    @property
    def total_s(self) -> float:
        """All stages together."""
        return sum(self.stages_s.values())


def speed() -> float:
    """How many times slower than the reference this machine is now; about 0.2 s of work."""
    random = np.random.default_rng(0)
    left = random.standard_normal((384, 384)).astype(np.float32)
    keys = random.integers(0, 1 << 40, 400_000)
    best = np.inf
    for _ in range(3):
        began = time.perf_counter()
        for _ in range(8):
            left @ left
        np.sort(keys, kind="stable")
        best = min(best, time.perf_counter() - began)
    return float(best / REFERENCE_S)


def forecast(dataset: Dataset, settings: Settings, *, slower: float = 1.0) -> Forecast:
    """What `train` will take on `dataset`; `slower` as `speed` gives it.

    Texts and pictures are counted as if none was read before: what the cache holds makes the run shorter.
    """
    case = judging_case(dataset, settings)
    recipe = choose(case.train, settings)
    texts = sorted({title for title in dataset.titles() if title})
    pairs = _pairs(case.train, recipe)
    cells = len(case) * dataset.n_items
    simple_s = len(recipe.baselines) * cells * ASK_SIMPLE_CELL_S
    each_s = ASK_CELL_S if recipe.name in ("boosted", "ensemble") else 3 * ASK_SIMPLE_CELL_S
    stages = {
        "starting": START_S + dataset.n_events * LOAD_EVENT_S,
        "reading the catalogue": _read_s(texts, settings) + _look_s(dataset, settings),
        f"training {recipe.name}": _train_s(case.train, recipe, pairs),
        "judging": cells * each_s + len(case) * ASK_USER_S,
        "judging the baselines": simple_s
        + sum(_fit_s(case.train, name, given) for name, given in recipe.baselines.items()),
        "publishing": PUBLISH_S + dataset.n_events * PUBLISH_EVENT_S,
    }
    vectors_mb = dataset.n_items * 384 * 4 / 1e6 if texts else 0.0
    return Forecast(
        recipe.name,
        {name: seconds * slower for name, seconds in stages.items()},
        600 + dataset.n_events * 4e-4 + dataset.n_items * 0.02 + sum(pairs) * 66 * 4 * 2 / 1e6,
        10 + dataset.n_events * 4e-5 + 1.5 * vectors_mb + dataset.n_items * 1.5e-3,
    )


def _read_s(texts: list[str], settings: Settings) -> float:
    """Seconds to read distinct texts; a Chinese shop's model is larger, and is unpacked first."""
    by_texts = not settings.encoder and mostly_han(texts) >= HAN_SHARE
    chinese = by_texts or settings.encoder == MULTILINGUAL
    each_s = CHINESE_TEXT_S if chinese else TEXT_S
    return len(texts) * each_s * REFERENCE_CORES / (os.cpu_count() or 1) + (UNPACK_S if chinese else 0.0)


def _look_s(dataset: Dataset, settings: Settings) -> float:
    """Seconds to read the pictures that items name."""
    if settings.pictures is None:
        return 0.0
    named = {name for name in names_of(dataset.item_table) if name}
    return len(named) * PICTURE_S * REFERENCE_CORES / (os.cpu_count() or 1)


def _cuts(train: Dataset, recipe: Recipe) -> list[Dataset]:
    """What lies before each training cut, the earliest last."""
    step_s = float(recipe.settings["horizon_days"]) * DAY_S
    return [train.as_of(train.end_s - (cut + 1) * step_s) for cut in range(int(recipe.settings["cuts"]))]


def _pairs(train: Dataset, recipe: Recipe) -> list[float]:
    """Rows of each training table; none for a recipe without tables."""
    if recipe.name != "boosted":
        return []
    usual = Boosted()
    new = usual.n_new * (len(recipe.settings["inner"]) + 1) * 0.8
    cuts = _cuts(train, recipe)
    whole = [
        past.events.select("user", "item").n_unique() + past.events["user"].n_unique() * new for past in cuts
    ]
    return [min(rows, usual.max_rows / len(cuts)) for rows in whole]


def _train_s(train: Dataset, recipe: Recipe, pairs: list[float]) -> float:
    if recipe.name == "ensemble":  # every member twice, and the answers that the fusion learns from
        twice_s = 2 * sum(_fit_s(train, name, given) for name, given in recipe.settings["models"].items())
        return twice_s + min(train.n_users, ASKED) * (train.n_items * CELL_S + FUSE_USER_S)
    if recipe.name != "boosted":
        members = ("linear", "covisit", *(["content"] if train.vectors is not None else []))
        return sum(_fit_s(train, name, {}) for name in members)
    cuts = _cuts(train, recipe)
    inner_s = sum(_fit_s(cuts[-1], name, given) for name, given in recipe.settings["inner"].items())
    users = sum(past.events["user"].n_unique() for past in cuts)
    tables_s = sum(pairs) * PAIR_S + users * train.n_items * CELL_S
    boosting_s = sum(pairs) * ROUNDS * PAIR_ROUND_S * REFERENCE_CORES / (os.cpu_count() or 1)
    return inner_s + tables_s + boosting_s


def _fit_s(train: Dataset, name: str, given: dict[str, object]) -> float:
    """Seconds to fit one simple model."""
    seconds = train.n_events * EVENT_S.get(name, 0.0)
    met = train.events["item"].n_unique()
    if name == "linear":
        seconds = train.n_events * (EASE_EVENT_S if given.get("target") == "self" else EVENT_S["linear"])
        seconds += LINEAR_CUBE_S * min(met, int(str(given.get("max_items", MAX_ITEMS)))) ** 3
    if name == "sequence":
        moments = train.events.select(pl.struct("user", "time_s").n_unique()).item()
        seconds = moments * int(str(given["epochs"])) * moment_s(train)
    return seconds
