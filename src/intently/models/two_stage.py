"""What two-stage models share: candidates of other models, a calibrated probability on top.

Training tables are cut at several past moments; each sees only what lay before its cut, and the inner
models are fitted before the earliest one. A subclass learns log-odds from the pairs of most users; the
users that are held back stop its training, calibrate it (Platt 1999) and choose the threshold.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from intently import progress
from intently.data import Dataset, Histories
from intently.data.histories import DAY_S
from intently.errors import InputError
from intently.features import ItemFacts
from intently.models.base import Recommender, State
from intently.models.calibration import best_f1, platt, shift_to, sigmoid
from intently.models.candidates import PairMaker
from intently.models.neighbours import Neighbours
from intently.models.reasons import FAMILIES, Reason, reasons
from intently.models.tables import Pairs, Table, apart, wanted_keys
from intently.schema import EVENT_CODES, BoolArray, DoubleArray, FloatArray, IntArray, LongArray

NEAR_HALF_LIFE_DAYS, NEAREST = 90.0, 50
"""Of what a user is like, and how many near ones count: those of `basket`."""

OUTSIDE_USERS, OUTSIDE_ITEMS = 200, 100
"""Held-back users, and items drawn for each, that say how likely an item is which is no candidate."""


class TwoStage(Recommender):
    """Scores are probabilities; items that are no candidate of a history score -inf.

    inner: model name -> settings of the models that name candidates and lend their scores.
    cuts: training tables, one horizon apart. n_new: unmet candidates from each inner model.
    max_rows: pairs to train on; above it users are drawn at random. text: whether what the catalogue
    says is used (needs dataset.vectors). target: the event whose chance is given; "": the strongest
    one of the fitted data.
    """

    calibrated = True
    neighbours = False  # whether a pair also says how much the nearest users meet the item

    def __init__(
        self,
        inner: Mapping[str, Mapping[str, Any]] | None,
        horizon_days: float,
        cuts: int,
        n_new: int,
        max_rows: int,
        text: bool,
        target: str,
        seed: int,
    ) -> None:
        super().__init__()
        self.inner = {"covisit": {}} if inner is None else {k: dict(v) for k, v in inner.items()}
        self.horizon_days, self.cuts, self.n_new = horizon_days, cuts, n_new
        self.max_rows = max_rows
        if target and target not in EVENT_CODES:
            raise InputError(f"unknown target {target!r}; allowed: {', '.join(EVENT_CODES)}", field="target")
        self.text, self.target, self.seed = text, target, seed
        self.models: dict[str, Recommender] = {}
        self.platt = np.array([1.0, 0.0])
        self.outside = 0.0  # Platt's shift for items that are no candidate
        self.threshold = 0.5
        self.maker: PairMaker | None = None

    # -- what a subclass writes ----------------------------------------------------------------

    @abstractmethod
    def _learn(self, seen: list[Table], held: list[Table]) -> None:
        """Learn log-odds from `seen`, stop by `held`; both have pairs, `seen` both labels."""

    @abstractmethod
    def _log_odds(self, pairs: Pairs) -> DoubleArray:
        """(pairs,) before calibration."""

    @abstractmethod
    def _effects(self, histories: Histories, pairs: Pairs) -> DoubleArray:
        """(pairs, columns): what each column adds to each pair's log-odds."""

    def _profiles(self, histories: Histories) -> FloatArray:
        """(batch, width): what `Pairs.profiles` holds."""
        return np.zeros((len(histories), 0), np.float32)

    # -- learning ------------------------------------------------------------------------------

    def _fit(self, dataset: Dataset) -> None:
        earliest = dataset.end_s - self.cuts * self.horizon_days * DAY_S
        past = dataset.as_of(earliest)
        if not dataset.timed or past.n_events == 0:
            days = (dataset.end_s - dataset.start_s) / DAY_S
            raise InputError(
                f"{self.name} needs {self.cuts} horizons of {self.horizon_days:g} days to learn from and some"
                f" history before them; the data spans {days:.0f} days",
                hint="use fewer cuts, a shorter horizon_days, or the model 'blend'",
            )
        self.models = self._fit_inner(past)
        target = self.target or dataset.target  # decided once: a slice may lack the shop's target
        tables = [part for cut in range(self.cuts) for part in self._table(dataset, cut, target)]
        seen, held = apart(tables, self.seed)
        labels = np.concatenate([part.labels for part in seen])
        if not 0 < labels.sum() < len(labels):
            raise InputError("no user met any candidate within the horizon: nothing to learn from")
        held_users = np.unique(np.concatenate([part.users for part in held]))
        self._learn(seen, held)
        self._calibrate(held)
        self._calibrate_outside(dataset, held_users, target)
        self._bring(dataset)

    def refresh(self, dataset: Dataset) -> None:
        """Bring the counters to the end of `dataset`; what was learned stays as fitted.

        For publishing: what was judged on the last horizon then answers from today's counts. `dataset`
        must have the ids of the one that was fitted.
        """
        if not self.fitted or dataset.n_items != self.n_items:
            raise InputError(f"refresh needs the fitted shop's {self.n_items} items, got {dataset.n_items}")
        self._bring(dataset)

    def _bring(self, past: Dataset) -> None:
        """Counters as of the end of `past`, those of inner models too where they can be had without a fit."""
        for model in self.models.values():
            refresh = getattr(model, "refresh", None)
            if refresh is not None:
                refresh(past)
        self._prepare(past, ItemFacts.of(past))

    def _fit_inner(self, past: Dataset) -> dict[str, Recommender]:
        from intently.models import model_class

        fitted = {}
        with progress.track("fitting inner models", total=len(self.inner)) as advance:
            for name, settings in self.inner.items():
                with progress.part(name):
                    fitted[name] = model_class(name)(**settings).fit(past, self._start)
                advance(1)
        return fitted

    def _prepare(self, dataset: Dataset, facts: ItemFacts) -> None:
        popular = np.argsort(-facts.facts[:, 1], kind="stable")[:1000].astype(np.int32)
        vectors = None
        if self.text and dataset.vectors is not None:  # rounded as they are saved: same answers after load
            vectors = dataset.vectors.astype(np.float16).astype(np.float32)
        near = None
        if self.neighbours:
            everyone = dataset.histories()
            near = Neighbours.of(everyone, dataset.n_items, NEAR_HALF_LIFE_DAYS, NEAREST, self.seed)
        self.maker = PairMaker(self.models, facts, popular, vectors, self.n_new, near)

    def _table(self, dataset: Dataset, cut: int, target: str) -> list[Table]:
        """Pairs as of the cut, labelled by the horizon after it; cut 0 is the latest."""
        at_s = dataset.end_s - (cut + 1) * self.horizon_days * DAY_S
        past, rest = dataset.split_at(at_s)
        future = rest.as_of(at_s + self.horizon_days * DAY_S)
        everyone = past.histories(at=at_s)
        users = np.flatnonzero(everyone.lengths > 0)
        met = past.events.select("user", "item").n_unique()
        pairs = met + 0.8 * len(users) * self.n_new * (len(self.models) + 1)
        share = min(1.0, self.max_rows / self.cuts / max(pairs, 1.0))
        random = np.random.default_rng([self.seed, cut])
        users = np.sort(random.permutation(users)[: max(int(len(users) * share), 1)])
        self._bring(past)
        wanted = wanted_keys(future, dataset.n_items, target)
        parts: list[Table] = []
        with progress.track(f"features {cut + 1}/{self.cuts}", total=len(users)) as advance:
            for batch in everyone.select(users).batches(256):
                found = self._pairs(batch)
                who = batch.users[found.rows].astype(np.int64)
                labels = np.isin(who * dataset.n_items + found.items, wanted)
                parts.append(Table(found, who, labels.astype(np.float32)))
                advance(len(batch))
        return parts

    def _calibrate(self, held: list[Table]) -> None:
        """Platt's curve and the threshold of the best F1, on pairs that nothing was learned from."""
        raw = np.concatenate([self._log_odds(part.pairs) for part in held])
        labels = np.concatenate([part.labels for part in held])
        self.platt = platt(raw, labels)
        self.threshold = best_f1(sigmoid(raw * self.platt[0] + self.platt[1]), labels)

    def _calibrate_outside(self, dataset: Dataset, users: LongArray, target: str) -> None:
        """Another shift where an item is no candidate, as no such pair was learned from.

        The mean chance becomes the share of these pairs that came true for held-back users in the last
        horizon: all that came true are counted, against a sample of all the others.
        """
        at_s = dataset.end_s - self.horizon_days * DAY_S
        past, future = dataset.split_at(at_s)
        self._bring(past)
        random = np.random.default_rng([self.seed, self.cuts])
        asked = past.histories(random.permutation(users)[:OUTSIDE_USERS], at=at_s)
        wanted = wanted_keys(future, dataset.n_items, target)
        raw, happened, cells = [], 0, 0
        for batch in asked.batches(256):
            listed = self._pairs(batch)
            free = np.ones((len(batch), dataset.n_items), bool)
            free[listed.rows, listed.items] = False
            drawn = [random.permutation(np.flatnonzero(row))[:OUTSIDE_ITEMS].tolist() for row in free]
            if any(drawn):
                raw.append(self._log_odds(self._pairs(batch, drawn)))
            row_of = np.full(dataset.n_users, -1, np.int64)
            row_of[batch.users] = np.arange(len(batch))
            rows = row_of[wanted // dataset.n_items]
            happened += int(free[rows, wanted % dataset.n_items][rows >= 0].sum())
            cells += int(free.sum())
        share = (happened + 0.5) / (cells + 1.0)
        odds = self.platt[0] * np.concatenate(raw) if raw else None
        self.outside = float(self.platt[1]) if odds is None else shift_to(share, odds)

    # -- answering -----------------------------------------------------------------------------

    def _ready(self) -> PairMaker:
        assert self.maker is not None  # fit and load both set it
        return self.maker

    def _pairs(self, histories: Histories, items: Sequence[Sequence[int]] | None = None) -> Pairs:
        """Candidates of each history, or exactly `items` where they are given."""
        rows, chosen, listed, features = self._ready().make(histories, items)
        return Pairs(rows, chosen, listed, features, self._profiles(histories))

    def _probabilities(self, pairs: Pairs) -> FloatArray:
        shift = np.where(pairs.listed, self.platt[1], self.outside)
        return sigmoid(self._log_odds(pairs) * self.platt[0] + shift).astype(np.float32)

    def _scores(self, histories: Histories) -> FloatArray:
        out = np.full((len(histories), self.n_items), -np.inf, np.float32)
        pairs = self._pairs(histories)
        if len(pairs):
            out[pairs.rows, pairs.items] = self._probabilities(pairs)
        return out

    def probability(self, histories: Histories, items: Sequence[Sequence[int]]) -> list[FloatArray]:
        """P(target event within the horizon) of each row's items, any item of the catalogue."""
        self.scores(histories.select([]))  # refuses before fit
        pairs = self._pairs(histories, items)
        values = self._probabilities(pairs) if len(pairs) else np.zeros(0, np.float32)
        return np.split(values, np.cumsum([len(row) for row in items])[:-1])

    def reasons(self, histories: Histories, items: Sequence[int], most: int = 3) -> list[list[Reason]]:
        """What raised each item's probability for the one history in the batch, strongest first."""
        self.scores(histories.select([]))
        if not len(items):
            return []
        pairs = self._pairs(histories, [list(items)])
        effects, names = self._effects(histories, pairs), self._ready().names
        bought = bool((histories.events == EVENT_CODES["purchase"]).all())
        return [reasons(names, row, effects[i], most, bought) for i, row in enumerate(pairs.features)]

    def chance_without(self, history: Histories, item: int, code: str) -> float | None:
        """The item's probability with one family of evidence as weak as it is among the candidates.

        history: of one user. code: a family of reasons.py; None where the model has no column of it.
        """
        names = self._ready().names
        columns = [i for i, name in enumerate(names) if name.startswith(FAMILIES.get(code, ()))]
        others, pair = self._pairs(history), self._pairs(history, [[item]])
        if not columns or not len(others):
            return None
        weakest = int(np.argmin(self._effects(history, others)[:, columns].sum(axis=1)))
        features = pair.features.copy()
        features[0, columns] = others.features[weakest, columns]
        return float(self._probabilities(replace(pair, features=features))[0])

    def kin(self, items: IntArray, item: int) -> BoolArray:
        """Which of `items` share the finest category of `item`."""
        levels = self._ready().facts.levels
        if not len(levels):
            return np.zeros(len(items), bool)
        same: BoolArray = levels[-1][items] == levels[-1][item]
        return same

    # -- keeping -------------------------------------------------------------------------------

    def _state(self) -> State:
        maker = self._ready()
        state: dict[str, np.ndarray[Any, Any]] = {
            "platt": self.platt,
            "outside": np.array([self.outside]),
            "threshold": np.array([self.threshold]),
            "facts": maker.facts.facts,
            "levels": maker.facts.levels,
            "level_sizes": np.array(maker.facts.level_sizes, np.int64),
            "popular": maker.popular,
        }
        if maker.vectors is not None:
            state["vectors"] = maker.vectors.astype(np.float16)
        if maker.near is not None:
            state |= {f"near.{name}": value for name, value in maker.near.state().items()}
        return state

    def _restore(self, state: State) -> None:
        self.platt, self.threshold = state["platt"], float(state["threshold"][0])
        self.outside = float(state.get("outside", self.platt[1:])[0])  # older models have none
        sizes = tuple(int(size) for size in state["level_sizes"])
        facts = ItemFacts(state["facts"], state["levels"], sizes)
        vectors = state["vectors"].astype(np.float32) if "vectors" in state else None
        told = {name[5:]: value for name, value in state.items() if name.startswith("near.")}
        near = Neighbours.restored(told, len(facts.facts), NEAR_HALF_LIFE_DAYS, NEAREST) if told else None
        self.maker = PairMaker(self.models, facts, state["popular"], vectors, self.n_new, near)

    def save(self, folder: Path) -> None:
        """Write this model and, under inner/, the models it draws on."""
        super().save(folder)
        for name, model in self.models.items():
            model.save(folder / "inner" / name)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The model that `save` wrote, with its inner models."""
        from intently.models import model_class

        model = super().load(folder)
        model.models = {name: model_class(name).load(folder / "inner" / name) for name in model.inner}
        model._ready().inner = model.models
        return model
