"""The public `evaluate`: unfitted models in, a `Report` out, nothing leaked in between."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, Self

import numpy as np

from intently import progress
from intently.data import Dataset
from intently.errors import InputError, MissingExtraError
from intently.evaluate.chances import PAIRS, Chances, is_calibrated, judge_chances, pairs_of
from intently.evaluate.judgement import KS, Judgement, Ranker, ask, judge, judge_answer
from intently.evaluate.protocol import Case, leave_one_out, temporal
from intently.evaluate.report import Curve, Report, Result, facts_of, provenance

PROTOCOLS = ("temporal", "leave-one-out")
THRESHOLD = 0.5


class Fittable(Ranker, Protocol):
    """A model before it has seen anything: fitted here, on the past only."""

    @property
    def name(self) -> str:
        """What the report calls it."""

    def fit(self, dataset: Dataset) -> Self:
        """Learn from all of `dataset`."""

    def settings(self) -> dict[str, Any]:
        """Hyper-parameters, for the report."""


def evaluate(
    models: Mapping[str, Fittable] | Fittable,
    dataset: Dataset,
    cut: datetime | float | None = None,
    *,
    horizon_days: float = 28.0,
    k: int = 10,
    protocol: str = "temporal",
    target: str | None = None,
    reference: str = "",
    threshold: float | None = None,
) -> Report:
    """Fit each model on the past, ask it about the future, and report.

    A copy of each model is fitted, so a model that is fitted already keeps its state, and what it
    learned elsewhere is forgotten here: no model can have seen the future.

    models: by name, or a single one. cut, horizon_days, target: see `temporal`. protocol: "temporal" or
    "leave-one-out". reference: the model that lifts are relative to; the last in NDCG@k by default.
    threshold: yes from this probability on; None: the model's own `threshold`, or 0.5.
    Raises InputError when the question makes no sense, or when no model could be judged; a model that
    cannot run on this shop is in `Report.skipped` with its reason.
    """
    by_name = dict(models) if isinstance(models, Mapping) else {models.name: models}
    if not by_name:
        raise InputError("no model to evaluate", field="models")
    if reference and reference not in by_name:
        raise InputError(f"the reference {reference!r} is not among {', '.join(by_name)}", field="reference")
    case = case_of(dataset, cut, protocol=protocol, horizon_days=horizon_days, target=target)
    return evaluate_case(by_name, case, k, reference, threshold, dataset.end_s)


def case_of(
    dataset: Dataset,
    cut: datetime | float | None = None,
    *,
    protocol: str = "temporal",
    horizon_days: float = 28.0,
    target: str | None = None,
) -> Case:
    """The question by the protocol's name; raises InputError for an unknown one."""
    if protocol == "temporal":
        return temporal(dataset, cut, horizon_days=horizon_days, target=target)
    if protocol == "leave-one-out":
        return leave_one_out(dataset)
    raise InputError(f"unknown protocol {protocol!r}; allowed: {', '.join(PROTOCOLS)}", field="protocol")


def evaluate_case(
    models: Mapping[str, Fittable],
    case: Case,
    k: int = 10,
    reference: str = "",
    threshold: float | None = None,
    end_s: float | None = None,
) -> Report:
    """The same for a case at hand; `end_s` is where the whole data ends (default: as far as asked)."""
    ks = tuple(sorted({*KS, k}))
    results: dict[str, Result] = {}
    skipped: dict[str, str] = {}
    for name, model in models.items():
        try:
            results[name] = fit_and_judge(name, model, case, ks, threshold)
        except (InputError, MissingExtraError, ModuleNotFoundError) as error:
            skipped[name] = str(error)
            progress.note(f"skipped {name}: {error}")
    if not results:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
        raise InputError(f"no model could be judged: {reasons}")
    if reference in skipped:
        raise InputError(f"the reference {reference!r} could not be judged: {skipped[reference]}")
    metric = f"ndcg@{k}"
    ordered = sorted(results, key=lambda name: -results[name].judgement.mean(metric))
    horizon_end = case.cut_s + case.horizon_days * 86400.0
    return Report(
        results={name: results[name] for name in ordered},
        skipped=skipped,
        reference=reference or ordered[-1],
        k=k,
        facts=facts_of(case, k, horizon_end if end_s is None else end_s),
        provenance=provenance(),
    )


def fit_and_judge(
    name: str, model: Fittable, case: Case, ks: Sequence[int], threshold: float | None = None
) -> Result:
    """Fit a copy of `model` on the case's training part and judge it."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    fresh = copy.deepcopy(model).fit(case.train)
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    progress.note(f"fitted {name} in {wall_s:.1f} s")
    judgement, chances = judge_fitted(fresh, case, ks, name=name, threshold=threshold)
    return Result(judgement, cpu_s, wall_s, model.settings(), chances, learning_curves(name, fresh))


def learning_curves(name: str, model: object) -> dict[str, Curve]:
    """The curves that a fitted model kept: its own, and those of the models inside it.

    A model keeps `curve` (epochs, 2): training loss, and the validation figure or NaN. One that holds
    others has them in `models`, by name.
    """
    held = getattr(model, "models", None) or {}  # a blend that chooses for itself names none
    inside = {f"{inner} in {name}": part for inner, part in held.items()}
    out = {}
    for label, part in ({name: model} | inside).items():
        epochs = np.asarray(getattr(part, "curve", ()), np.float64).reshape(-1, 2)
        if len(epochs):
            out[label] = tuple((float(loss), float(figure)) for loss, figure in epochs)
    return out


def judge_fitted(
    model: Ranker, case: Case, ks: Sequence[int] = KS, *, name: str, threshold: float | None = None
) -> tuple[Judgement, Chances | None]:
    """Lists and, for a calibrated model, probabilities, from asking a fitted model once."""
    if not is_calibrated(model):
        return judge(model, case, ks, name=name), None
    k = max(*ks, min(PAIRS, case.train.n_items))
    answer = ask(model, case, k, name=name)
    at = threshold if threshold is not None else float(getattr(model, "threshold", THRESHOLD))
    return judge_answer(answer.items, case, ks, name), judge_chances(name, pairs_of(answer, case, model), at)
