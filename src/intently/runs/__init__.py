"""Every training is written down: settings, data, code, what came out, and what it cost.

record.py   a run while it goes on: run.json and TensorBoard's file in HOME/runs/ID
cost.py     processor seconds, wall seconds, peak of memory
history.py  the runs of a home, one of them, and how two differ
"""

from intently.runs.history import compare, find, listed
from intently.runs.record import Run, record

__all__ = ["Run", "compare", "find", "listed", "record"]
