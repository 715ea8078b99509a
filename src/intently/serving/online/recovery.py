"""How long a ranking is worse after what people buy has changed.

The shop is walked through twice, once as it was and once with a planted shift (stream.plant). Visits, users
and moments are the same in both, so the season and the difficulty of a visit cancel out: a ranking has
recovered when its running NDCG on the shifted shop is within so many per cent of its own on the other one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from intently.errors import InputError
from intently.schema import DoubleArray
from intently.serving.online.replay import Walk

WINDOW = 1000
"""Visits of a running mean."""


@dataclass(frozen=True)
class Recovery:
    """What the shift cost one ranking; `events` and `days` until it was back, None when it never was."""

    lost: float  # the largest share of NDCG missing in any window
    left: float  # the share still missing in the last window
    events: int | None
    days: float | None


def recovery(
    plain: Walk, shifted: Walk, at_s: float, within: float, window: int = WINDOW
) -> dict[str, Recovery]:
    """For "frozen" and "online"; `within` is a share, such as 0.1.

    Raises InputError when fewer than two windows of visits follow the shift.
    """
    after = np.flatnonzero(shifted.at_s >= at_s)
    if len(after) < 2 * window:
        raise InputError(
            f"{len(after)} visits follow the shift; to see a recovery takes {2 * window}",
            hint="an earlier shift, more visits a month, or a longer log",
        )
    begun = int(shifted.n_events[after[0]])
    events, days = shifted.n_events[after] - begun, (shifted.at_s[after] - at_s) / 86400.0
    out = {}
    for name in ("frozen", "online"):
        usual, now = (running(getattr(walk, name)[after], window) for walk in (plain, shifted))
        share = now / np.maximum(usual, 1e-9)
        worst = int(np.argmin(share))
        back = np.flatnonzero(share[worst:] >= 1.0 - within)
        place = worst + int(back[0]) + window - 1 if len(back) else None
        if share[worst] >= 1.0 - within:
            place = 0
        out[name] = Recovery(
            float(1.0 - share[worst]),
            float(1.0 - share[-1]),
            None if place is None else int(events[place]),
            None if place is None else float(days[place]),
        )
    return out


def running(values: DoubleArray, window: int) -> DoubleArray:
    """Means of each `window` values in a row.

    >>> running(np.array([1.0, 3.0, 5.0]), 2).tolist()
    [2.0, 4.0]
    """
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray((sums[window:] - sums[:-window]) / window, np.float64)
