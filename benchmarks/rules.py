"""What do rules cost a request? CPU microseconds of each stage of rules, on one thread.

    python benchmarks/rules.py [--items 12000] [--rounds 2000]

A made-up shop with a model that costs nothing (popularity), so that what is left is ours: a request without
rules; with ten stored rules (five filters for all, one that asks what the user bought, two boosts, a cap, a
pin); with a filter of its own; with diversity. The stages are timed inside real answers of one engine, in
turn, so that all see the same machine. Prints one JSON line a case.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from intently import Dataset, artifact
from intently.config import Settings
from intently.models.popular import Popular
from intently.serving.answer import diversity, recommend, ruled
from intently.serving.rules.book import RuleFile
from intently.serving.rules.rule import Rule
from intently.serving.shapes.answers import RecommendationRequest
from intently.serving.state.engine import Engine
from intently.store import SqliteStore
from record import record

RULES: tuple[dict[str, Any], ...] = (
    {"kind": "exclude", "filter": "stock == 0"},
    {"kind": "exclude", "filter": "price > 95"},
    {"kind": "exclude", "filter": "title contains 'number 7' and brand in ['B1', 'B2']"},
    {"kind": "include", "filter": "not missing(price)"},
    {"kind": "exclude", "filter": "age_days(created_at) > 900"},
    {"kind": "exclude", "filter": "user.bought(item, 60)"},
    {"kind": "boost", "filter": "brand == 'B3'", "multiply": 1.5},
    {"kind": "boost", "filter": "category == 'C4' and user.viewed(item)", "multiply": 0.5},
    {"kind": "cap", "column": "brand", "most": 2},
    {"kind": "pin", "item_id": "i77", "slot": 3},
)
ASKED = 'price <= 50 and "c" in category and stock > 0 and not user.bought(item)'
CASES: dict[str, tuple[bool, dict[str, Any]]] = {
    "nothing": (False, {}),
    "ten rules": (True, {}),
    "a request's filter": (False, {"filter": ASKED}),
    "ten rules and a filter": (True, {"filter": ASKED}),
    "diversity, n 10": (False, {"diversity": 0.3}),
    "diversity, n 50": (False, {"diversity": 0.3, "n": 50}),
}


def main() -> None:
    """Every case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--items", type=int, default=12_000)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--no-record", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make(home, options.items)
        for name, (stored, asked) in CASES.items():
            (home / "rules.json").unlink(missing_ok=True)
            if stored:
                for place, rule in enumerate(RULES):
                    RuleFile(home / "rules.json").add(Rule.model_validate({"name": f"r{place}", **rule}), "")
            row = {"case": name, "items": options.items} | measured(home, asked, options.rounds)
            print(json.dumps(row), flush=True)
            if not options.no_record:
                record("rules", row)


def make(home: Path, n_items: int) -> None:
    """A shop with a year of events and its model."""
    random = np.random.default_rng(0)
    ids = [f"i{k}" for k in range(n_items)]
    items = pl.DataFrame(
        {
            "item_id": ids,
            "title": [f"Thing number {k}" for k in range(n_items)],
            "brand": [f"B{k}" for k in random.integers(0, 300, n_items)],
            "category": [f"C{k}" for k in random.integers(0, 40, n_items)],
            "price": random.uniform(1, 100, n_items).round(2),
            "stock": random.integers(0, 20, n_items),
            "created_at": ["2026-01-01T00:00:00Z"] * n_items,
        }
    )
    n = 60_000
    events = pl.DataFrame(
        {
            "user_id": [f"u{k}" for k in random.integers(0, 2000, n)],
            "item_id": [ids[k] for k in (n_items * random.random(n) ** 2).astype(int)],
            "event": "purchase",
            "timestamp": 1.75e9 + np.sort(random.uniform(0, 3e7, n)),
        }
    )
    shop = Dataset.from_frames(events, items)
    with SqliteStore(home / "store.db") as store:
        store.upsert_items(items)
        store.add_events(events.rename({"timestamp": "time_s"}))
    made = artifact.publish(home / "artifacts", Popular().fit(shop), shop, {}, "# a benchmark's\n")
    artifact.promote(home / "artifacts", made.name)


def measured(home: Path, asked: dict[str, Any], rounds: int) -> dict[str, float]:
    """CPU microseconds of the stages and of the whole answer over requests of many users.

    The median, and the tenth of requests that were quickest: what else runs on the machine (and empties its
    caches) is in the median and not in those.
    """
    engine = Engine(Settings(home=home))
    engine.live.refresh()
    stages: dict[str, list[float]] = {name: [] for name in ("sift", "boost", "diversity", "settle", "answer")}
    timed(stages["sift"], ruled, "sift")
    timed(stages["boost"], ruled, "boost")
    timed(stages["diversity"], diversity, "spread")
    timed(stages["settle"], ruled, "settle")
    try:
        for round_ in range(rounds + 50):
            request = RecommendationRequest.model_validate({"user_id": f"u{round_ % 2000}", **asked})
            began = time.thread_time()
            recommend.recommend(engine, request)
            stages["answer"].append(time.thread_time() - began)
    finally:
        engine.close()
        for module, name in ((ruled, "sift"), (ruled, "boost"), (diversity, "spread"), (ruled, "settle")):
            setattr(module, name, getattr(module, name).__wrapped__)
    rules = np.sum([stages[name] for name in ("sift", "boost", "settle")], axis=0)
    found = {name: np.array(spent[50:]) * 1e6 for name, spent in stages.items()} | {"rules": rules[50:] * 1e6}
    quick = {f"{name}_quick_us": round(float(np.quantile(spent, 0.1)), 1) for name, spent in found.items()}
    return {f"{name}_us": round(float(np.median(spent)), 1) for name, spent in found.items()} | quick


def timed(spent: list[float], module: Any, name: str) -> None:
    """Put a clock around a stage."""
    stage: Callable[..., None] = getattr(module, name)

    def clocked(*given: Any) -> None:
        began = time.thread_time()
        stage(*given)
        spent.append(time.thread_time() - began)

    clocked.__wrapped__ = stage  # type: ignore[attr-defined]
    setattr(module, name, clocked)


if __name__ == "__main__":
    main()
