"""A shop of five kinds of things: each title names its kind with one of two words, among three idle words."""

from __future__ import annotations

import numpy as np
import polars as pl
from tiny_folder import WORDS

from intently.data import Dataset

KINDS = (("tea", "soap"), ("coffee", "hose"), ("wine", "nail"), ("milk", "garden"), ("bread", "bean"))


def kinds_shop(*, faithful: bool = True, n_users: int = 300, n_items: int = 120, seed: int = 0) -> Dataset:
    """Everyone meets six things of one kind; not `faithful`: any six, so that titles say nothing.

    Right answer: the vectors of one kind's two words come close, whatever else a title says.
    """
    rng = np.random.default_rng(seed)
    idle = [word for word in WORDS if not any(word in pair for pair in KINDS)]
    titles = [
        " ".join(rng.permutation([*rng.choice(idle, 3, replace=False), KINDS[i % 5][(i // 5) % 2]]))
        for i in range(n_items)
    ]
    kind = np.arange(n_items) % 5
    sequences = [
        [f"i{j:03d}" for j in rng.permutation(np.flatnonzero((kind == user % 5) | (not faithful)))[:6]]
        for user in range(n_users)
    ]
    table = pl.DataFrame({"item_id": [f"i{j:03d}" for j in range(n_items)], "title": titles})
    return Dataset.from_sequences(sequences, items=table)
