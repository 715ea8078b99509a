"""Does what is learned while serving beat the model that stands still, month by month and after a shift?

    python benchmarks/replay.py [--frozen repeat] [--visits 0] [--shift 0.3] [--develop] [--no-record]

The Complete Journey: the frozen model is fitted once on January to June, then every basket of July to
December is asked in order of time, by the frozen model and by the online layer on top of it, both with fresh
histories; what was bought is learned only after the answer. With --shift, from August on that share of all
purchases moves to other categories by a seeded map, and the run is compared with the one without. --develop:
fitted on January and February, asked until June; settings were chosen there, July to December looked at
afterwards.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from intently import Dataset, progress
from intently.data.shops import complete_journey
from intently.models import Recommender, model_class
from intently.serving.online.recovery import WINDOW, recovery
from intently.serving.online.replay import Walk, replay
from intently.serving.online.stream import plant
from record import record

FROZEN: dict[str, tuple[str, dict[str, Any]]] = {
    "repeat": ("repeat", {}),
    "boosted": ("boosted", {"inner": {"covisit": {}}, "text": False, "cuts": 2}),
}
WITHIN = 0.1


def main() -> None:
    """Walk, print, record."""
    asked = arguments()
    progress.show()
    shop = complete_journey()
    dataset = Dataset.from_frames(shop.events, shop.items, shop.users)
    cut_s, shift_s = day("2017-07-01"), day("2017-08-01")
    if asked.develop:
        dataset, cut_s, shift_s = dataset.as_of(cut_s), day("2017-03-01"), day("2017-04-01")
    name, settings = FROZEN[asked.frozen]
    frozen = model_class(name)(**settings).fit(dataset.as_of(cut_s))
    plain = walk(dataset, frozen, cut_s, asked)
    for month in plain.months():
        say({"question": "month", "frozen": asked.frozen, **figures(month)}, asked)
    if asked.shift:
        shift = plant(dataset, shift_s, asked.shift, asked.seed)
        moved = walk(shift.apply(dataset), frozen, cut_s, asked)
        window = min(WINDOW, int((moved.at_s >= shift_s).sum()) // 4)
        for which, one in recovery(plain, moved, shift_s, WITHIN, window).items():
            row = {"question": "shift", "frozen": asked.frozen, "of": which, "moved": round(shift.share, 4)}
            say({**row, "within": WITHIN, "window_visits": window, **asdict(one)}, asked)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frozen", choices=tuple(FROZEN), default="repeat")
    parser.add_argument("--visits", type=int, default=0, help="a month at most; 0: all")
    parser.add_argument("--shift", type=float, default=0.0, help="share of the purchases that move")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--develop", action="store_true", help="the first half of the year only")
    parser.add_argument("--no-record", action="store_true", help="print only")
    return parser.parse_args()


def walk(dataset: Dataset, frozen: Recommender, cut_s: float, asked: argparse.Namespace) -> Walk:
    """One walk, and what it cost."""
    begun = time.process_time()
    found = replay(dataset, frozen, cut_s, most_visits=asked.visits, seed=asked.seed)
    cost = {"visits": len(found.users), "events": found.events_taken, "cpu_s": time.process_time() - begun}
    sys.stderr.write(f"{cost}, online part {found.cpu_s_online:.1f} s\n")
    return found


def figures(month: Any) -> dict[str, Any]:
    """A month, with [value, low, high] for each figure."""
    row = {"month": month.name, "visits": month.visits, "users": month.users}
    for name in ("frozen", "online", "gain"):
        one = getattr(month, name)
        row[f"ndcg@10_{name}"] = [round(v, 5) for v in (one.value, one.low, one.high)]
    return row


def day(text: str) -> float:
    """Seconds of a day's begin, UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def say(row: dict[str, Any], asked: argparse.Namespace) -> None:
    """One line on standard output, and one in the results."""
    if not asked.no_record:
        row = record("replay", {**row, "split": "develop" if asked.develop else "test"})
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
