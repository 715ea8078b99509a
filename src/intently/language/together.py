"""Objective *together*: texts of what is bought together come close to each other.

The same contrast as *next*, with a single item as the past: who is asked is not a user but a thing. Pairs
are items of one basket, and of neighbouring moments of one user; each counts in both directions. Prod2vec
(Grbovic et al., 2015) learns the same from ids and knows nothing of a new item.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from intently.data import Dataset
from intently.language.catalogue import catalogue_text
from intently.language.contrast import Contrast, Contrasting
from intently.language.questions import Questions, Split, split
from intently.language.sentences import Sentences

NEAR = 1
"""Moments between two items that still go together."""


def from_shop(
    shop: Dataset,
    folder: Path | None = None,
    settings: Contrasting | None = None,
    *,
    max_tokens: int = 32,
    cold_share: float = 0.1,
    dropout: float = -1.0,
    seed: int = 0,
) -> Contrast:
    """The objective of a shop's catalogue and behaviour; arguments and errors as in next_text.from_shop."""
    whole = split(shop, cold_share=cold_share, seed=seed, baskets=True)
    parts = Split(
        paired(whole.train, both=True),
        _one_each(whole.validation),
        _one_each(whole.test),
        whole.cold,
        whole.held,
    )
    sentences = Sentences(catalogue_text(shop), folder, max_tokens=max_tokens)
    return Contrast("together", sentences, parts, settings, dropout=dropout, seed=seed)


def paired(questions: Questions, *, both: bool) -> Questions:
    """One question a pair of the same or neighbouring moments: (past item, target), with `both` also back."""
    rows, columns = np.nonzero((questions.past >= 0) & (questions.back < NEAR))
    past, target = questions.past[rows, columns], questions.target[rows]
    if both:
        past, target = np.concatenate([past, target]), np.concatenate([target, past])
    return Questions(past[:, None], np.zeros((len(past), 1), np.int32), target)


def _one_each(questions: Questions) -> Questions:
    """Only the newest past item of each question."""
    return Questions(questions.past[:, :1], np.zeros((len(questions), 1), np.int32), questions.target)
