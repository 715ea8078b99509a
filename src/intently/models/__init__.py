"""One algorithm a file, one contract for all (base.py).

`REGISTRY` is a plain dict from a model's name to where its class lives; `model_class` imports it on
first use, so that naming a model does not load torch. Adding a model touches three files: the
module, one line here, the changelog.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import cast

from intently.errors import InputError
from intently.models.base import Recommender
from intently.models.ranking import Ranked

REGISTRY = {
    "popular": "intently.models.popular:Popular",
    "repeat": "intently.models.repeat:Repeat",
    "basket": "intently.models.basket:Basket",
    "covisit": "intently.models.covisit:CoVisit",
    "linear": "intently.models.linear:Linear",
    "als": "intently.models.als:Als",
    "content": "intently.models.content:Content",
    "blend": "intently.models.blend:Blend",
    "ensemble": "intently.models.ensemble:Ensemble",
    "sequence": "intently.models.sequence:Sequence",
    "two_tower": "intently.models.two_tower:TwoTower",
    "graph": "intently.models.graph:Graph",
    "adversarial": "intently.models.adversarial:Adversarial",
    "boosted": "intently.models.boosted:Boosted",
    "click": "intently.models.click:Click",
}


def model_class(name: str) -> type[Recommender]:
    """The class registered under `name`; raises InputError with the nearest names."""
    if name not in REGISTRY:
        near = difflib.get_close_matches(name, REGISTRY, n=1)
        hint = f"did you mean {near[0]!r}?" if near else ""
        raise InputError(f"unknown model {name!r}; allowed: {', '.join(REGISTRY)}", hint=hint)
    module, _, attribute = REGISTRY[name].partition(":")
    return cast("type[Recommender]", getattr(import_module(module), attribute))


__all__ = ["REGISTRY", "Ranked", "Recommender", "model_class"]
