"""What will each customer buy in the next weeks, and what is in the very next basket?

    python benchmarks/next_basket.py --data FILE.parquet [--item Description] [--horizon-days 28]
    python benchmarks/next_basket.py --shop            # the demonstration's shop

FILE holds a row a bought line. Usual column names are recognised, others are told by --user, --item,
--time, --quantity, --price and --basket. Rows without a user, and returns (quantity 0 or less), are left out
and counted. Lines of one user at one moment, or of one --basket, are one basket. The last horizon is
the future; everything before it may be learned from; users with a past and a future are asked as of the cut,
the whole catalogue is ranked, and what was bought before may come back. `--cut-back 28` drops days from the
end first: use it while developing, the final weeks are looked at once.

One JSON line a model and question: "horizon" (distinct items bought in all of it) and "next basket" (those of
the first basket after the cut). Each line of the model named by --ours, which runs last, holds its relative
lift over every other with a paired bootstrap interval. `top_frequency` is how often the user bought an item,
popular items behind; `repeat` chooses its half-life on a validation horizon; `tifu_knn` (peers/tifu_knn.py)
chooses all of its settings there; every other name is a model of Intently.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from baskets import Baskets, of_file, of_shop, only, questions
from intently import Dataset, Histories
from intently.data.histories import DAY_S
from intently.errors import InputError, IntentlyError
from intently.evaluate import Case, judge
from intently.evaluate.judgement import Judgement
from intently.intervals import Interval
from intently.models import REGISTRY, Ranked, model_class
from intently.models.ranking import top_k
from peers.tifu_knn import Settings, TifuKnn, frequencies, search
from record import record

MODELS = "popular,top_frequency,repeat,tifu_knn"
FIGURES = tuple(f"{metric}@{k}" for k in (5, 10, 20) for metric in ("recall", "ndcg"))
COMPARED = ("recall@10", "ndcg@10")
FOREVER = 1e12
"""A half-life, in days, under which a purchase never fades."""

NAMED: dict[str, tuple[str, dict[str, Any]]] = {
    "top_frequency": ("repeat", {"half_life_days": FOREVER}),
    "repeat": ("repeat", {"half_life_days": None}),
}
JUDGES = 400
"""Validation users by whom the peer's settings are chosen."""

ALONE = 50
"""Users asked one by one, for the time of an answer."""


def main() -> int:
    """Run the models one after the other; 0, or 2 for bad input."""
    options = arguments()
    try:
        run(options)
    except IntentlyError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="Parquet file, a row a bought line")
    source.add_argument("--shop", action="store_true", help="the demonstration's shop")
    for name in ("user", "item", "time", "quantity", "price", "basket"):
        parser.add_argument(f"--{name}", default="", help=f"column of the {name}")
    parser.add_argument("--horizon-days", type=float, default=28.0)
    parser.add_argument("--cut-back", type=float, default=0.0, help="days to drop from the end first")
    parser.add_argument("--models", default=MODELS, help=f"comma-separated, default {MODELS}")
    parser.add_argument("--ours", default="repeat", help="the model that is held against the others")
    parser.add_argument("--settings", default="{}", help='JSON, such as {"repeat": {"half_life_days": 28}}')
    parser.add_argument("--no-record", action="store_true", help="print only")
    return parser.parse_args()


def run(options: argparse.Namespace) -> None:
    """Check everything, then fit and judge model by model."""
    names = [name for name in dict.fromkeys(options.models.split(",")) if name and name != options.ours]
    settings = _settings(options.settings)
    for name in (*names, options.ours):
        _model(name, settings, options.horizon_days)
    baskets = _read(options)
    dataset = baskets.dataset.as_of(baskets.dataset.end_s - options.cut_back * DAY_S)
    cases = questions(dataset, options.horizon_days)
    judged: dict[str, dict[str, Judgement]] = {question: {} for question in cases}
    for name in (*names, options.ours):
        print(f"{name} ...", file=sys.stderr, flush=True)
        model = _model(name, settings, options.horizon_days)
        rows = _fit_and_judge(model, name, cases, judged)
        for question, row in rows.items():
            if name == options.ours:
                row |= _lifts(judged[question], name)
            facts = _facts(baskets, dataset, cases[question], options)
            say({"data": baskets.name, "question": question, "model": name, **row, **facts}, options)


def _settings(text: str) -> dict[str, dict[str, Any]]:
    try:
        settings = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"--settings is not JSON: {error}") from error
    if not isinstance(settings, dict) or not all(isinstance(value, dict) for value in settings.values()):
        raise InputError(f"--settings must map models to settings, got {text[:80]}")
    return settings


def _model(name: str, settings: dict[str, dict[str, Any]], horizon_days: float) -> Any:
    """An unfitted model; raises InputError for a name or a setting that there is none of."""
    if name == "tifu_knn":
        return Peer(horizon_days)
    kind, usual = NAMED.get(name, (name, {}))
    if kind not in REGISTRY:
        raise InputError(f"unknown model {name!r}; allowed: {', '.join([*NAMED, 'tifu_knn', *REGISTRY])}")
    try:
        return model_class(kind)(**usual | settings.get(name, {}))
    except TypeError as error:
        raise InputError(f"settings of {name}: {error}") from error


def _read(options: argparse.Namespace) -> Baskets:
    told = {
        "user_id": options.user, "item_id": options.item, "timestamp": options.time,
        "quantity": options.quantity, "price": options.price, "session_id": options.basket,
    }  # fmt: skip
    columns = {ours: theirs for ours, theirs in told.items() if theirs}
    if options.shop:
        if columns:
            raise InputError(
                "the demonstration's shop has columns of its own; leave out the options of columns"
            )
        return of_shop()
    return of_file(options.data, columns)


class Peer:
    """TIFU-kNN as a model: settings chosen on the last horizon of what it may learn from."""

    name = "tifu_knn"

    def __init__(self, horizon_days: float) -> None:
        self.horizon_days = horizon_days
        self.chosen = Settings()
        self.decays: tuple[float, ...] = ()

    def fit(self, dataset: Dataset) -> Peer:
        """Choose the settings, then know all users of `dataset`."""
        try:
            case = questions(dataset, self.horizon_days)["horizon"]
        except InputError:  # too short for a validation horizon: the authors' settings
            self._know(dataset, self.chosen)
            return self
        if len(case) > JUDGES:
            rows = np.sort(np.random.default_rng(0).permutation(len(case))[:JUDGES])
            case = only(case, rows)

        def figure(tried: Settings) -> float:
            self._know(case.train, tried)
            return judge(self, case, (10,)).mean("ndcg@10")

        self.chosen, _ = search(figure)
        self._know(dataset, self.chosen)
        return self

    def _know(self, dataset: Dataset, given: Settings) -> None:
        everyone = dataset.histories()
        known = np.flatnonzero(everyone.lengths > 0)
        self.row_of = np.full(dataset.n_users, -1, np.int64)
        self.row_of[known] = np.arange(len(known))
        self.n_items = dataset.n_items
        decays = (given.group_size, given.within, given.between, dataset.end_s)
        if decays != self.decays:  # as before where only the neighbours or their share changed
            self.decays, self.table = decays, self._table(everyone.select(known), given)
        self.model = TifuKnn(self.table, given)

    def _table(self, histories: Histories, given: Settings) -> Any:
        return frequencies(histories.indptr, histories.items, histories.time_s, self.n_items, given)

    def top_k(self, histories: Histories, k: int = 10, *, repeats: bool | None = None) -> Ranked:
        """The best k items of each history; met ones may come back whatever `repeats` says."""
        parts = []
        for batch in histories.batches(256):
            own = np.where(batch.users >= 0, self.row_of[batch.users], -1)
            parts.append(top_k(self.model.scores(self._table(batch, self.model.given), own), k))
        return Ranked.concat(parts, k)


def _fit_and_judge(
    model: Any, name: str, cases: dict[str, Case], judged: dict[str, dict[str, Judgement]]
) -> dict[str, dict[str, Any]]:
    """A row a question; the model is fitted once."""
    train = next(iter(cases.values())).train
    cpu = time.process_time()
    model.fit(train)
    costs = {"fit_cpu_s": round(time.process_time() - cpu, 1)}
    rows = {}
    for question, case in cases.items():
        found = judged[question][name] = judge(model, case, (5, 10, 20), name=name)
        rows[question] = {figure: round(found.mean(figure), 5) for figure in FIGURES} | {
            "ndcg@10_interval": _bounds(found.interval("ndcg@10"))
        }
    histories = next(iter(cases.values())).histories
    some = range(0, len(histories), max(len(histories) // ALONE, 1))
    cpu = time.process_time()
    for row in some:
        model.top_k(histories.select([row]), 10)
    costs["answer_cpu_ms"] = round(1000 * (time.process_time() - cpu) / len(some), 2)
    costs["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    chosen = getattr(model, "chosen", None)
    said = vars(chosen) if isinstance(chosen, Settings) else getattr(model, "settings", dict)()
    return {question: row | costs | {"settings": said} for question, row in rows.items()}


def _lifts(judged: dict[str, Judgement], ours: str) -> dict[str, Any]:
    """{"lift_ndcg@10": {model: [lift, low, high]}}, paired by user."""
    return {
        f"lift_{figure}": {
            other: _bounds(judged[ours].against(judged[other], figure)[1])
            for other in judged
            if other != ours
        }
        for figure in COMPARED
    }


def _facts(baskets: Baskets, dataset: Dataset, case: Case, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "users": len(case),
        "items": dataset.n_items,
        "events": dataset.n_events,
        "items_a_user": round(float(case.n_true.mean()), 2),
        "rows_without_user_item_or_time": baskets.unnamed,
        "rows_returned": baskets.returned,
        "horizon_days": options.horizon_days,
        "cut_back_days": options.cut_back,
    }


def _bounds(value: Interval) -> list[float | None]:
    """[value, low, high], rounded; None where it is not a number."""
    return [None if np.isnan(v) else round(float(v), 5) for v in (value.value, value.low, value.high)]


def say(row: dict[str, Any], options: argparse.Namespace) -> None:
    """One line on standard output, and one in the results."""
    if not options.no_record:
        row = record("next_basket", row)
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
