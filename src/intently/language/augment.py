"""Training texts made a little different every epoch, so that they cannot be learned by heart.

Event dropout leaves out some events of a behaviour text, crop keeps its newest ones only, token masking
hides single tokens. All are pure functions of their input and a random generator.
"""

from __future__ import annotations

import re

import numpy as np

from intently.schema import LongArray

_PARTS = re.compile(r"(; |；)")  # behaviour.py: between the parts of a text


def drop_events(text: str, share: float, rng: np.random.Generator) -> str:
    """A behaviour text without a random `share` of its events; one at least stays, and so does "now".

    The gap written before an event goes with it: times are then those between what is left, roughly.

    >>> drop_events("bought tea; 2 days later bought milk; now 3 days later", 0.5, np.random.default_rng(0))
    'bought tea; now 3 days later'
    """
    events, now, mark = _events(text)
    if share <= 0.0 or len(events) < 2:
        return text
    kept = rng.random(len(events)) >= share
    if not kept.any():
        kept[rng.integers(len(events))] = True
    return mark.join([event for event, stays in zip(events, kept, strict=True) if stays] + now)


def crop_events(text: str, share: float, rng: np.random.Generator) -> str:
    """With chance `share` only the newest events of a behaviour text, a random number of them."""
    events, now, mark = _events(text)
    if len(events) < 2 or rng.random() >= share:
        return text
    return mark.join(events[-int(rng.integers(1, len(events))) :] + now)


def mask_tokens(
    ids: LongArray, share: float, mask_id: int, keep: frozenset[int], rng: np.random.Generator
) -> LongArray:
    """Token ids with a random `share` replaced by `mask_id`; those in `keep` (special tokens) never.

    >>> mask_tokens(np.array([1, 7, 8, 2]), 0.9, 3, frozenset({1, 2}), np.random.default_rng(0)).tolist()
    [1, 3, 3, 2]
    """
    hidden = rng.random(len(ids)) < share
    hidden &= ~np.isin(ids, list(keep))
    return np.where(hidden, mask_id, ids).astype(np.int64)


def _events(text: str) -> tuple[list[str], list[str], str]:
    """Events, the part that says how long ago the last one was (if any), and what stands between."""
    pieces = _PARTS.split(text)
    parts, mark = pieces[::2], pieces[1] if len(pieces) > 1 else "; "
    if parts[-1].startswith(("now", "现在")):
        return parts[:-1], parts[-1:], mark
    return parts, [], mark
