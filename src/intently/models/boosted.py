"""Two-stage prediction: candidates of other models, boosted trees on top, a calibrated probability.

Gradient-boosted trees (LightGBM, Ke et al. 2017) on point-in-time features learn P(target event within
the horizon). Training tables are cut at several past moments; each sees only what lay before its cut,
and the inner models are fitted before the earliest one. We differ from the usual two-stage ranker in
that one model gives both the order and the probability: the loss is log loss, not a ranking loss
(measured: the same NDCG, and calibrated), recalibrated on users whom no tree has seen (Platt 1999).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.optimize import minimize

from intently import progress
from intently.data import Dataset, Histories
from intently.data.histories import DAY_S
from intently.errors import InputError
from intently.features import ItemFacts
from intently.models.base import Recommender, State
from intently.models.candidates import PairMaker
from intently.models.reasons import Reason, reasons
from intently.schema import EVENT_CODES, DoubleArray, FloatArray, LongArray

if TYPE_CHECKING:
    import lightgbm

Table = tuple[LongArray, FloatArray, FloatArray]  # users, features, labels of one batch of users
FEW_ROWS = 20_000
"""Pairs below which one thread predicts them all."""

LEAVES = 31
"""Of one tree; 7, 15 and 63 rank no better (docs/LOG.md)."""

HELD_SHARE = 0.1
"""Users kept from the trees, for early stopping and for the calibration."""


class Boosted(Recommender):
    """Scores are probabilities; items that are no candidate of a history score -inf.

    inner: model name -> settings of the models that name candidates and lend their scores.
    cuts: training tables, one horizon apart. n_new: unmet candidates from each inner model.
    max_rows: pairs to train on; above it users are drawn at random. text: whether the match between
    texts is a feature (needs dataset.vectors). target: the event whose chance is given; "": the
    strongest one of the fitted data.
    """

    name = "boosted"
    calibrated = True

    def __init__(
        self,
        inner: Mapping[str, Mapping[str, Any]] | None = None,
        horizon_days: float = 28.0,
        cuts: int = 3,
        n_new: int = 20,
        rounds: int = 200,
        max_rows: int = 1_500_000,
        text: bool = True,
        target: str = "",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.inner = {"covisit": {}} if inner is None else {k: dict(v) for k, v in inner.items()}
        self.horizon_days, self.cuts, self.n_new = horizon_days, cuts, n_new
        self.rounds, self.max_rows = rounds, max_rows
        if target and target not in EVENT_CODES:
            raise InputError(f"unknown target {target!r}; allowed: {', '.join(EVENT_CODES)}", field="target")
        self.text, self.target, self.seed = text, target, seed
        self.models: dict[str, Recommender] = {}
        self.platt = np.array([1.0, 0.0])
        self.threshold = 0.5
        self.maker: PairMaker | None = None
        self.booster: lightgbm.Booster | None = None

    # -- learning ------------------------------------------------------------------------------

    def _fit(self, dataset: Dataset) -> None:
        earliest = dataset.end_s - self.cuts * self.horizon_days * DAY_S
        past = dataset.as_of(earliest)
        if not dataset.timed or past.n_events == 0:
            days = (dataset.end_s - dataset.start_s) / DAY_S
            raise InputError(
                f"boosted needs {self.cuts} horizons of {self.horizon_days:g} days to learn from and some"
                f" history before them; the data spans {days:.0f} days",
                hint="use fewer cuts, a shorter horizon_days, or the model 'blend'",
            )
        self.models = self._fit_inner(past)
        target = self.target or dataset.target  # decided once: a slice may lack the shop's target
        tables = [part for cut in range(self.cuts) for part in self._table(dataset, cut, target)]
        self._boost(tables)
        self._prepare(dataset, ItemFacts.of(dataset))

    def refresh(self, dataset: Dataset) -> None:
        """Bring the counters to the end of `dataset`; trees and inner models stay as fitted.

        For publishing: what was judged on the last horizon then answers from today's counts. `dataset`
        must have the ids of the one that was fitted.
        """
        if not self.fitted or dataset.n_items != self.n_items:
            raise InputError(f"refresh needs the fitted shop's {self.n_items} items, got {dataset.n_items}")
        self._prepare(dataset, ItemFacts.of(dataset))

    def _fit_inner(self, past: Dataset) -> dict[str, Recommender]:
        from intently.models import model_class

        fitted = {}
        with progress.track("fitting inner models", total=len(self.inner)) as advance:
            for name, settings in self.inner.items():
                fitted[name] = model_class(name)(**settings).fit(past)
                advance(1)
        return fitted

    def _prepare(self, dataset: Dataset, facts: ItemFacts) -> None:
        popular = np.argsort(-facts.facts[:, 1], kind="stable")[:1000].astype(np.int32)
        vectors = None
        if self.text and dataset.vectors is not None:  # rounded as they are saved: same answers after load
            vectors = dataset.vectors.astype(np.float16).astype(np.float32)
        self.maker = PairMaker(self.models, facts, popular, vectors, self.n_new)

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
        self._prepare(dataset, ItemFacts.of(past))
        maker = self._ready()[0]
        wanted = _pairs(future, dataset.n_items, target)
        parts: list[Table] = []
        with progress.track(f"features {cut + 1}/{self.cuts}", total=len(users)) as advance:
            for batch in everyone.select(users).batches(256):
                rows, items, table = maker.make(batch)
                who = batch.users[rows].astype(np.int64)
                labels = np.isin(who * dataset.n_items + items, wanted)
                parts.append((who, table, labels.astype(np.float32)))
                advance(len(batch))
        return parts

    def _boost(self, tables: list[Table]) -> None:
        """Trees on most users, calibration on the rest; `tables` is emptied as it is read."""
        import lightgbm

        users = np.unique(np.concatenate([who for who, _, _ in tables]))
        held_users = _some(users, HELD_SHARE, self.seed) if len(users) > 1 else users[:0]
        seen, held = _apart(tables, held_users)
        if len(held[1]) == 0:
            held = seen  # a handful of users: better calibrated on the trees' own than not at all
        names, labels = self._names(), np.concatenate(seen[1])
        if not 0 < labels.sum() < len(labels):
            raise InputError("no user met any candidate within the horizon: nothing to learn from")
        train = lightgbm.Dataset(seen[0], labels, feature_name=names)
        check, check_labels = np.concatenate(held[0]), np.concatenate(held[1])
        valid = lightgbm.Dataset(check, check_labels, reference=train)
        settings = {
            "objective": "binary",
            "learning_rate": 0.06,
            "num_leaves": LEAVES,
            "min_data_in_leaf": int(min(100, max(5, len(labels) // 200))),
            "feature_fraction": 0.5,
            "bagging_fraction": 0.7,
            "bagging_freq": 1,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbose": -1,
        }
        with progress.track("boosting", total=self.rounds) as advance:
            callbacks = [lightgbm.early_stopping(25, verbose=False), lambda _env: advance(1)]
            self.booster = lightgbm.train(settings, train, self.rounds, [valid], callbacks=callbacks)
        raw = np.asarray(self.booster.predict(check, raw_score=True), np.float64)
        self.platt = platt(raw, check_labels)
        self.threshold = _best_threshold(sigmoid(raw * self.platt[0] + self.platt[1]), check_labels)

    # -- answering -----------------------------------------------------------------------------

    def _ready(self) -> tuple[PairMaker, lightgbm.Booster | None]:
        assert self.maker is not None  # fit and load both set it
        return self.maker, self.booster

    def _names(self) -> list[str]:
        return self._ready()[0].names

    def _probabilities(self, table: FloatArray) -> FloatArray:
        booster = self._ready()[1]
        assert booster is not None
        threads = 1 if len(table) < FEW_ROWS else 0  # waking threads costs more than a list's worth of rows
        raw = np.asarray(booster.predict(table, raw_score=True, num_threads=threads), np.float64)
        return sigmoid(raw * self.platt[0] + self.platt[1]).astype(np.float32)

    def _scores(self, histories: Histories) -> FloatArray:
        out = np.full((len(histories), self.n_items), -np.inf, np.float32)
        rows, items, table = self._ready()[0].make(histories)
        if len(rows):
            out[rows, items] = self._probabilities(table)
        return out

    def probability(self, histories: Histories, items: Sequence[Sequence[int]]) -> list[FloatArray]:
        """P(target event within the horizon) of each row's items, any item of the catalogue."""
        self.scores(histories.select([]))  # refuses before fit
        rows, _, table = self._ready()[0].make(histories, items)
        values = self._probabilities(table) if len(rows) else np.zeros(0, np.float32)
        return np.split(values, np.cumsum([len(row) for row in items])[:-1])

    def reasons(self, histories: Histories, items: Sequence[int], most: int = 3) -> list[list[Reason]]:
        """What raised each item's probability for the one history in the batch, strongest first."""
        self.scores(histories.select([]))
        if not len(items):
            return []
        maker, booster = self._ready()
        assert booster is not None
        _, _, table = maker.make(histories, [list(items)])
        shap = np.asarray(booster.predict(table, pred_contrib=True, num_threads=1), np.float64)
        bought = bool((histories.events == EVENT_CODES["purchase"]).all())
        return [reasons(maker.names, row, shap[i, :-1], most, bought) for i, row in enumerate(table)]

    # -- keeping -------------------------------------------------------------------------------

    def _state(self) -> State:
        maker, booster = self._ready()
        assert booster is not None
        text = booster.model_to_string(num_iteration=booster.best_iteration)
        state: dict[str, np.ndarray[Any, Any]] = {
            "trees": np.frombuffer(text.encode(), np.uint8),
            "platt": self.platt,
            "threshold": np.array([self.threshold]),
            "facts": maker.facts.facts,
            "levels": maker.facts.levels,
            "level_sizes": np.array(maker.facts.level_sizes, np.int64),
            "popular": maker.popular,
        }
        if maker.vectors is not None:
            state["vectors"] = maker.vectors.astype(np.float16)
        return state

    def _restore(self, state: State) -> None:
        import lightgbm

        self.booster = lightgbm.Booster(model_str=state["trees"].tobytes().decode())
        self.platt, self.threshold = state["platt"], float(state["threshold"][0])
        sizes = tuple(int(size) for size in state["level_sizes"])
        facts = ItemFacts(state["facts"], state["levels"], sizes)
        vectors = state["vectors"].astype(np.float32) if "vectors" in state else None
        self.maker = PairMaker(self.models, facts, state["popular"], vectors, self.n_new)

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
        assert model.maker is not None
        model.maker.inner = model.models
        return model


def platt(raw: DoubleArray, labels: FloatArray) -> DoubleArray:
    """(slope, shift) of the logistic curve that makes raw scores probabilities; slope stays above 0.

    Platt (1999), with his smoothed targets; we keep the slope within [0.2, 5] so that the order stays.
    """
    up, down = float(labels.sum()), float(len(labels) - labels.sum())
    target = np.where(labels > 0, (up + 1) / (up + 2), 1 / (down + 2))

    def loss(at: DoubleArray) -> tuple[float, DoubleArray]:
        z = at[0] * raw + at[1]
        gap = sigmoid(z) - target
        value = float(np.mean(np.logaddexp(0.0, z) - target * z))
        return value, np.array([np.mean(gap * raw), np.mean(gap)])

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.2, 5), (-5, 5)])
    return np.asarray(found.x, np.float64)


def sigmoid(z: DoubleArray) -> DoubleArray:
    """1 / (1 + exp(-z)) without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)), np.float64)


def _pairs(future: Dataset, n_items: int, target: str) -> LongArray:
    indptr, items = future.baskets(target)
    return np.repeat(np.arange(len(indptr) - 1, dtype=np.int64), np.diff(indptr)) * n_items + items


def _apart(
    tables: list[Table], held_users: LongArray
) -> tuple[tuple[list[FloatArray], list[FloatArray]], tuple[list[FloatArray], list[FloatArray]]]:
    """(features, labels) of the other users and of the held ones, batch by batch, to save memory."""
    seen: tuple[list[FloatArray], list[FloatArray]] = ([], [])
    held: tuple[list[FloatArray], list[FloatArray]] = ([], [])
    while tables:
        who, features, labels = tables.pop(0)
        kept = np.isin(who, held_users)
        for part, mask in ((seen, ~kept), (held, kept)):
            if mask.any():
                part[0].append(features[mask])
                part[1].append(labels[mask])
    return seen, held


def _some(users: LongArray, share: float, seed: int) -> LongArray:
    return np.random.default_rng(seed).permutation(users)[: int(len(users) * share)]


def _best_threshold(probabilities: DoubleArray, labels: FloatArray) -> float:
    """The probability above which saying yes gives the best F1."""
    order = np.argsort(-probabilities)
    hits = np.cumsum(labels[order])
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + max(float(labels.sum()), 1.0))
    return float(probabilities[order[int(np.argmax(f1))]])
