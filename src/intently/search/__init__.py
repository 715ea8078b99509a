"""Better settings of a model, looked for on the shop's own past (`intently search`).

question.py  what is asked: a model, its space, and a validation cut inside what may be learned from
worker.py    a process that fits and judges one trial after the other, on one thread
study.py     which settings come next (optuna), what is given up early, what survives a kill
found.py     what came out: against the default, with an interval; the TOML that `intently train` reads
drawing.py   what mattered, as a page
"""

from intently.search.found import Found
from intently.search.question import Question, questions

__all__ = ["Found", "Question", "questions"]
