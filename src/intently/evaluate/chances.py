"""How well one model's probabilities hold on a `Case`: each figure with its interval over users.

Judged are the pairs that the model itself puts forward, all candidates up to `PAIRS` a user: those are the
probabilities anyone gets to see. A true item that is not among them is no pair here; `reached` says
how much of the truth the pairs hold. Asked are all users with a history, also those who then bought
nothing: to judge a chance only on those who came back would call every honest one too low. Strangers are
known only because they came, so they are not asked. Of many users, MOST_USERS are drawn at random.

Every figure but the AUC is a ratio of sums over pairs, so a user is one row of sums, a bootstrap draw
is one weighting of those rows, and a thousand draws are one matrix product. The AUC needs the pairs
in order: its value is exact, its draws see the order in CELLS steps.

Calibration errors are sums of absolute gaps, which noise only enlarges: a draw adds noise to noise, so
their intervals lean upwards, to the safe side; the lower end is never above the value itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from intently.errors import InputError
from intently.evaluate.classification import (
    BINS,
    Reliability,
    auc,
    auc_of_cells,
    best_threshold,
    bin_of,
    losses,
    reliability,
)
from intently.evaluate.judgement import Answer, Ranker, ask
from intently.evaluate.metrics import hits
from intently.evaluate.protocol import Case
from intently.intervals import DRAWS, Interval, percentile, resamples
from intently.schema import BoolArray, DoubleArray, IntArray, LongArray

PAIRS = 2000
MOST_USERS = 20_000
CELLS = 1024
LIKELY = 0.1
"""`ece_likely` looks only at pairs given more than this: what a shop would act on."""


@dataclass(frozen=True)
class Pairs:
    """Labelled pairs of a case; `user` numbers those who were asked."""

    user: IntArray  # (pairs,)
    label: BoolArray  # (pairs,)
    chance: DoubleArray  # (pairs,)
    n_users: int
    n_true: int  # true pairs of the case, among these or not

    @property
    def reached(self) -> float:
        """Share of the truth that is among the pairs."""
        return float(self.label.sum()) / max(self.n_true, 1)


@dataclass(frozen=True)
class Chances:
    """One model's probabilities against what happened."""

    name: str
    threshold: float
    pairs: int
    positives: int
    reached: float
    figures: dict[str, Interval]  # auc, log_loss, brier, ece, ..., in FIGURES' order
    curve: Reliability  # equal-width bins
    curve_mass: Reliability  # equal-mass bins
    best_threshold: float  # by F1 on these pairs: a hint for the next run, not a result


FIGURES = (
    "auc", "log_loss", "brier", "ece", "ece_mass", "ece_likely",
    "precision", "recall", "f1", "accuracy",
)  # fmt: skip
"""Probability figures; `ece_mass` uses equal-mass bins, `ece_likely` pairs above LIKELY only."""


def is_calibrated(model: object) -> bool:
    """Whether the model says (`calibrated = True`) that its scores are probabilities."""
    return bool(getattr(model, "calibrated", False))


def ask_pairs(model: Ranker, case: Case, k: int = PAIRS) -> Pairs:
    """Up to `k` items that the model puts forward for each known user, with its probability.

    Raises InputError when the model gives only an order.
    """
    return pairs_of(ask(model, case, min(k, case.train.n_items)), case, model)


def pairs_of(answer: Answer, case: Case, model: Ranker) -> Pairs:
    """The pairs in what a calibrated model answered to the case, and those of the quiet users.

    Raises InputError for a model that is not calibrated.
    """
    if not is_calibrated(model):
        raise InputError(f"{type(model).__name__} gives an order, not probabilities")
    rows, quiet = asked_for_chances(case)
    stayed = ask(model, case, answer.items.shape[1], of=case.quiet.select(quiet))
    items = np.concatenate([answer.items[rows], stayed.items])
    scores = np.concatenate([answer.scores[rows], stayed.scores])
    came = hits(answer.items, case.indptr, case.truth)[rows]
    right = np.concatenate([came, np.zeros(stayed.items.shape, bool)])
    listed = items >= 0
    return Pairs(
        np.nonzero(listed)[0].astype(np.int32),
        right[listed],
        scores[listed].astype(np.float64),
        len(items),
        int(case.n_true[rows].sum()),
    )


def asked_for_chances(case: Case, most: int = MOST_USERS) -> tuple[LongArray, LongArray]:
    """Rows of the case and rows of its quiet users: all with a history, or `most` of them at random."""
    rows, n_quiet = np.flatnonzero(case.histories.lengths > 0), len(case.quiet)
    drawn = np.sort(np.random.default_rng(0).permutation(len(rows) + n_quiet)[:most])
    return rows[drawn[drawn < len(rows)]], drawn[drawn >= len(rows)] - len(rows)


def judge_chances(name: str, pairs: Pairs, threshold: float = 0.5, *, draws: int = DRAWS) -> Chances:
    """Every figure of FIGURES with its interval, and the reliability curves.

    threshold: yes from this chance on. Raises InputError for chances outside [0, 1] or no pairs.
    """
    curve = reliability(pairs.label, pairs.chance)  # refuses what cannot be judged
    sums, order = _Sums(pairs, threshold), _Order(pairs)
    everyone = np.ones((1, pairs.n_users))
    point = {key: float(v[0]) for key, v in sums.figures(everyone).items()}
    point["auc"] = auc(pairs.label, pairs.chance)
    rounding = point["auc"] - float(order.auc(everyone)[0])
    parts = [
        sums.figures(counts) | {"auc": order.auc(counts) + rounding}
        for counts in resamples(pairs.n_users, draws)
    ]
    drawn = {key: np.concatenate([part[key] for part in parts]) for key in point}
    return Chances(
        name=name,
        threshold=threshold,
        pairs=len(pairs.chance),
        positives=int(pairs.label.sum()),
        reached=pairs.reached,
        figures={key: _interval(key, point[key], drawn[key], pairs.n_users) for key in FIGURES},
        curve=curve,
        curve_mass=reliability(pairs.label, pairs.chance, equal_mass=True),
        best_threshold=best_threshold(pairs.label, pairs.chance)[0],
    )


def differences(pairs: Pairs, baseline: Pairs, *, draws: int = DRAWS) -> dict[str, Interval]:
    """How far auc and log_loss of `pairs` lie above those of `baseline`, with the same users drawn for both.

    Raises InputError when they are not chances of the same pairs.
    """
    if not (np.array_equal(pairs.user, baseline.user) and np.array_equal(pairs.label, baseline.label)):
        raise InputError("only chances of the same pairs can be compared, in the same order")
    drawn: dict[str, list[DoubleArray]] = {"auc": [], "log_loss": []}
    point = {"auc": auc(pairs.label, pairs.chance) - auc(baseline.label, baseline.chance)}
    gap = losses(pairs.label, pairs.chance) - losses(baseline.label, baseline.chance)
    point["log_loss"] = float(gap.mean())
    gaps = np.bincount(pairs.user, weights=gap, minlength=pairs.n_users)
    size = np.bincount(pairs.user, minlength=pairs.n_users).astype(np.float64)
    one, other = _Order(pairs), _Order(baseline)
    everyone = np.ones((1, pairs.n_users))
    rounding = point["auc"] - float((one.auc(everyone) - other.auc(everyone))[0])
    for counts in resamples(pairs.n_users, draws):
        drawn["auc"].append(one.auc(counts) - other.auc(counts) + rounding)
        drawn["log_loss"].append(_ratio(counts @ gaps, counts @ size))
    return {key: percentile(point[key], np.concatenate(drawn[key]), pairs.n_users) for key in point}


def _interval(key: str, value: float, drawn: DoubleArray, n: int) -> Interval:
    found = percentile(value, drawn, n)
    return replace(found, low=min(found.low, value)) if key.startswith("ece") else found


class _Order:
    """Each user's pairs by step of the order of chances, from which every draw's AUC is made."""

    def __init__(self, pairs: Pairs) -> None:
        shares = np.arange(1, CELLS // 2) / (CELLS // 2)
        sides = [pairs.chance[pairs.label == side] for side in (False, True)]
        edges = np.unique(np.concatenate([np.quantile(side, shares) for side in sides if len(side)]))
        cell = np.searchsorted(edges, pairs.chance, side="right")
        shape = (len(edges) + 1, pairs.n_users)
        label = pairs.label.astype(np.float64)
        self._yes = sparse.csr_matrix((label, (cell, pairs.user)), shape=shape)
        self._no = sparse.csr_matrix((1.0 - label, (cell, pairs.user)), shape=shape)
        for side in (self._yes, self._no):
            side.eliminate_zeros()

    def auc(self, counts: DoubleArray) -> DoubleArray:
        """(draws,) from counts (draws, users)."""
        by_draw = np.ascontiguousarray(counts.T)
        return auc_of_cells((self._yes @ by_draw).T, (self._no @ by_draw).T)


class _Sums:
    """Sums over each user's pairs, (users,) or (users, bins), from which all ratios are made."""

    def __init__(self, pairs: Pairs, threshold: float) -> None:
        self._user, self._n_users = pairs.user, pairs.n_users
        label, chance = pairs.label.astype(np.float64), pairs.chance
        yes = (chance >= threshold).astype(np.float64)
        self._plain = np.column_stack(
            [
                self._add(np.ones(len(chance))),
                self._add(losses(pairs.label, chance)),
                self._add((chance - label) ** 2),
                self._add(yes * label),
                self._add(yes),
                self._add(label),
            ]
        )
        gap = chance - label
        everyone = np.ones(len(chance))
        width, mass = bin_of(chance), bin_of(chance, equal_mass=True)
        likely = (chance > LIKELY).astype(np.float64)
        self._gaps = {
            "ece": (self._add_binned(gap, width), self._add(everyone)),
            "ece_mass": (self._add_binned(gap, mass), self._add(everyone)),
            "ece_likely": (self._add_binned(gap * likely, width), self._add(likely)),
        }

    def figures(self, counts: DoubleArray) -> dict[str, DoubleArray]:
        """Each figure under each weighting, (draws,); `counts` is (draws, users)."""
        n, loss, square, found, decided, true = (counts @ self._plain).T
        out = {
            "log_loss": _ratio(loss, n),
            "brier": _ratio(square, n),
            "precision": _ratio(found, decided, empty=0.0),
            "recall": _ratio(found, true, empty=0.0),
            "f1": _ratio(2 * found, decided + true, empty=0.0),
            "accuracy": _ratio(n - decided - true + 2 * found, n),
        }
        for key, (gaps, weight) in self._gaps.items():
            out[key] = _ratio(np.abs(counts @ gaps).sum(axis=1), counts @ weight)
        return out

    def _add(self, values: DoubleArray) -> DoubleArray:
        return np.bincount(self._user, weights=values, minlength=self._n_users).astype(np.float64)

    def _add_binned(self, values: DoubleArray, place: LongArray) -> DoubleArray:
        bins = BINS + 1
        cells = np.bincount(self._user * bins + place, weights=values, minlength=self._n_users * bins)
        return cells.reshape(self._n_users, bins).astype(np.float64)


def _ratio(part: DoubleArray, whole: DoubleArray, empty: float = float("nan")) -> DoubleArray:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), empty)
