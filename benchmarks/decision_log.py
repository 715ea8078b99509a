"""What does it cost to keep why every list was answered?

    python benchmarks/decision_log.py

A shop of `--items`, lists of `--candidates` candidates of a user with `--history` events, as the pipeline
hands them over (answer/kept.py), with exclusions and drops, 20 at a time. One line a case: CPU microseconds
of the request's thread to hand one over (median and 99th percentile of the twenties, while the writing thread
works), of the whole process a decision, writing included, and bytes a decision in the file.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from intently.serving.decisions.ids import new_id
from intently.serving.decisions.log import DecisionLog
from intently.serving.decisions.record import Barred, Decision
from intently.serving.shapes.answers import RecommendationRequest
from record import record

BURST, PAUSE_S = 20, 0.01
"""As answers come: the writing thread works in the pauses, and beside the next ones."""


def main() -> None:
    """Every size of shop once."""
    wanted = parser().parse_args()
    for n_items in wanted.items:
        row = measured(n_items, wanted.candidates, wanted.history, wanted.decisions)
        print(json.dumps(record("decision_log", row, wanted.out)))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    made.add_argument("--items", type=int, nargs="+", default=[12_000, 100_000])
    made.add_argument("--candidates", type=int, default=300)
    made.add_argument("--history", type=int, default=60)
    made.add_argument("--decisions", type=int, default=5000)
    made.add_argument("--out", type=Path, default=None, help="results file instead of the usual one")
    return made


def measured(n_items: int, candidates: int, history: int, n: int) -> dict[str, float]:
    """One case."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "decisions.db"
        log = DecisionLog(path, [f"item-{i:07d}" for i in range(n_items)], 0, 30.0, 1024.0)
        log.start()
        given = [drawn(rng, n_items, candidates, history) for _ in range(n)]
        took = np.empty(n // BURST)
        slept_s, began_s = idle(len(took)), time.process_time()
        for place in range(len(took)):
            part = given[place * BURST : (place + 1) * BURST]
            begun = time.thread_time_ns()
            for facts in part:
                log.keep(Decision(id=new_id(), **facts))  # type: ignore[arg-type]
            took[place] = (time.thread_time_ns() - begun) / BURST
            time.sleep(PAUSE_S)
        log.flush(60.0)
        spent_s = time.process_time() - began_s - slept_s
        kept, lost = log.kept, log.lost
        log.stop()
        return {
            "n_items": n_items,
            "candidates": candidates,
            "history": history,
            "decisions": n,
            "kept": kept,
            "lost": lost,
            "hand_over_us_p50": round(float(np.median(took)) / 1e3, 2),
            "hand_over_us_p99": round(float(np.percentile(took, 99)) / 1e3, 2),
            "cpu_us": round(spent_s / n * 1e6, 1),
            "bytes": round(path.stat().st_size / n, 1),
        }


def idle(n: int) -> float:
    """CPU seconds that the pauses alone take."""
    began_s = time.process_time()
    for _ in range(n):
        time.sleep(PAUSE_S)
    return time.process_time() - began_s


def drawn(rng: np.random.Generator, n_items: int, candidates: int, history: int) -> dict[str, object]:
    """What a list of the home page hands over."""
    numbers = rng.choice(n_items, candidates + history, replace=False).astype(np.int32)
    met, numbers = numbers[:history], numbers[history:]
    return {
        "who": f"user-{rng.integers(2000)}",
        "at_s": 1.8e9,
        "row": 1_000_000,
        "times": np.sort(rng.random(history)) * 1e9,
        "numbers": numbers,
        "scores": np.sort(rng.random(candidates))[::-1],
        "sources": np.zeros(candidates, np.uint8),
        "source_names": ("boosted", "popular"),
        "propensity": np.ones(candidates),
        "shown": 20,
        "dropped": [(int(item), "bought") for item in met[:10]],
        "bars": [Barred("bought", "was bought before", met)],
        "request": RecommendationRequest(user_id="user-1", n=20),
        "facts": {
            "scenario": "home",
            "n": 20,
            "model": "boosted",
            "model_version": "20261125T225518660294-bffbeea3",
            "rules_version": 3,
            "catalogue_version": 12,
            "calibrated": True,
            "filled_by": "model",
            "failed": False,
        },
    }


if __name__ == "__main__":
    main()
