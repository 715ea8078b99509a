"""What a search asks: how well does this model answer a cut inside what may be learned from?

`intently train` judges on the last horizon. A search must never see it, so it asks the same question one
horizon earlier: the judging case's training part is cut once more in the same way, and every trial is fitted
before that cut and ranks the whole catalogue for the users after it.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from intently.config import Settings
from intently.data import Dataset
from intently.errors import InputError
from intently.evaluate import Case
from intently.models import REGISTRY, given, model_class
from intently.models.composite import usual_members
from intently.models.space import Space, flat
from intently.models.two_stage import TwoStage
from intently.recipe import INSIDE, Recipe, choose, judging_case, members_of, sequence_epochs

METRIC = "ndcg@10"
ASKED = 4_000
"""Users that a trial is judged on at most, the same in all trials."""


@dataclass(frozen=True)
class Question:
    """One model's search. `usual`: the settings that `train` would give it, which are the first trial."""

    model: str
    usual: dict[str, Any]
    space: Space
    case: Case

    @property
    def key(self) -> str:
        """The same for the same question, so that an interrupted search is gone on with."""
        case = self.case
        said = [
            self.model,
            self.usual,
            {name: str(where) for name, where in sorted(self.space.items())},
            [case.protocol, case.target, case.cut_s, case.horizon_days, case.train.fingerprint, len(case)],
            case.train.vectors is not None,
        ]
        return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:12]

    def default_point(self) -> dict[str, Any] | None:
        """Where the default lies in the space; None when it lies outside."""
        told = flat(model_class(self.model)(**self.usual).settings())
        point = {name: told.get(name) for name in self.space}
        return point if all(self.space[name].holds(value) for name, value in point.items()) else None


def questions(shop: Dataset, settings: Settings, names: Sequence[str] = ()) -> list[Question]:
    """A question for each model; without names, for all that `train` would use here and that have a space.

    Raises InputError for a model without a space, and when nothing can be held back twice.
    """
    for name in names:
        if not model_class(name).SPACE:
            able = [known for known in REGISTRY if model_class(known).SPACE]
            raise InputError(f"{name} has nothing to search; models that have: {', '.join(able)}")
    case = _validation(shop, settings)
    recipe = choose(case.train, settings)
    members = members_of(recipe, case.train)
    chosen = list(dict.fromkeys(names)) or [
        name for name in (*members, recipe.name) if model_class(name).SPACE
    ]
    found = []
    for name in chosen:
        usual = _usual(name, recipe, members, case.train, settings)
        inside = usual.get(INSIDE.get(name, ""), {})
        space = {at: where for at, where in model_class(name).SPACE.items() if _applies(at, inside)}
        found.append(Question(name, usual, space, case))
    return found


def _applies(name: str, inside: Mapping[str, Any]) -> bool:
    """A dotted name is about a member of a blend, and that must be one here."""
    return "." not in name or name.rpartition(".")[2] in inside


def _validation(shop: Dataset, settings: Settings) -> Case:
    try:
        case = judging_case(judging_case(shop, settings).train, settings)
    except InputError as error:
        raise InputError(
            "there is too little data to hold back a part for the search beside the one that models are"
            f" judged on: {error.message}",
            hint="a shorter --horizon-days, or more events",
        ) from error
    rows = np.arange(len(case))
    if len(rows) > ASKED:
        rows = np.sort(np.random.default_rng(settings.seed).permutation(len(rows))[:ASKED])
    parts = [case.truth[case.indptr[row] : case.indptr[row + 1]] for row in rows]
    return replace(
        case,
        histories=case.histories.select(rows),
        indptr=np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64),
        truth=np.concatenate(parts),
        quiet=case.quiet.select([]),
    )


def _usual(
    name: str, recipe: Recipe, members: Mapping[str, dict[str, Any]], train: Dataset, settings: Settings
) -> dict[str, Any]:
    """What `train` gives the model here; for one that it does not use, what it would give it."""
    if name == recipe.name:
        return {**recipe.settings, **({INSIDE[name]: dict(members)} if members else {})}  # each by its name
    if name in members:
        return dict(members[name])
    if name in recipe.baselines:
        return dict(recipe.baselines[name])
    kind = model_class(name)
    known = inspect.signature(kind.__init__).parameters
    usual: dict[str, Any] = {"seed": settings.seed} if "seed" in known else {}
    if name == "sequence":
        usual["epochs"] = sequence_epochs(train)
    if INSIDE.get(name) == "models":
        usual["models"] = usual_members(train)
    if issubclass(kind, TwoStage):
        usual["horizon_days"] = settings.horizon_days
        usual |= {at: value for at, value in recipe.settings.items() if at in known}
    return given.over(usual, settings.models.get(name, {}))
