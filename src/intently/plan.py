"""What training will take on this data, said before it is started.

Each stage's cost grows with a size that is known beforehand; the rates below were measured on one core
of the reference machine (docs/LOG.md, "Plan"). `speed` times a small fixed piece of work to place
this machine against it. `intently train` says the forecast first and, at the end, how far off it was.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import numpy as np

from intently.config import Settings
from intently.data import Dataset
from intently.recipe import Recipe, choose, judging_case

REFERENCE_S = 0.029
"""Seconds of `speed`'s work on the reference machine (EPYC, 2 cores)."""

TEXTS_PER_S = 330.0
EVENT_S = {"popular": 2e-7, "repeat": 4e-6, "covisit": 9e-6, "linear": 2e-5, "content": 2e-6}
EASE_EVENT_S = 1e-6
LINEAR_CUBE_S = 1.3e-11
SEQUENCE_MOMENT_S = 6.5e-5
PAIR_FEATURE_S = 2.6e-5
PAIR_ROUND_S = 1.1e-7
ASK_USER_S = 4.2e-3
OVERHEAD_S = 1.0


@dataclass(frozen=True)
class Forecast:
    """Wall seconds by stage on all cores, peak memory and disk in MB, for the recipe named."""

    recipe: str
    stages_s: dict[str, float]
    memory_mb: float
    disk_mb: float

    @property
    def total_s(self) -> float:
        """All stages together."""
        return sum(self.stages_s.values())


def speed() -> float:
    """How many times slower than the reference core this one is now; about 0.2 s of work."""
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
    """What `train` will take on `dataset`; `slower` as `speed` gives it."""
    recipe = choose(judging_case(dataset, settings).train, settings)
    cores = os.cpu_count() or 1
    users = int(np.count_nonzero(dataset.histories().lengths))
    texts = len({title for title in dataset.titles() if title})
    pairs = _pairs(dataset, recipe, users)
    stages = {
        "reading the catalogue": texts / TEXTS_PER_S / cores,
        f"training {recipe.name}": _train_s(dataset, recipe, pairs, cores),
        "judging": users * ASK_USER_S * (2.0 if recipe.name == "boosted" else 0.5),
        "judging the baselines": sum(
            _fit_s(dataset, name, given) + users * ASK_USER_S * 0.2
            for name, given in recipe.baselines.items()
        ),
        "publishing": OVERHEAD_S + dataset.n_events * 2.4e-6,
    }
    stages = {name: seconds * slower for name, seconds in stages.items()}
    vectors_mb = dataset.n_items * 384 * 4 / 1e6
    memory_mb = 600 + dataset.n_events * 3e-4 + 3 * vectors_mb + pairs * 70 * 4 * 2.2 / 1e6
    disk_mb = 20 + dataset.n_events * 6e-5 + 1.5 * vectors_mb + dataset.n_items * 1e-3
    return Forecast(recipe.name, stages, memory_mb, disk_mb)


def _pairs(dataset: Dataset, recipe: Recipe, users: int) -> float:
    """Rows of the training tables."""
    if recipe.name != "boosted":
        return 0.0
    met = dataset.events.select("user", "item").n_unique()
    cuts = int(recipe.settings["cuts"])
    each = met * 0.85 + users * 20 * (len(recipe.settings["inner"]) + 1) * 0.8
    return float(min(each * cuts, 1_500_000))


def _train_s(dataset: Dataset, recipe: Recipe, pairs: float, cores: int) -> float:
    if recipe.name != "boosted":
        return 2.5 * sum(_fit_s(dataset, name, {}) for name in ("linear", "covisit", "content"))
    inner = sum(_fit_s(dataset, name, given) for name, given in recipe.settings["inner"].items())
    return inner * 0.8 + pairs * PAIR_FEATURE_S + pairs * 200 * PAIR_ROUND_S / cores


def _fit_s(dataset: Dataset, name: str, given: dict[str, object]) -> float:
    seconds = dataset.n_events * EVENT_S.get(name, 0.0)
    if name == "linear":
        seconds = dataset.n_events * (EASE_EVENT_S if given.get("target") == "self" else EVENT_S["linear"])
        size = min(dataset.n_items, int(str(given.get("max_items", 6_000))))
        seconds += LINEAR_CUBE_S * size**3
    if name == "sequence":
        moments = dataset.events.select("user", "time_s").n_unique()
        seconds = moments * int(str(given["epochs"])) * SEQUENCE_MOMENT_S
    return seconds
