"""Are events ever lost or counted twice? Kills, syncs, faults and re-sending, at the numbers of a release.

    python benchmarks/reliability_events.py                        # 25 kills, 10,000 events, 200 syncs
    python benchmarks/reliability_events.py --only kills syncs

Does to a real service what tests/reliability/test_events_under_faults.py does with smaller numbers, and keeps
one line a question. A figure that is not what was promised ends the run with 1, after it was kept.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from record import record

TESTS = Path(__file__).resolve().parent.parent / "tests"
for folder in (TESTS, TESTS / "serving", TESTS / "reliability"):
    sys.path.insert(0, str(folder))

import event_faults as faults  # noqa: E402 - the tests' own folder was put on the path


def main() -> None:
    """Each question on a home of its own."""
    wanted = parser().parse_args()
    kept = True
    for name in wanted.only:
        with tempfile.TemporaryDirectory() as home:
            row, good = QUESTIONS[name](Path(home), wanted)
        print(json.dumps(record("reliability_events", {"question": name} | row, wanted.out)), flush=True)
        kept = kept and good
    raise SystemExit(0 if kept else 1)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    made.add_argument("--events", type=int, default=10_000)
    made.add_argument("--kills", type=int, default=25)
    made.add_argument("--writers", type=int, default=4)
    made.add_argument("--syncs", type=int, default=200)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--only", nargs="+", choices=sorted(QUESTIONS), default=sorted(QUESTIONS))
    made.add_argument("--out", type=Path, default=None, help="results file instead of the usual one")
    return made


def kills(home: Path, wanted: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """SIGKILL while writers send."""
    told = faults.killed(home, wanted.kills, wanted.events, wanted.writers, wanted.seed)
    row = {k: v for k, v in asdict(told).items() if k != "unanswered"} | {
        "writers": wanted.writers,
        "acknowledged": len(told.acknowledged),
    }
    return row, not told.missing and not told.duplicates


def syncs(home: Path, wanted: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """A sync before every answer."""
    synced, answers = faults.syncs_before_answers(home, wanted.syncs)
    return {"answers": answers, "after a sync": synced}, synced == answers == wanted.syncs


def thrice(home: Path, wanted: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """Every event three times, in any order, across a restart."""
    told = faults.sent_thrice(home, wanted.events, wanted.seed)
    sums = told.accepted + told.duplicates + told.rejected == told.sent
    return asdict(told), sums and told.stored == told.stored_ids == told.accepted == wanted.events


def end(home: Path, wanted: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """SIGTERM while writers send."""
    told = faults.ended(home, writers=2 * wanted.writers)
    row = {"acknowledged": len(told.acknowledged), "missing": told.missing, "duplicates": told.duplicates}
    row |= {"unanswered": told.unanswered}
    return row, not told.missing and not told.duplicates and not told.unanswered


QUESTIONS: dict[str, Callable[[Path, argparse.Namespace], tuple[dict[str, Any], bool]]] = {
    "kills": kills,
    "syncs": syncs,
    "thrice": thrice,
    "end": end,
}


if __name__ == "__main__":
    main()
