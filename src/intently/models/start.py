"""Where a training starts when a model was trained on this shop before: a warm start."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from intently.data import IdMap
from intently.models.base import Recommender
from intently.schema import IntArray


@dataclass(frozen=True)
class Start:
    """A model that was fitted earlier, and where the items of today's shop stand in it."""

    model: Recommender
    place: IntArray  # (n_items,) dense id in the earlier shop; -1: an item that it did not know

    @staticmethod
    def of(model: Recommender, earlier: IdMap, items: IdMap) -> Start:
        """From the earlier shop's item ids and today's.

        >>> from intently.models.popular import Popular
        >>> Start.of(Popular(), IdMap(["a", "b"]), IdMap(["b", "c"])).place.tolist()
        [1, -1]
        """
        return Start(model, earlier.indices(items.ids))

    @staticmethod
    def same_items(model: Recommender) -> Start:
        """From a model of a shop with the same items."""
        return Start(model, np.arange(model.n_items, dtype=np.int32))

    def part(self, name: str) -> Recommender | None:
        """The earlier model of this name: the model itself, or the one inside it."""
        if self.model.name == name:
            return self.model
        for kind in ("members", "models"):  # of an ensemble or blend; of boosted or click
            held = getattr(self.model, kind, None) or {}
            if isinstance(found := held.get(name), Recommender):
                return found
        return None
