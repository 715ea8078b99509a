"""How good the predictions are, measured so that nothing leaks.

`protocol` cuts a shop into a `Case` (temporal, leave-one-out); `judgement` asks a fitted model and
keeps every metric of every user; `metrics` ranks, `classification` and `chances` judge probabilities,
`intervals` says how sure a mean is. `evaluate` does it all for unfitted models and hands back a `Report`
(frame, JSON, one self-contained HTML page).
"""

import sys
from types import ModuleType

from intently.evaluate.evaluation import evaluate, evaluate_case
from intently.evaluate.judgement import Judgement, judge
from intently.evaluate.protocol import Case, leave_one_out, temporal
from intently.evaluate.report import Report
from intently.intervals import Interval, difference, lift, mean_interval

__all__ = [
    "Case",
    "Interval",
    "Judgement",
    "Report",
    "difference",
    "evaluate",
    "evaluate_case",
    "judge",
    "leave_one_out",
    "lift",
    "mean_interval",
    "temporal",
]


class _Room(ModuleType):
    """`from intently import evaluate` finds this room once it is loaded: calling it evaluates."""

    __call__ = staticmethod(evaluate)


sys.modules[__name__].__class__ = _Room
