"""A logged answer, made again as of its moment.

The same code runs: an engine is opened over the shop's events up to the row that counted, with the version
that answered, the rules of then and the shop's clock stopped at the moment; what this user had been shown is
read from the log. Taken from the log rather than made again are what was drawn at random and the order that
the online layer had learned by then. The catalogue is the present one: a list that differs says so.

The engine lives in a folder of its own: nothing of the shop is written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import orjson
import polars as pl

from intently import artifact
from intently.config import Settings
from intently.errors import UnknownIdError
from intently.schema import BoolArray, DoubleArray, IntArray
from intently.serving.answer import explored
from intently.serving.answer.draft import Draft
from intently.serving.answer.recommend import make, scenario_of
from intently.serving.decisions.file import Reader
from intently.serving.decisions.record import Logged, checksum
from intently.serving.online.bandit import KEEP, Drawn
from intently.serving.online.features import Question
from intently.serving.online.online import Ranked
from intently.serving.rules.book import FORMAT
from intently.serving.shapes.answers import Arm, RecommendationRequest
from intently.serving.state.clock import ShopClock
from intently.serving.state.engine import Engine
from intently.serving.state.model import Standing
from intently.serving.state.newcomers import HasAll, Newcomers
from intently.store import EventStore, open_store

YEAR_S = 365 * 86_400.0


@dataclass(frozen=True)
class Replayed:
    """same: whether the shown list came out again; same_candidates: whether all candidates did, in order.

    largest_gap: between scores of candidates that are in both. notes: what may have made a difference.
    """

    recommendation_id: str
    same: bool
    same_candidates: bool
    largest_gap: float
    logged: list[str]
    replayed: list[str]
    notes: list[str]


def replay(settings: Settings, name: str) -> Replayed:
    """Ask again what an answer was asked. Raises UnknownIdError, or ArtifactError without its version."""
    reader = Reader(settings.decisions_path)
    pages = reader.find(name)
    if not pages or pages[0].start:
        hint = f"they are kept for {settings.decisions_days:g} days"
        raise UnknownIdError("no decision of this id is kept", hint=hint, field="recommendation_id")
    one, ids = pages[0], reader.names(pages[0].era)
    with as_of(settings, one, reader) as engine:
        request = RecommendationRequest.model_validate(one.request)
        context = request.context
        view = engine.ask(request.user_id, request.session_id, context.item_ids, context.cart)
        arm = Arm(**one.facts["experiment"]) if "experiment" in one.facts else None
        scenario = engine.experiments.under(scenario_of(engine, request.scenario), arm)
        draft = Draft(view, request, scenario, one.facts["n"], arm)
        make(engine, draft)
        explored.explore(engine, draft, name)
        return _compared(one, [ids[number] for number in one.numbers], draft, engine)


@contextmanager
def as_of(settings: Settings, one: Logged, reader: Reader) -> Iterator[Engine]:
    """An engine as the one was that made a decision; it is never started."""
    row, _began_s = reader.era(one.era)
    slots = _slots(one)
    with tempfile.TemporaryDirectory(prefix="intently-replay-") as folder:
        home = Path(folder)
        said = {"format": FORMAT, "version": one.facts.get("rules_version", 0), "rules": one.rules}
        (home / "rules.json").write_bytes(orjson.dumps(said))
        there = settings.model_copy(
            update={
                "home": home,
                "redis": "",
                "workers": 1,
                "explore_share": 0.5 if slots else 0.0,
                "explore_slots": max(slots, 1),
            }
        )
        past = PastStore(open_store(settings.store_place), row)
        engine = Engine(there, cast(EventStore, past))
        try:
            _bring_up(engine, past, settings, one, reader.names(one.era))
            _shown_before(engine, one, reader)
            yield engine
        finally:
            engine.decisions.stop()
            engine.receipts.close()
            engine.store.close()


class PastStore:
    """A shop's events up to a row, as they were read when the service that is replayed began.

    until: moved on when the events after the beginning are read. Everything else is the store's own.
    """

    def __init__(self, store: EventStore, until: int) -> None:
        self._store, self.until = store, until

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def events_since(self, row: int) -> pl.DataFrame:
        """See EventStore.events_since."""
        return self._store.events_since(row).filter(pl.col("row") <= self.until)

    def last_row(self) -> int:
        """See EventStore.last_row."""
        return min(self._store.last_row(), self.until)


def _bring_up(engine: Engine, past: PastStore, settings: Settings, one: Logged, ids: list[str]) -> None:
    """From the start of its run to the moment: version, events one by one, clock, what was drawn."""
    version = one.facts.get("model_version", "")
    if version:
        made = artifact.load(settings.artifacts / version)
        engine.catalogue.learn(made.item_table, over=False)
        engine.live.current = Standing(made, engine.memory.items)
    engine.clock = ShopClock(None, wall=lambda: one.at_s)
    engine.memory.watch = None  # what the online layer had learned comes from the log
    recorded = Recorded(engine, one, ids)
    engine.online = recorded  # type: ignore[assignment]
    engine.newcomers = Newcomers(settings, engine.catalogue, engine.live)  # reads the shop's own vectors
    engine.newcomers.scores = recorded.newcomers  # type: ignore[method-assign]
    began, past.until = past.until, one.row
    late = past.events_since(began)
    columns = ("user_id", "item_id", "event", "time_s", "session_id")
    engine.memory.add_all(*(late[name].to_list() for name in columns))


def _shown_before(engine: Engine, one: Logged, reader: Reader) -> None:
    """What this person was shown earlier in the same run."""
    if not one.who:
        return
    ids = reader.names(one.era)
    for earlier in reader.shown_before(one, one.at_s - YEAR_S):
        numbers = [engine.memory.items.get(ids[number]) for number in earlier.numbers[: earlier.shown]]
        engine.served.note(one.who, np.array([n for n in numbers if n >= 0], np.int32), earlier.at_s)


class Recorded:
    """The online parts as they spoke then: what was learned and drawn, read from a decision.

    Stands where the engine has `online`, its explorer, and the scores of newcomers.
    """

    def __init__(self, engine: Engine, one: Logged, ids: list[str]) -> None:
        self._one, self.explorer = one, self
        self._numbers = engine.memory.items.add_all(ids[number] for number in one.numbers)
        self._score = dict(zip(self._numbers.tolist(), one.scores.tolist(), strict=True))

    def wants(self, _user: int, _at_s: float, _model: str) -> bool:
        """Whether an order was learned by then."""
        return "learned" in self._one.facts

    def rank(self, _user: int, asked: Question) -> Ranked | None:
        """The order of the head that was learned by then, None where there was none."""
        order = self._one.facts.get("learned")
        if order is None or len(order) != len(asked.candidates):
            return None
        at = np.array(order, np.int64)
        kept = np.sort(asked.scores)[::-1]
        scores = [self._score.get(int(n), float(kept[i])) for i, n in enumerate(asked.candidates[at])]
        return Ranked(at, np.array(scores))

    def draw(self, _pool: IntArray, _free: BoolArray, _seed: str, slots: int) -> list[Drawn]:
        """What stood in the last places of the page, and how likely it was."""
        first = self._one.shown - slots
        return [
            Drawn(
                int(self._numbers[place]) if self._one.sources[place] == "explore" else KEEP,
                float(self._one.propensity[place]),
            )
            for place in range(first, self._one.shown)
        ]

    def shown(self, _user: int, _item: int, _stood: int, _at_s: float) -> None:
        """Nothing is learned from a replay."""

    def newcomers(
        self, standing: Standing, judged: HasAll, allowed: BoolArray
    ) -> tuple[IntArray, DoubleArray]:
        """Items that the version had never seen, and the scores that they were given."""
        del standing, judged  # what they said is in the log
        chosen = np.array([source == "new" for source in self._one.sources], bool)
        chosen &= allowed[self._numbers]
        return self._numbers[chosen], self._one.scores[chosen]


def _slots(one: Logged) -> int:
    """Last places of the page that were drawn at random."""
    drawn = [
        place for place in range(one.shown) if one.sources[place] == "explore" or one.propensity[place] != 1.0
    ]
    return one.shown - drawn[0] if drawn else 0


def _compared(one: Logged, logged: list[str], draft: Draft, engine: Engine) -> Replayed:
    names = engine.memory.items.ids
    replayed = [names[number] for number in draft.numbers.tolist()]
    scores = dict(zip(replayed, draft.scores.tolist(), strict=True))
    gaps = [
        abs(scores[item] - score)
        for item, score in zip(logged, one.scores.tolist(), strict=True)
        if item in scores and np.isfinite(score) and np.isfinite(scores[item])
    ]
    shown = logged[: one.shown]
    return Replayed(
        recommendation_id=one.id,
        same=replayed[: one.shown] == shown,
        same_candidates=replayed == logged,
        largest_gap=max(gaps, default=0.0),
        logged=shown,
        replayed=replayed[: one.shown],
        notes=_notes(one, draft, replayed == logged),
    )


def _notes(one: Logged, draft: Draft, same: bool) -> list[str]:
    """What may have made a difference."""
    times = draft.view.deeds.time_s
    notes = []
    if len(times) != one.n_history or checksum(times) != one.history:
        notes.append(
            f"the user's history cannot be made again: {one.n_history} events then, {len(times)} found"
        )
    if not same and not notes:
        notes.append("attributes of items and the settings are those of now: they may have changed since")
    return notes
