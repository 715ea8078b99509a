"""Numbers about a user and an item as of a moment, never from the future.

`ItemFacts` is what the shop knew of its items at a moment (popularity, repeat rate, price against
usual, levels such as category). `pair_features` joins it with what each history says of each
candidate: how often, how lately, how regularly, of the item and of its category. `habits` takes
logarithms of it, which add up.
"""

from intently.features.facts import ItemFacts
from intently.features.habits import HABITS, TOLD_IN, habits
from intently.features.pairs import PAIR_FEATURES, pair_features

__all__ = ["HABITS", "PAIR_FEATURES", "TOLD_IN", "ItemFacts", "habits", "pair_features"]
