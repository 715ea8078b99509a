"""How good the predictions are, measured so that nothing leaks.

`protocol` cuts a shop into a `Case` (temporal, leave-one-out); `judgement` asks a fitted model and
keeps every metric of every user; `metrics` ranks, `classification` judges probabilities, `intervals`
says how sure a mean is. `evaluate` does it all for unfitted models and hands back a `Report`
(frame, JSON, one self-contained HTML page).
"""

from intently.evaluate.intervals import Interval, difference, lift, mean_interval
from intently.evaluate.judgement import Judgement, judge
from intently.evaluate.protocol import Case, leave_one_out, temporal

__all__ = [
    "Case",
    "Interval",
    "Judgement",
    "difference",
    "judge",
    "leave_one_out",
    "lift",
    "mean_interval",
    "temporal",
]
