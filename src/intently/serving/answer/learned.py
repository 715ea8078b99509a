"""What was learned while serving, brought to bear on a list: its head in a new order, its chances true."""

from __future__ import annotations

import numpy as np

from intently.serving.answer.draft import Draft
from intently.serving.online.features import Question
from intently.serving.online.online import LOOK
from intently.serving.online.visits import LOOK_BACK
from intently.serving.state.engine import Engine


def adjust(engine: Engine, draft: Draft) -> None:
    """Rank the head of the model's list anew; lists that begin with something else stay as they are."""
    standing, request = draft.view.standing, draft.request
    named = draft.scenario.first == "model" and not (request.context.query or request.context.page)
    if standing is None or draft.failed or not named or not len(draft):
        return
    if not engine.online.wants(draft.view.user, draft.view.at_s, standing.artifact.version):
        return
    n = min(LOOK, len(draft))
    done = draft.view.deeds
    asked = Question(
        done.items,
        done.time_s,
        draft.view.at_s,
        done.items[-LOOK_BACK:],
        draft.numbers[:n],
        np.where(np.isfinite(draft.scores[:n]), draft.scores[:n], -np.inf),
        draft.calibrated,
    )
    ranked = engine.online.rank(draft.view.user, asked)
    if ranked is None:
        return
    draft.learned = ranked.order
    draft.reorder(np.concatenate([ranked.order, np.arange(n, len(draft))]))
    draft.scores[:n] = ranked.scores
