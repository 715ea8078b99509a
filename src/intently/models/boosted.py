"""Two-stage prediction: candidates of other models, boosted trees on top, a calibrated probability.

Gradient-boosted trees (LightGBM, Ke et al. 2017) on point-in-time features learn P(target event within
the horizon); two_stage.py makes the tables and calibrates. We differ from the usual two-stage ranker in
that one model gives both the order and the probability: the loss is log loss, not a ranking loss
(measured: the same NDCG, and calibrated), recalibrated on users whom no tree has seen (Platt 1999). And the
trees do not start from a constant but from a linear score of habits (habit_score.py), so that a shop with few
pairs is ranked by what few pairs can teach; log-odds are the sum of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from intently import progress
from intently.data import Histories
from intently.models.base import State
from intently.models.calibration import platt
from intently.models.habit_score import HabitScore
from intently.models.space import Int, Space
from intently.models.tables import Pairs, Table
from intently.models.trees import predicted, prepare
from intently.models.two_stage import TwoStage
from intently.schema import DoubleArray

if TYPE_CHECKING:
    import lightgbm

LEAVES = 31
"""Of one tree; 7, 15 and 63 rank no better (docs/LOG.md)."""


RIDGE = 30.0
"""Penalty on the leaves; without it trees unlearn the score that they start from (docs/LOG.md)."""


class Boosted(TwoStage):
    """Boosted trees over candidates; settings that are not told here are those of `TwoStage`.

    rounds: trees at most; fewer where the held-back users gain nothing from more. text: whether the
    match between texts is a feature (needs dataset.vectors).
    """

    name = "boosted"
    neighbours = True
    SPACE: ClassVar[Space] = {"n_new": Int(10, 60), "rounds": Int(50, 600, log=True)}

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
        super().__init__(inner, horizon_days, cuts, n_new, max_rows, text, target, seed)
        self.rounds = rounds
        self.habit = HabitScore.none()
        self.start: DoubleArray = np.array([1.0, 0.0])  # slope and shift: log-odds of the habit score
        self.booster: lightgbm.Booster | None = None

    # -- learning ------------------------------------------------------------------------------

    def _learn(self, seen: list[Table], held: list[Table]) -> None:
        """Trees on most users, stopped by the rest."""
        import lightgbm

        names = self._ready().names
        labels = np.concatenate([part.labels for part in seen])
        self.habit = HabitScore.learn(seen, names)
        habit = np.concatenate([self.habit.of(part.pairs.features, names) for part in seen])
        self.start = platt(habit, labels)
        first = self.start[0] * habit + self.start[1]
        tables = [part.pairs.features for part in seen]
        train = lightgbm.Dataset(tables, labels, feature_name=names, init_score=first)
        check = np.concatenate([part.pairs.features for part in held])
        check_labels = np.concatenate([part.labels for part in held])
        check_first = np.concatenate([self._first(part.pairs) for part in held])
        valid = lightgbm.Dataset(check, check_labels, reference=train, init_score=check_first)
        settings = {
            "objective": "binary",
            "learning_rate": 0.06,
            "num_leaves": LEAVES,
            "min_data_in_leaf": int(min(100, max(5, len(labels) // 200))),
            "feature_fraction": 0.5,
            "bagging_fraction": 0.7,
            "bagging_freq": 1,
            "lambda_l2": RIDGE,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbose": -1,
        }
        with progress.track("boosting", total=self.rounds) as advance:
            callbacks = [lightgbm.early_stopping(25, verbose=False), lambda _env: advance(1)]
            self.booster = lightgbm.train(settings, train, self.rounds, [valid], callbacks=callbacks)

    # -- answering -----------------------------------------------------------------------------

    def _trees(self) -> lightgbm.Booster:
        assert self.booster is not None  # fit and load both set it
        return self.booster

    def _first(self, pairs: Pairs) -> DoubleArray:
        """(pairs,): what the trees start from."""
        habit = self.habit.of(pairs.features, self._ready().names)
        first: DoubleArray = self.start[1] + self.start[0] * habit
        return first

    def _log_odds(self, pairs: Pairs) -> DoubleArray:
        return self._first(pairs) + predicted(self._trees(), pairs.features)

    def _effects(self, histories: Histories, pairs: Pairs) -> DoubleArray:
        """TreeSHAP, and beside it the parts of the score that the trees start from."""
        shap = self._trees().predict(pairs.features, pred_contrib=True, num_threads=1)
        shap = np.array(shap, np.float64)[:, :-1]
        shap += self.start[0] * self.habit.effects(pairs.features, self._ready().names)
        return shap

    # -- keeping -------------------------------------------------------------------------------

    def _state(self) -> State:
        booster = self._trees()
        text = booster.model_to_string(num_iteration=booster.best_iteration)
        return {
            **super()._state(),
            "trees": np.frombuffer(text.encode(), np.uint8),
            "habit.weights": self.habit.weights,
            "habit.means": self.habit.means,
            "start": self.start,
        }

    def _restore(self, state: State) -> None:
        import lightgbm

        super()._restore(state)
        if "start" in state:  # older models have none
            self.habit = HabitScore(state["habit.weights"], state["habit.means"])
            self.start = state["start"]
        self.booster = lightgbm.Booster(model_str=state["trees"].tobytes().decode())
        prepare(self.booster)
