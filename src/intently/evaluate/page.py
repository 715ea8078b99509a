"""The report as one HTML page: no script, no address, its one style sheet allowed by its hash."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from importlib import resources
from typing import Any

from intently.errors import MissingExtraError
from intently.evaluate import plots
from intently.evaluate.chances import LIKELY, Chances
from intently.evaluate.protocol import GROUPS, HOT_FROM
from intently.evaluate.report import Curve, Report, activity_buckets
from intently.intervals import Interval

_WORDS = {
    "auc": "AUC",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "calibration error, equal width",
    "ece_mass": "calibration error, equal mass",
    "ece_likely": f"calibration error above {LIKELY:g}",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "accuracy": "accuracy",
}


def page(report: Report) -> str:
    """The whole page; raises MissingExtraError without jinja2 or matplotlib."""
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError as error:
        raise MissingExtraError("jinja2", "train") from error
    room = resources.files("intently.evaluate")
    style = room.joinpath("page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(room.joinpath("page.html.j2").read_text(encoding="utf-8"))
    drawn = {name: Markup(svg) for name, svg in _plots(report).items()}  # made of numbers and escaped names
    return template.render(
        title="How good the predictions are",
        style=Markup(style),
        style_hash=Markup(f"sha256-{digest}"),
        question=question(report),
        verdict=verdict(report),
        notes=notes(report),
        board=_board(report),
        groups=_group_table(report),
        chances=[_chances(c, Markup) for r in report.results.values() if (c := r.chances) is not None],
        plots={"curves": ""} | drawn,
        skipped=list(report.skipped.items()),
        facts=_facts(report),
        provenance=list(report.provenance.items()),
        settings=[(n, json.dumps(r.settings, default=str)) for n, r in report.results.items()],
    )


def question(report: Report) -> str:
    """What was asked, in a sentence."""
    f = report.facts
    if f["protocol"] == "temporal":
        return (
            f"Learned from {f['events']:,} events before {f['cut'][:10]}. Asked for the {f['target']}s of "
            f"{f['users_asked']:,} users in the {f['horizon_days']:g} days after, "
            f"ranking all {f['catalogue']:,} items."
        )
    return (
        f"The last event of each of {f['users_asked']:,} users is held back and to be found among all "
        f"{f['catalogue']:,} items; learned from the other {f['events']:,} events."
    )


def verdict(report: Report) -> str:
    """Which model is best and whether that is sure, in a sentence."""
    head = report.results[report.best].judgement.interval(report.metric)
    text = f"{report.best}: NDCG@{report.k} {_shown(head)}"
    lift = report.lift(report.best)
    if lift is None:
        return text + (", and nothing here beats it." if len(report.results) > 1 else ".")
    if math.isnan(lift.value):
        return text + f"; {report.reference} found nothing."
    sure = "" if lift.excludes(0.0) else "; the interval holds 0, so this may be chance"
    return f"{text}, {_percent(lift)} against {report.reference}{sure}."


def notes(report: Report) -> list[str]:
    """What a reader must know before believing the figures."""
    f, out = report.facts, []
    if f["protocol"] == "temporal" and f["observed_days"] < f["horizon_days"] - 0.5:
        out.append(
            f"The data ends {f['observed_days']:.1f} days after the cut, before the horizon of "
            f"{f['horizon_days']:g} days: every figure misses what came later."
        )
    if f["protocol"] == "leave-one-out":
        out.append("Later events of other users are in the training part: the milder question.")
    if f["users_asked"] < 100:
        out.append(f"Only {f['users_asked']} users were asked: the intervals are wide and rough.")
    return out


def _plots(report: Report) -> dict[str, str]:
    metric = report.metric
    judged = {name: result.judgement for name, result in report.results.items()}
    names = list(dict.fromkeys([report.best, report.reference, *judged]))[:3]
    out = {
        "models": plots.models_plot({n: j.interval(metric) for n, j in judged.items()}, metric),
        "activity": plots.activity_plot({n: activity_buckets(judged[n], metric) for n in names}, metric),
    }
    curves: dict[str, Curve] = {}
    for result in report.results.values():
        curves |= result.curves
    if curves:
        out["curves"] = plots.curves_plot(curves)
    return out


def _board(report: Report) -> dict[str, Any]:
    k, rows = report.k, []
    others = ["recall", "precision", "mrr", "map", "hit"]
    for name, result in report.results.items():
        judged, lift = result.judgement, report.lift(name)
        rows.append(
            [
                name,
                _cell(judged.interval(report.metric)),
                ("–", "") if lift is None else _lift_cell(lift),
                *((f"{judged.mean(f'{m}@{k}'):.4f}", "") for m in others),
                (f"{judged.coverage[k]:.1%}", ""),
                (f"{judged.novelty[k]:.1f}", ""),
                (f"{result.fit_cpu_s:.1f}", ""),
            ]
        )
    heads = ["model", f"NDCG@{k}", f"against {report.reference}"]
    heads += [f"recall@{k}", f"precision@{k}", f"MRR@{k}", f"MAP@{k}", f"hit@{k}"]
    heads += [f"coverage@{k}", "novelty, bits", "fit, CPU s"]
    note = "Small: 95 % intervals, 1,000 bootstrap draws of users; comparisons are paired on the same users."
    return {"heads": heads, "rows": rows, "note": note}


def _group_table(report: Report) -> dict[str, Any]:
    rows = []
    for name, result in report.results.items():
        judged = result.judgement
        users = [_cell(judged.interval(report.metric, group)) for group in GROUPS]
        by_item = judged.by_item_group(report.k)
        rows.append([name, *users, *(_cell(by_item[group]) for group in GROUPS)])
    f = report.facts
    heads = ["model", *(f"{g} users\nNDCG, {f['users'][g]:,}" for g in GROUPS)]
    heads += [f"{g} items\nrecall, {f['items'][g]:,}" for g in GROUPS]
    note = (
        f"Cold: no event before the cut; warm: 1 to {HOT_FROM - 1}; hot: {HOT_FROM} or more. "
        f"Recall@{report.k} of the true items of each kind, over the users who took one."
    )
    return {"heads": heads, "rows": rows, "note": note}


def _chances(chances: Chances, markup: type[str]) -> dict[str, Any]:
    text = (
        f"{chances.pairs:,} pairs of a user and an item that the model puts forward, {chances.positives:,} "
        f"of which happened; they hold {chances.reached:.1%} of all that happened. "
        f"Yes means {chances.threshold:.3g} or more; "
        f"the best F1 on these pairs would be at {chances.best_threshold:.3g}."
    )
    return {
        "name": chances.name,
        "text": text,
        "heads": ["figure", "value"],
        "rows": [[_WORDS[key], _cell(i)] for key, i in chances.figures.items() if not math.isnan(i.value)],
        "curve": markup(plots.reliability_plot(chances.curve)),
        "small": markup(plots.small_chances_plot(chances.curve_mass)),
    }


def _facts(report: Report) -> list[tuple[str, str]]:
    f = report.facts
    rows = [("protocol", f["protocol"]), ("predicted event", f["target"])]
    if f["cut"]:
        rows += [("first event", f["first_event"]), ("last event learned from", f["last_event"])]
    if f["protocol"] == "temporal":
        rows += [("cut", f["cut"]), ("horizon", f"{f['horizon_days']:g} days")]
    rows += [
        ("items met before", f["repeats"]),
        ("events learned from", f"{f['events']:,}"),
        ("items", f"{f['catalogue']:,}, " + ", ".join(f"{n:,} {g}" for g, n in f["items"].items())),
        ("users asked", f"{f['users_asked']:,}, " + ", ".join(f"{n:,} {g}" for g, n in f["users"].items())),
        ("users left out", f"{f['users_left_out']:,} with nothing to predict"),
        ("true items", f"{f['true_items']:,}"),
        ("fingerprint", f["fingerprint"][:16]),
    ]
    return rows


def _shown(interval: Interval) -> str:
    if math.isnan(interval.value):
        return "–"
    return f"{interval.value:.4f} [{interval.low:.4f}, {interval.high:.4f}]"


def _cell(interval: Interval) -> tuple[str, str]:
    """The value, and its range in small."""
    if math.isnan(interval.value):
        return "–", ""
    return f"{interval.value:.4f}", f"{interval.low:.4f} to {interval.high:.4f}"


def _lift_cell(interval: Interval) -> tuple[str, str]:
    if math.isnan(interval.value):
        return "–", ""
    return f"{interval.value:+.1%}", f"{interval.low:+.1%} to {interval.high:+.1%}"


def _percent(interval: Interval) -> str:
    if math.isnan(interval.value):
        return "–"
    return f"{interval.value:+.1%} [{interval.low:+.1%}, {interval.high:+.1%}]"
