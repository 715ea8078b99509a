"""THE recipe: read it first.

    store -> Dataset -> vectors -> candidates + boosted trees -> judged on the last horizon
          -> gate (better than popularity and than the live model, with an interval) -> artifact

`train` does it once and says what came of it; `serve` answers from what it publishes.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from intently import artifact, progress
from intently.config import Settings
from intently.data import Dataset
from intently.errors import ArtifactError, InputError, MissingExtraError
from intently.evaluate import Case, Interval, Report
from intently.evaluate.evaluation import fit_and_judge, judge_fitted, learning_curves
from intently.evaluate.judgement import Judgement
from intently.evaluate.report import Result, facts_of, provenance
from intently.models import Recommender
from intently.models.start import Start
from intently.models.two_stage import TwoStage
from intently.reader import ItemReader
from intently.recipe import Recipe, choose, judging_case
from intently.runs import Run, record
from intently.store import open_store
from intently.training import Steps

METRIC = "ndcg@10"
KS = (5, 10, 20)


@dataclass(frozen=True)
class Outcome:
    """What one training run made: `promoted` says whether it answers now, `verdict` why."""

    version: str
    promoted: bool
    verdict: str
    report: Report
    seconds: dict[str, float]  # by step
    model: str = ""  # the name of what was trained
    run: str = ""  # its id in `intently runs`


def load_shop(settings: Settings) -> Dataset:
    """The shop in the store; raises InputError when nothing was imported yet."""
    if not settings.has_store:
        raise InputError(
            f"no shop in {settings.home}", hint="run `intently import events.csv` first, or `intently demo`"
        )
    with open_store(settings.store_place) as store:
        dataset = Dataset.from_store(store)
    if dataset.n_events == 0:
        raise InputError(f"the shop in {settings.home} has no events", hint="run `intently import` first")
    return dataset


def read_catalogue(dataset: Dataset, settings: Settings) -> Dataset:
    """The shop with vectors of its items; with nothing to read, or without a language model, as it was."""
    if not any(dataset.titles()) and settings.pictures is None:
        progress.note("no item has a title: the catalogue is not read")
        return dataset
    try:
        return dataset.with_vectors(ItemReader.of(dataset.item_table, settings).vectors)
    except (MissingExtraError, ModuleNotFoundError) as error:
        progress.note(f"the catalogue is not read: {error}")
        return dataset


def train(
    dataset: Dataset,
    settings: Settings,
    *,
    stage: str = "full",
    facts: dict[str, Any] | None = None,
    warm_start: str = "",
) -> Outcome:
    """Train, judge, publish, and promote when the gate allows.

    The judged model never saw the last `horizon_days`. What is published is that model with its
    counters brought up to the end of the data; its trees and inner models stay as they were judged.
    warm_start: "live" or the folder of a published version, from which what is trained step by step goes on.
    The run is recorded under the shop's folder (runs/record.py).
    """
    asked = {
        "stage": stage,
        "warm_start": warm_start,
        "target": settings.target or dataset.target,
        **settings.model_dump(include={"horizon_days", "encoder", "speed", "minutes", "seed"}),
    }
    with record(settings.home, "train", settings=asked, wandb=settings.wandb) as run:
        run.saw(dataset)
        outcome = _train(dataset, settings, stage, facts or {}, warm_start, run)
        for name, result in outcome.report.results.items():
            run.measured(name, _figures(result))
        run.say(verdict=outcome.verdict, version=outcome.version, seconds=outcome.seconds)
    return replace(outcome, run=run.id)


def _train(
    dataset: Dataset, settings: Settings, stage: str, facts: dict[str, Any], warm_start: str, run: Run
) -> Outcome:
    steps = Steps(settings.home / "training.json", of=5)
    try:
        with steps.step("reading the catalogue"):
            shop = read_catalogue(dataset, settings) if stage == "full" else dataset
        run.saw(shop)
        case = judging_case(shop, settings)
        recipe = choose(case.train, settings, stage=stage)
        progress.note(recipe.why)
        start = begin_from(warm_start, settings, case) if warm_start else None
        run.chose(recipe.name, {recipe.name: recipe.settings})
        for name in recipe.unused if stage == "full" else ():
            run.note(f"[models.{name}] has no effect: {recipe.name} does not use {name}")
        with steps.step(f"training {recipe.name}"):
            model, cpu_s, wall_s = _fit(recipe.model(), case.train, start)
        with steps.step("judging"):
            judgement, chances = judge_fitted(model, case, KS, name=recipe.name)
            curves = learning_curves(recipe.name, model)
            main = Result(judgement, cpu_s, wall_s, model.settings(), chances, curves)
        with steps.step("judging the baselines"):
            rivals = {
                name: fit_and_judge(name, rival, case, KS)
                for name, rival in recipe.rivals().items()
                if name != recipe.name
            }
        learned_until_s = case.cut_s if isinstance(model, TwoStage) else shop.end_s
        facts = {**facts, "learned_until_s": learned_until_s}
        report = _report(recipe, {recipe.name: main, **rivals}, case, shop)
        with steps.step("publishing"):
            promoted, verdict, version = _publish(model, shop, report, recipe, settings, stage, facts)
    finally:
        steps.close()
    return Outcome(version, promoted, verdict, report, steps.seconds, recipe.name)


def _figures(result: Result) -> dict[str, Interval | float]:
    """What a run keeps of one model: its lists, its probabilities, and what fitting it took."""
    judged = result.judgement
    figures: dict[str, Interval | float] = dict(judged.intervals([METRIC, "recall@10", "precision@10"]))
    figures["coverage@10"] = judged.coverage[10]
    if result.chances is not None:
        figures |= {name: result.chances.figures[name] for name in ("auc", "log_loss", "ece")}
    return figures | {"fit_cpu_s": result.fit_cpu_s}


def begin_from(warm_start: str, settings: Settings, case: Case) -> Start:
    """The earlier model that training goes on from; raises InputError where it saw what will judge."""
    folder = artifact.live(settings.artifacts) if warm_start == "live" else Path(warm_start)
    if folder is None or not (folder / "manifest.json").exists():
        raise InputError(
            f"no published model at {warm_start!r}",
            hint="give `live` or a folder under artifacts/",
            field="warm_start",
        )
    earlier = artifact.load(folder)
    learned_until_s = float(earlier.manifest.get("learned_until_s", earlier.manifest["end_s"]))
    if not case.train.timed or case.protocol != "temporal" or learned_until_s > case.cut_s:
        raise InputError(
            f"{folder.name} has learned from events that this training is judged on",
            hint="import newer events first, or train without a warm start",
            field="warm_start",
        )
    return Start.of(earlier.model, earlier.items, case.train.items)


def _fit(model: Recommender, train: Dataset, start: Start | None) -> tuple[Recommender, float, float]:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    model.fit(train, start)
    return model, time.process_time() - cpu_s, time.perf_counter() - wall_s


def _report(recipe: Recipe, results: dict[str, Result], case: Case, shop: Dataset) -> Report:
    order = sorted(results, key=lambda name: -results[name].judgement.mean(METRIC))
    reference = "repeat" if "repeat" in results and recipe.name != "repeat" else "popular"
    return Report(
        results={name: results[name] for name in order},
        skipped={},
        reference=reference,
        k=10,
        facts=facts_of(case, 10, shop.end_s),
        provenance=provenance(),
    )


def _publish(
    model: Recommender,
    shop: Dataset,
    report: Report,
    recipe: Recipe,
    settings: Settings,
    stage: str,
    facts: dict[str, Any],
) -> tuple[bool, str, str]:
    judged = report.results[recipe.name].judgement
    promoted, verdict = gate(judged, report, settings.artifacts)
    if isinstance(model, TwoStage):
        model.refresh(shop)
    else:
        model.fit(shop, Start.same_items(copy.copy(model)))
    said = {
        "stage": stage,
        "target": settings.target or report.facts["target"],
        "horizon_days": settings.horizon_days,
        "threshold": float(getattr(model, "threshold", 0.5)),
        "cut": report.facts["cut"],
        "metrics": judged.means,
        "judged": {"users": judged.users.tolist(), METRIC: judged.of(METRIC).round(6).tolist()},
        "verdict": verdict,
        **facts,
    }
    folder = artifact.publish(settings.artifacts, model, shop, said, card(report, recipe, verdict, facts))
    report.write(settings.home / "reports", folder.name)
    if promoted:
        artifact.promote(settings.artifacts, folder.name)
    return promoted, verdict, folder.name


def gate(judged: Judgement, report: Report, root: Path) -> tuple[bool, str]:
    """Whether a model may go live, and why: it must beat popularity, then the live model.

    Both comparisons are paired on the same users, by the interval of the difference in NDCG@10. The
    live model is held to its own recorded values when it was judged on the very same question; else it
    saw part of this future, and the comparison would be unfair, so only popularity counts.
    """
    popular = report.results["popular"].judgement
    over, share = judged.against(popular, METRIC)
    if not over.low > 0:
        return False, f"kept back: not better than popularity ({_points(over)} in {METRIC})"
    told = f"better than popularity by {_percent(share)} in {METRIC}"
    try:
        folder = artifact.live(root)
        if folder is None:
            return True, f"live: {told}; nothing was live before"
        manifest = artifact.verify(folder)
    except ArtifactError as error:
        return True, f"live: {told}; the model that was live cannot be read ({error.message})"
    before = manifest.get("judged", {})
    same = (
        manifest.get("cut") == report.facts["cut"]
        and before.get("users") == judged.users.tolist()
        and METRIC in before
    )
    if not same:
        return True, f"live: {told}; the live model was judged on other days and cannot be compared fairly"
    earlier = replace(judged, name="live", values={METRIC: np.asarray(before[METRIC], np.float64)})
    over, share = judged.against(earlier, METRIC)
    if not over.low > 0:
        return False, f"kept back: not better than the live {manifest['model']} ({_points(over)} in {METRIC})"
    return True, f"live: {told}, better than the live {manifest['model']} by {_percent(share)}"


def _points(interval: Interval) -> str:
    return f"{interval.value:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"


def _percent(interval: Interval) -> str:
    return f"{interval.value:+.1%} [{interval.low:+.1%}, {interval.high:+.1%}]"


def card(report: Report, recipe: Recipe, verdict: str, facts: dict[str, Any]) -> str:
    """The model card, in Markdown."""
    rows = report.leaderboard()
    lines = [
        f"# {recipe.name}",
        "",
        f"Trained by Intently: {recipe.why}.",
        "",
        f"Verdict: {verdict}.",
        "",
        "Judged on {users_asked} users, protocol {protocol}.".format_map(report.facts),
        "",
        f"| model | {report.metric} | 95 % interval |",
        "| --- | --- | --- |",
        *(
            f"| {row['model']} | {row[report.metric]:.4f} | {row['low']:.4f} to {row['high']:.4f} |"
            for row in rows.iter_rows(named=True)
        ),
        "",
        "Intended use: ranking and purchase probabilities for the shop that it was trained on. Not for price"
        " or terms that depend on who asks.",
    ]
    if note := facts.get("data_note"):
        lines += ["", f"Data: {note}"]
    return "\n".join(lines) + "\n"
