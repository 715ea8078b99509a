"""Objective *next*: from the texts of what a user met lately to the text of what comes next.

A user becomes the mean of a few text vectors, so the tuned encoder needs no ids: it answers for items that
nobody has met, for users of an hour ago, and for other shops. Close in aim to UniSRec (Hou et al., 2022) and
RecFormer (Li et al., 2023), which put a sequence model on top of the texts; here the encoder alone learns,
so that an ordinary search for neighbours serves it.
"""

from __future__ import annotations

from pathlib import Path

from intently.data import Dataset
from intently.language.catalogue import catalogue_text
from intently.language.contrast import Contrast, Contrasting
from intently.language.questions import split
from intently.language.sentences import Sentences


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
    """The objective of a shop's catalogue and behaviour, split by questions.py.

    folder: the model whose tokenizer reads; None: the English one. dropout: of every layer, negative: as
    the model says. Raises InputError for a shop without texts or with too little behaviour.
    """
    parts = split(shop, cold_share=cold_share, seed=seed)
    sentences = Sentences(catalogue_text(shop), folder, max_tokens=max_tokens)
    return Contrast("next", sentences, parts, settings, dropout=dropout, seed=seed)
