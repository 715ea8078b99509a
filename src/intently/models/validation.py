"""The last part of the training data, held back to choose a setting inside `fit`.

Nothing here sees what a caller held back: it is cut from what `fit` was given.
"""

from __future__ import annotations

from intently.data import Dataset
from intently.data.histories import DAY_S
from intently.errors import InputError
from intently.evaluate.protocol import Case, leave_one_out, temporal

LAST_DAYS = 28.0
LAST_SHARE = 0.1


def last_days(dataset: Dataset) -> Case | None:
    """The last 28 days, or the last tenth where the data is shorter, as the future of the rest.

    Without real times: each user's last event. None when there is nothing to hold back.
    """
    span_days = (dataset.end_s - dataset.start_s) / DAY_S
    days = min(LAST_DAYS, LAST_SHARE * span_days)
    try:
        if dataset.timed and days > 0:
            return temporal(dataset, horizon_days=days)
        return leave_one_out(dataset, repeats=None)
    except InputError:
        return None


def last_events(dataset: Dataset) -> Case | None:
    """Each user's last event; None when no user has two."""
    try:
        return leave_one_out(dataset, repeats=None)
    except InputError:
        return None
