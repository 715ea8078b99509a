"""Which models a shop gets, by rules written down once.

Nothing here knows a data set by name: only sizes, spans, repeats and whether there are texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from intently import progress
from intently.config import Settings
from intently.data import Dataset
from intently.data.histories import DAY_S
from intently.evaluate import Case, leave_one_out, temporal
from intently.models import Recommender, given, model_class
from intently.models.base import REPEAT_SHARE
from intently.models.composite import usual_members

CUTS = 3
MOMENT_S, MOMENT_ITEM_S = 3.1e-5, 3.4e-9
"""Seconds of one moment of one epoch of `sequence`, and of each item in its softmax; two cores."""
SEQUENCE_SHARE = 0.5
"""Of a budget in minutes; the rest is for the other models, the tables of the past and the judging."""
MOMENTS_READ, LEAST_EPOCHS, MOST_EPOCHS = 1_500_000, 2, 40
LEAST_EVENTS = 2_000
"""Fewer events than this teach trees nothing that a blend does not know."""

TASTE = {"target": "self", "max_items": 6_000}
"""The closed form as a member of a ranker: what goes with what (EASE), over the most frequent items.

Chosen for its cost: the order-aware form took 86 to 111 CPU s on long baskets, this one 6. What the
order-aware form would bring to a ranker has not been measured (docs/LOG.md).
"""


INSIDE = {"boosted": "inner", "click": "inner", "blend": "models", "ensemble": "models"}
"""Model -> the setting that names the models inside it."""


@dataclass(frozen=True)
class Recipe:
    """What is trained, and what it is judged against: model name -> settings."""

    name: str
    settings: dict[str, Any]
    baselines: dict[str, dict[str, Any]]
    why: str
    unused: tuple[str, ...] = ()  # models that the shop has settings for and the recipe has no use for

    def model(self) -> Recommender:
        """The unfitted model."""
        return model_class(self.name)(**self.settings)

    def rivals(self) -> dict[str, Recommender]:
        """The unfitted baselines."""
        return {name: model_class(name)(**settings) for name, settings in self.baselines.items()}


def judging_case(shop: Dataset, settings: Settings) -> Case:
    """The last horizon as the future; where the data is too short for it, each user's last event."""
    span_days = (shop.end_s - shop.start_s) / DAY_S
    if not shop.timed or span_days < 2 * settings.horizon_days:
        progress.note("no times, or fewer than two horizons of them: judged on each user's last event")
        return leave_one_out(shop, repeats=None)
    return temporal(shop, horizon_days=settings.horizon_days, target=settings.target or None)


def choose(train: Dataset, settings: Settings, *, stage: str = "full") -> Recipe:
    """The recipe for what may be learned from, with the shop's own `[models.NAME]` laid over it.

    Raises ConfigError when those name a model or a setting that there is none of.
    """
    given.check(settings.models)
    return with_given(by_rule(train, settings, stage=stage), train, settings.models)


def with_given(recipe: Recipe, train: Dataset, mine: given.Given) -> Recipe:
    """The recipe with `mine` laid over the settings of its model, of those inside it, and of the baselines.

    A model inside takes the rule's settings, over them `[models.NAME]`, over them what the outer model's
    table says of it. Settings of a model that the recipe does not use have no effect and are in `unused`.
    """
    own, inside = mine.get(recipe.name, {}), INSIDE.get(recipe.name, "")
    settings, members = given.over(recipe.settings, own), members_of(recipe, train)
    if inside and (inside in own or any(name in mine for name in members)):
        said = own.get(inside, {})
        told = said if isinstance(said, Mapping) else {name: {} for name in said}
        names = {**members, **told} if isinstance(said, Mapping) else told
        settings[inside] = {
            name: given.over(given.over(members.get(name, {}), mine.get(name, {})), told.get(name, {}))
            for name in names
        }
        members = settings[inside]
    baselines = {name: given.over(usual, mine.get(name, {})) for name, usual in recipe.baselines.items()}
    unused = tuple(name for name in mine if name not in {recipe.name, *members, *baselines})
    return replace(recipe, settings=settings, baselines=baselines, unused=unused)


def members_of(recipe: Recipe, train: Dataset) -> dict[str, dict[str, Any]]:
    """The models inside the recipe's model, with their settings; none for a model that stands alone."""
    if recipe.name not in INSIDE:
        return {}
    named = recipe.settings.get(INSIDE[recipe.name])
    return dict(named) if named else usual_members(train) if recipe.name == "blend" else {}


def by_rule(train: Dataset, settings: Settings, *, stage: str = "full") -> Recipe:
    """The recipe for what may be learned from (`Case.train`); "quick" is what can answer in seconds.

    - quick: `repeat` where customers buy again, else `covisit`.
    - full, with times, at least LEAST_EVENTS events and two horizons or more: `boosted` over covisit,
      linear and sequence, with as many cuts as leave a horizon of history before them.
    - full, otherwise, at least LEAST_EVENTS events: `ensemble` of linear, covisit, sequence, and content
      (with texts) or repeat (where customers buy again).
    - full, fewer events: `blend` of the same without sequence.
    """
    repeats = train.repeat_share > REPEAT_SHARE
    baselines: dict[str, dict[str, Any]] = {"popular": {}}
    if repeats:
        baselines["repeat"] = {"half_life_days": None} if train.timed else {}
    if stage == "quick":
        name = "repeat" if repeats else "covisit"
        return Recipe(name, {}, {"popular": {}}, f"{name} answers at once while the rest is trained")
    baselines["covisit"] = {}
    baselines["linear"] = dict(TASTE)
    span_days = (train.end_s - train.start_s) / DAY_S
    cuts = min(CUTS, int(span_days / settings.horizon_days) - 1)
    if train.n_events < LEAST_EVENTS:
        return Recipe("blend", {}, baselines, "blend: too few events for trees to learn from")
    ordered_only = not train.timed or cuts < 1
    epochs = sequence_epochs(train, settings.minutes, fits=2 if ordered_only else 1)
    sequence = {"sequence": {"epochs": epochs, "seed": settings.seed}} if epochs else {}
    if not epochs:
        progress.note(f"sequence is left out: {settings.minutes:g} minutes are too few for one epoch")
    if ordered_only:
        members = {**usual_members(train), **sequence}
        why = "ensemble: too short a span, or no times, for a model of probabilities"
        return Recipe("ensemble", {"models": members, "seed": settings.seed}, baselines, why)
    inner: dict[str, dict[str, Any]] = {"covisit": {}, "linear": dict(TASTE), **sequence}
    chosen = {
        "inner": inner,
        "horizon_days": settings.horizon_days,
        "cuts": cuts,
        "text": train.vectors is not None,
        "target": settings.target,
        "seed": settings.seed,
    }
    return Recipe("boosted", chosen, baselines, f"boosted over {', '.join(inner)}, {cuts} training cuts")


def sequence_epochs(train: Dataset, minutes: float = 0.0, fits: int = 1) -> int:
    """Passes over the data that make MOMENTS_READ moments: work is bounded, and no clock decides.

    minutes: a budget of the whole training instead, counted at the speed of the reference machine, as a
    clock would train another model on a slower one: same seed, other bytes. Half of it is for `fits`
    trainings of the sequence model; 0 where that is not enough for one pass.
    """
    moments = max(train.events.select("user", "time_s").n_unique(), 1)
    if not minutes:
        return int(min(MOST_EPOCHS, max(LEAST_EPOCHS, MOMENTS_READ // moments)))
    return int(min(MOST_EPOCHS, SEQUENCE_SHARE * minutes * 60 // (fits * moments * moment_s(train))))


def moment_s(train: Dataset) -> float:
    """Seconds of one moment of one epoch of `sequence` on the reference machine."""
    from intently.models.sequence import Sequence

    return MOMENT_S + MOMENT_ITEM_S * min(train.events["item"].n_unique(), Sequence().candidates)
