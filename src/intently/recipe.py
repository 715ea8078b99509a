"""Which models a shop gets, by rules written down once.

Nothing here knows a data set by name: only sizes, spans, repeats and whether there are texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from intently.data import Dataset
from intently.data.histories import DAY_S
from intently.models import Recommender, model_class
from intently.models.base import REPEAT_SHARE

CUTS = 3
LEAST_EVENTS = 2_000
"""Fewer events than this teach boosted trees nothing that a blend does not know."""

TASTE = {"target": "self", "max_items": 6_000}
"""The closed form as a member of a ranker: what goes with what (EASE), over the most frequent items.

Chosen for its cost: the order-aware form took 86 to 111 CPU s on long baskets, this one 6. What the
order-aware form would bring to a ranker has not been measured (docs/LOG.md).
"""


@dataclass(frozen=True)
class Recipe:
    """What is trained, and what it is judged against: model name -> settings."""

    name: str
    settings: dict[str, Any]
    baselines: dict[str, dict[str, Any]]
    why: str

    def model(self) -> Recommender:
        """The unfitted model."""
        return model_class(self.name)(**self.settings)

    def rivals(self) -> dict[str, Recommender]:
        """The unfitted baselines."""
        return {name: model_class(name)(**given) for name, given in self.baselines.items()}


def choose(dataset: Dataset, *, stage: str = "full", horizon_days: float = 28.0, seed: int = 0) -> Recipe:
    """The recipe for a shop; `stage` "quick" is what can answer within seconds.

    - quick: `repeat` where customers buy again, else `covisit`.
    - full, with times, at least LEAST_EVENTS events and a span of two horizons more than the cuts:
      `boosted` over covisit, linear and sequence.
    - full, otherwise: `blend` of linear, covisit and (with texts) content.
    """
    repeats = dataset.repeat_share > REPEAT_SHARE
    baselines: dict[str, dict[str, Any]] = {"popular": {}}
    if repeats:
        baselines["repeat"] = {"half_life_days": None} if dataset.timed else {}
    if stage == "quick":
        name = "repeat" if repeats else "covisit"
        return Recipe(name, {}, {"popular": {}}, f"{name} answers at once while the rest is trained")
    baselines["covisit"] = {}
    baselines["linear"] = dict(TASTE)
    span_days = (dataset.end_s - dataset.start_s) / DAY_S
    cuts = min(CUTS, int(span_days / horizon_days) - 2)
    if not dataset.timed or dataset.n_events < LEAST_EVENTS or cuts < 1:
        why = "blend: too few events, too short a span, or no times for a model of probabilities"
        return Recipe("blend", {}, baselines, why)
    inner: dict[str, dict[str, Any]] = {
        "covisit": {},
        "linear": dict(TASTE),
        "sequence": {"minutes": 1.5, "seed": seed},
    }
    settings = {
        "inner": inner,
        "horizon_days": horizon_days,
        "cuts": cuts,
        "text": dataset.vectors is not None,
        "seed": seed,
    }
    return Recipe("boosted", settings, baselines, f"boosted over {', '.join(inner)}, {cuts} training cuts")
