"""Write the newest recorded figures into the READMEs.

    python benchmarks/tables.py [--check]

Between `<!-- table:QUESTION -->` and `<!-- /table -->` stands a table made from results/QUESTION.jsonl:
for each subject (a model, a file format, ...) its newest line. `--check` changes nothing and exits
with 1 when a page is not what the results say.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from record import RESULTS

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "README.zh.md")
MARKED = re.compile(r"(<!-- table:(\w+) -->\n).*?(<!-- /table -->)", re.DOTALL)
Row = dict[str, Any]

SUBJECTS: dict[str, tuple[str, ...]] = {
    "complete_journey": ("model", "pairs", "cut_back_days"),
    "next_item": ("data", "model", "texts"),
    "peers": ("data", "model", "texts"),
    "sequence_epoch": ("data",),
    "sequence_state": ("data",),
    "scale": ("model", "events"),
    "encode": ("catalogue", "way"),
    "import_events": ("format", "rows"),
    "pictures": ("data", "way"),
    "service": ("model", "n_items", "case", "connections"),
    "service_ingest": ("case",),
    "reliability_events": ("question",),
    "onboarding": ("data", "way"),
    "plan": ("shop",),
    "pretrain": ("run", "method"),
    "classify": ("data", "label", "method", "seed", "rate"),
    "cold_items": ("way", "encoder"),
    "click_classifier": ("model", "data"),
    "next_basket": ("data", "question", "model", "cut_back_days"),
}
"""What tells one subject from another; of each the newest line counts."""

VARIANTS: dict[str, tuple[str, ...]] = {"graph": ("layers", "loss")}
"""Settings that make a baseline of a model: they stand beside its name."""

CHOSEN: dict[str, tuple[str, ...]] = {
    "next_item": (
        "data", "model", "texts", "seeds", "recall@5", "ndcg@5", "recall@10", "ndcg@10", "coverage@10",
        "fit_cpu_s", "peak_rss_mb",
    ),
    "peers": ("data", "model", "texts", "recall@10", "ndcg@10", "cpu_s", "peak_rss_mb", "stopped"),
    "scale": (
        "model", "events", "users", "items", "fit_cpu_s", "fit_cpu_us_an_event", "times_smallest",
        "answer_cpu_ms", "peak_rss_mb",
    ),
    "encode": (
        "catalogue", "encoder", "way", "texts_per_cpu_s", "times_exact", "cosine_mean", "same_neighbours",
    ),
    "pictures": (
        "data", "way", "asked", "known", "nearest", "five_nearest", "five_nearest_95", "pictures_per_cpu_s",
    ),
    "pretrain": ("run", "unigram", "before", "after", "steps", "parameters", "tokens_per_cpu_s", "cpu_s"),
    "classify": (
        "data", "label", "method", "seed", "share", "train", "test", "accuracy", "macro_f1", "cpu_minutes",
    ),
    "cold_items": (
        "way", "encoder", "recall@10 cold", "recall@10 warm", "cold, gain", "warm, gain", "share",
        "cpu_minutes", "peak_mb", "disk_mb",
    ),
    "click_classifier": (
        "data", "model", "n_pairs", "auc", "precision", "recall", "f1", "accuracy", "log_loss", "ece",
        "fit_cpu_s",
    ),
    "service": (
        "model", "n_items", "n_events", "case", "n", "connections", "requests_per_s", "p50_ms", "p90_ms",
        "p99_ms", "failed", "server_cpu_ms", "times_less_cpu_than_peer", "memory_mb", "load_average",
    ),
    "service_ingest": (
        "case", "events a request", "connections", "events_per_s", "cpu_us_an_event",
        "stock cpu_us a request", "cpu, times stock", "stock requests_per_s", "p50_ms", "p99_ms",
        "load_average",
    ),
    "next_basket": (
        "data", "question", "model", "recall@5", "ndcg@5", "recall@10", "ndcg@10", "recall@20", "ndcg@20",
        "ours over it, recall@10", "ours over it, NDCG@10", "fit_cpu_s", "answer_cpu_ms",
    ),
}  # fmt: skip
"""Where a question keeps more than its table shows: the columns, in order."""

HIDDEN = {
    "commit", "machine", "python", "date", "command", "pairs", "cut_back_days",
    "ndcg@10_interval", "threshold",
    "lift_recall@10", "positives", "reached", "stages_forecast_s", "stages_took_s", "brier", "ece_mass",
    "precision", "recall", "f1", "accuracy", "n_pairs", "seed", "users", "items", "fit_wall_s", "protocol",
    "file_mb", "store_mb", "duplicate", "rejected", "read", "mrr@10", "hit@10", "load",
    "split", "seeds", "events",
}  # fmt: skip
"""Columns that the results keep and the README leaves out."""


def main() -> None:
    """Fill, or check, every page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where a page is stale")
    check = parser.parse_args().check
    stale = [name for name in PAGES if fill(ROOT / name, write=not check)]
    if check and stale:
        sys.stderr.write(f"not what the results say: {', '.join(stale)}; run make tables\n")
        raise SystemExit(1)


def fill(page: Path, *, write: bool) -> bool:
    """Whether the page differs from what the results say; brought up to date when `write`."""
    before = page.read_text(encoding="utf-8")
    after = MARKED.sub(lambda found: found[1] + table(found[2]) + found[3], before)
    if write and after != before:
        page.write_text(after, encoding="utf-8")
    return after != before


def table(question: str) -> str:
    """The Markdown table of a question, "" without results."""
    path = RESULTS / f"{question}.jsonl"
    if not path.exists():
        return ""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    rows = newest([named(line) for line in lines], SUBJECTS.get(question, ("model",)))
    parts = SPLITS.get(question, lambda given: [given])(rows)
    tables = [markdown(part, CHOSEN.get(question)) for part in parts if part]
    return "\n".join(tables) + f"\n<sub>{origin(rows)}</sub>\n"


def origin(rows: list[Row]) -> str:
    """Machines, commits and days of all the rows: they need not be of one run."""
    machines = "; ".join(sorted({str(row["machine"]) for row in rows}))
    commits = ", ".join(dict.fromkeys(str(row["commit"]) for row in rows))
    days = ", ".join(sorted({str(row["date"])[:10] for row in rows}))
    return f"{machines}; commits {commits}; {days}"


def named(line: Row) -> Row:
    """The line, its model's name with the settings that make another model of it."""
    given = {
        key: line["settings"][key]
        for key in VARIANTS.get(line.get("model", ""), ())
        if key in line["settings"]
    }
    said = [f"{key} {value}" for key, value in given.items()]
    return line | {"model": ", ".join([line["model"], *said])} if said else line


def newest(lines: list[Row], keys: tuple[str, ...]) -> list[Row]:
    """Of the lines with equal `keys` the last one, in the order in which subjects first came."""
    found: dict[tuple[str, ...], Row] = {}
    for line in lines:
        found[tuple(str(line.get(key)) for key in keys)] = line
    return list(found.values())


def by_pairs(rows: list[Row]) -> list[list[Row]]:
    """Rankings first, then how far probabilities hold; only the last four weeks."""
    last = [row for row in rows if not row.get("cut_back_days")]
    ranked = [{k: v for k, v in row.items() if "lift" not in k} for row in last if "pairs" not in row]
    ranked.sort(key=lambda row: -row["ndcg@10"])
    lifts = next((row.get("lift_ndcg@10", {}) for row in last if row["model"] == "pipeline"), {})
    for row in ranked:
        if row["model"] in lifts:
            row["pipeline's lift"] = percent(lifts[row["model"]])
    held = [{"probabilities": f"{row['model']}, {row['pairs']}", **row} for row in last if "pairs" in row]
    return [ranked, [{k: v for k, v in row.items() if k != "model"} for row in held]]


def by_question(rows: list[Row]) -> list[list[Row]]:
    """A table a question, of the final horizon only; beside each model what ours has over it."""
    last = [row for row in rows if not row.get("cut_back_days")]
    for ours in [row for row in last if "lift_ndcg@10" in row]:
        for row in last:
            if (row["data"], row["question"]) == (ours["data"], ours["question"]):
                for said, figure in (("recall@10", "recall@10"), ("NDCG@10", "ndcg@10")):
                    lift = ours[f"lift_{figure}"].get(row["model"])
                    row |= {f"ours over it, {said}": percent(lift)} if lift else {}
    return [[row for row in last if row["question"] == asked] for asked in ("horizon", "next basket")]


def by_run(rows: list[Row]) -> list[list[Row]]:
    """Perplexities as columns; the runs that were killed have a figure of their own, and no place here."""
    return [[row | row["perplexity"] for row in rows if "after" in row.get("perplexity", {})]]


def by_shop(rows: list[Row]) -> list[list[Row]]:
    """The grocery first, then the other shops."""
    return [[row for row in rows if "data" not in row], [row for row in rows if "data" in row]]


def by_way(rows: list[Row]) -> list[list[Row]]:
    """How texts find the next item, then what each method cost and brought; recall@10 all through."""
    found, receipts = [], []
    for row in rows:
        plain = row | {key: bounds(value) for key, value in row.items() if key.startswith("recall@10")}
        if row["way"] != "receipt":
            found.append(plain)
            continue
        gains = {f"{name}, gain": bounds(group["gain"]) for name, group in row["groups"].items()}
        costs = {"share": row["trained"] / row["parameters"], "cpu_minutes": row["cpu_s"] / 60.0}
        receipts.append(row | gains | costs)
    return [found, receipts]


def bounds(interval: Row) -> list[float]:
    """[value, low, high] of a recorded interval."""
    return [interval["value"], interval["low"], interval["high"]]


SPLITS: dict[str, Callable[[list[Row]], list[list[Row]]]] = {
    "complete_journey": by_pairs,
    "pretrain": by_run,
    "cold_items": by_way,
    "click_classifier": by_shop,
    "next_basket": by_question,
}


def percent(interval: list[float]) -> str:
    """+2.2 % [+1.2, +3.1]."""
    value, low, high = (100 * bound for bound in interval)
    return f"{value:+.1f} % [{low:+.1f}, {high:+.1f}]"


def markdown(rows: list[Row], chosen: tuple[str, ...] | None = None) -> str:
    """A pipe table with every column that some row has: the chosen ones, or all that are not hidden."""
    there = dict.fromkeys(key for row in rows for key in row)
    columns = [key for key in there if key not in HIDDEN] if chosen is None else list(chosen)
    columns = [key for key in columns if key in there]
    columns = [key for key in columns if not all(isinstance(row.get(key), dict) for row in rows)]
    lines = ["| " + " | ".join(columns) + " |", "| " + " | ".join("---" for _ in columns) + " |"]
    lines += ["| " + " | ".join(cell(row.get(key)) for key in columns) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def cell(value: Any) -> str:
    """A number with four significant digits, an interval as value [low, high]."""
    if value is None:
        return ""
    if isinstance(value, list) and len(value) == 3 and all(isinstance(v, float) for v in value):
        return f"{value[0]:.4f} [{value[1]:.4f}, {value[2]:.4f}]"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


if __name__ == "__main__":
    main()
