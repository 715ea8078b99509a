"""How do other people's recommenders do on the same question, in the same run, and at what cost?

    python benchmarks/peers_run.py --data DIR [--peers rectools:esasrec,implicit:bpr]
                                   [--models sequence,linear,blend] [--texts] [--minutes 30]
                                   [--env DIR] [--keep DIR]

The question and the split are those of next_item.py: the same histories are asked, the same item is right,
all items are ranked, nothing met comes back. Each peer runs in a virtual environment of its own, which is
made here when it is missing (peers/, one script a peer; peers/exchange.py says what is handed over). The
right answers of the test never leave this process; every list is judged here, by our metrics.

After each epoch everyone is asked the validation split (last but one item), peers and ours alike; CPU
seconds count all threads from the start of training, tuning included, and stand still while judging. A
peer keeps the epoch that is best on that split; ours choose by what they hold back themselves. `--minutes`
ends a peer after so many CPU minutes; its row then says `stopped: minutes` and its best is the best so far.
A run with `--keep` that was cut off goes on: a model that is finished there is not run again.

Ours are run first. One JSON line a model on standard output, peers first; ours carry `against`: how many
CPU seconds it took us to come to the best validation NDCG@10 of each peer of the run, as a share of what
it took the peer, and our peak of memory as a share of the peer's; and `ahead`: recall and NDCG at 10 less the
peer's, user by user, with the interval that holds the truth in 95 of 100. Progress and errors go to
standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import next_item
from intently import progress
from intently.data import Dataset, Histories
from intently.errors import InputError, IntentlyError
from intently.evaluate.metrics import hits, ndcg, recall
from intently.intervals import difference
from intently.models import model_class
from intently.schema import DoubleArray
from peers.environments import PEERS, ready
from peers.exchange import Diary, Ints, Rows, Task, best_of, reached, read_task, write_task
from record import record

HERE = Path(__file__).resolve().parent
DEFAULT_ENV = Path.home() / ".cache" / "intently" / "peers"


def main() -> int:
    """Run everyone one after the other; 0, 1 when someone failed, 2 for bad input."""
    options = arguments()
    try:
        return child(options) if options.child else parent(options)
    except IntentlyError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--data", type=lambda text: Path(text).resolve(), required=True, help="folder as for next_item.py"
    )
    parser.add_argument(
        "--peers", default="rectools:esasrec", help="comma-separated PEER:VARIANT[@MINUTES], or none"
    )
    parser.add_argument("--models", default="sequence,linear,blend", help="ours, comma-separated")
    parser.add_argument("--texts", action="store_true", help="ours may read the items' texts; no peer can")
    parser.add_argument("--minutes", type=float, default=0.0, help="CPU minutes a peer, 0: no limit")
    parser.add_argument("--env", type=Path, default=DEFAULT_ENV, help="folder of the environments")
    parser.add_argument(
        "--keep", type=Path, help="folder of this run: what is finished there is not run again"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-record", action="store_true", help="do not append to results/peers.jsonl")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    parser.add_argument("--exchange", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--vectors", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def parent(options: argparse.Namespace) -> int:
    """Check everything first, make the environments, then one process a peer and a model."""
    peers = _chosen(options.peers, options.minutes)
    models = [name for name in options.models.split(",") if name]
    for name in models:
        model_class(name)
    dataset = next_item.read_shop(options.data)
    task, truth = exchanged(dataset)
    pythons = {peer: ready(peer, options.env) for peer in {name.split(":")[0] for name in peers}}
    with tempfile.TemporaryDirectory() as place:
        folder = options.keep.resolve() if options.keep else Path(place)
        write_task(folder / "exchange", task)
        vectors = _vectors(options.data, folder) if options.texts else []
        about = {"data": options.data.resolve().name, "seed": options.seed, "items": dataset.n_items}
        own = {name: _run(name, _own_command(options, name, vectors), folder, task, truth) for name in models}
        theirs = {
            name: _run(name, _peer_command(options, pythons, name, minutes), folder, task, truth)
            for name, minutes in peers.items()
        }
        done = [name for name, row in [*own.items(), *theirs.items()] if row is not None]
        lists = {name: np.load(_place(folder, name) / "test_lists.npy") for name in done}
    ran = {name: row | about for name, row in theirs.items() if row is not None}
    for row in own.values():
        if row is not None:
            compared = {name: against(row, ran[name]) for name in theirs if name in ran}
            lead = {name: ahead(lists[row["model"]], lists[name], truth) for name in compared}
            ran[row["model"]] = row | {"against": compared, "ahead": lead, "texts": bool(vectors)} | about
    for row in ran.values():
        print(json.dumps(row))
        if not options.no_record:
            record("peers", row)
    return 1 if None in [*own.values(), *theirs.values()] else 0


def exchanged(dataset: Dataset) -> tuple[Task, Ints]:
    """(what peers get, the right items of the test), cut as in next_item.py."""
    train, valid, valid_truth = next_item.held_out(dataset, "valid")
    _, test, truth = next_item.held_out(dataset, "test")
    return Task(
        dataset.n_items, _rows(train.histories()), test.users, _rows(valid), valid_truth, _rows(test)
    ), truth


def _rows(histories: Histories) -> Rows:
    return Rows(histories.indptr, histories.items)


def judged(lists: Ints, truth: Ints) -> dict[str, float]:
    """Recall and NDCG at 5 and 10 of (users, 10) lists."""
    return {name: round(float(values.mean()), 5) for name, values in each(lists, truth).items()}


def each(lists: Ints, truth: Ints) -> dict[str, DoubleArray]:
    """What `judged` takes the means of: (users,) values of each metric."""
    found = hits(lists, np.arange(len(truth) + 1), truth.astype(np.int32))
    one = np.ones(len(truth), np.int64)
    row = {f"recall@{k}": recall(found, one, k) for k in (5, 10)}
    return row | {f"ndcg@{k}": ndcg(found, one, k) for k in (5, 10)}


def ahead(ours: Ints, theirs: Ints, truth: Ints) -> dict[str, list[float]]:
    """{metric at 10: [ours less theirs, low, high]}, both lists asked the same of the same users."""
    own, other = each(ours, truth), each(theirs, truth)
    gains = {name: difference(own[name], other[name]) for name in ("recall@10", "ndcg@10")}
    return {name: [round(x, 5) for x in (gain.value, gain.low, gain.high)] for name, gain in gains.items()}


def against(own: dict[str, Any], peer: dict[str, Any]) -> dict[str, Any]:
    """What it took us to come to the peer's best validation figure, as shares of what it took the peer.

    cpu_ratio_below: the ratio at every figure between the peer's best and ours is below this, however long
    the peer goes on: our best took so much of what the peer has spent without coming to it.
    """
    figure = peer["curve"][best_of(peer["curve"])]
    seconds = reached(own["curve"], figure["ndcg@10"])
    ours = own["curve"][best_of(own["curve"])]
    ahead = ours["ndcg@10"] >= figure["ndcg@10"]
    return {
        "valid_ndcg@10": figure["ndcg@10"],
        "their_cpu_s": figure["cpu_s"],
        "our_cpu_s": seconds,
        "cpu_ratio": None if seconds is None else round(seconds / figure["cpu_s"], 4),
        "cpu_ratio_below": round(ours["cpu_s"] / peer["curve"][-1]["cpu_s"], 4) if ahead else None,
        "memory_ratio": round(own["peak_rss_mb"] / peer["peak_rss_mb"], 3),
        "their_training": "ended by minutes" if peer["stopped"] == "minutes" else "ended by itself",
    }


def _chosen(text: str, minutes: float) -> dict[str, float]:
    """{PEER:VARIANT: CPU minutes}; raises InputError for one that there is not."""
    chosen = {}
    for word in [] if text == "none" else filter(None, text.split(",")):
        name, _, own = word.partition("@")
        peer, _, variant = name.partition(":")
        if peer not in PEERS or variant not in PEERS[peer].variants:
            known = [f"{name}:{v}" for name, each in PEERS.items() for v in each.variants]
            raise InputError(f"no peer {name!r}", hint=f"there are {', '.join(known)}")
        try:
            chosen[name] = float(own) if own else minutes
        except ValueError as error:
            raise InputError(f"minutes of {name} must be a number, got {own!r}") from error
    return chosen


def _peer_command(
    options: argparse.Namespace, pythons: dict[str, Path], name: str, minutes: float
) -> list[str]:
    peer, _, variant = name.partition(":")
    words = [str(pythons[peer]), str(HERE / "peers" / PEERS[peer].script), "{exchange}", "{out}"]
    return [*words, "--variant", variant, "--minutes", str(minutes), "--seed", str(options.seed)]


def _own_command(options: argparse.Namespace, name: str, vectors: list[str]) -> list[str]:
    words = [sys.executable, str(Path(__file__).resolve()), "--data", str(options.data), "--child", name]
    return [*words, "--seed", str(options.seed), "--exchange", "{exchange}", "--out", "{out}", *vectors]


def _vectors(data: Path, folder: Path) -> list[str]:
    """The option that names the items' text vectors; none when the items have no texts."""
    path = folder / "vectors.npy"
    script = HERE / "next_item.py"
    words = ["--data", str(data), "--child", "encode", "--vectors", str(path)]
    done = subprocess.run([sys.executable, str(script), *words], stdout=sys.stderr, check=False)
    return ["--vectors", str(path)] if done.returncode == 0 else []


def _run(name: str, command: list[str], folder: Path, task: Task, truth: Ints) -> dict[str, Any] | None:
    """The row of one model; None when its process failed."""
    out = _place(folder, name)
    out.mkdir(exist_ok=True)
    if not (out / "finished").exists():
        places = {"{exchange}": str(folder / "exchange"), "{out}": str(out)}
        print(f"{name} ...", file=sys.stderr, flush=True)
        words = [places.get(word, word) for word in command]
        done = subprocess.run(words, stdout=sys.stderr, cwd=out, check=False)
        if done.returncode or not (out / "result.json").exists():
            print(f"{name}: failed with exit code {done.returncode}", file=sys.stderr)
            return None
        (out / "finished").touch()
    result = json.loads((out / "result.json").read_text())
    curve = result.pop("curve")
    at = best_of(curve)
    own = ":" not in name
    lists = {split: np.load(out / f"{split}_lists.npy") for split in ("valid", "test")}
    valid = judged(lists["valid"], task.valid_truth)["ndcg@10"]
    costs = {
        "best_epoch": at + 1, "epochs": len(curve), "cpu_s_to_best": curve[at]["cpu_s"],
        "cpu_s": curve[-1]["cpu_s"], "epoch_cpu_s": _epoch_cpu_s(curve),
    }  # fmt: skip
    chosen = {"chosen_by": "itself" if own else "the validation split"}
    facts = {"users": len(truth), "threads": os.environ.get("OMP_NUM_THREADS", "all")}
    row = {"model": name} | judged(lists["test"], truth) | {"valid_ndcg@10": valid}
    return (
        row
        | {"valid_ndcg@10_best": curve[at]["ndcg@10"]}
        | costs
        | result
        | chosen
        | facts
        | {"curve": curve}
    )


def _place(folder: Path, name: str) -> Path:
    """Where a model of the run keeps what it answered."""
    return folder / name.replace(":", "-")


def _epoch_cpu_s(curve: list[dict[str, Any]]) -> float:
    """CPU seconds of a typical epoch: the median, set-up left out where there are several."""
    steps = np.diff([point["cpu_s"] for point in curve]) if len(curve) > 1 else [curve[0]["cpu_s"]]
    return round(float(np.median(steps)), 2)


def child(options: argparse.Namespace) -> int:
    """Fit one of our models, asked the same after each of its epochs; the chosen model's lists count."""
    dataset = next_item.read_shop(options.data)
    if options.vectors:
        dataset = dataset.with_vectors(np.load(options.vectors))
    task = read_task(options.exchange)
    train, valid, _ = next_item.held_out(dataset, "valid")
    test = next_item.held_out(dataset, "test")[1]
    model = model_class(options.child)()
    if "seed" in model.settings():
        model = model_class(options.child)(seed=options.seed)
    diary = Diary(task, options.out, keep=False, facts={"settings": {}, "version": "intently"})

    def answer(rows: Rows) -> Ints:
        asked = valid if rows is task.valid else test
        return model.top_k(asked, 10, repeats=False).items

    def heard(part: str, number: int, figures: Any) -> None:
        if not part and np.isfinite(figures["validation"]):  # else it cannot answer yet
            diary.epoch(answer)

    with progress.listening(heard):
        model.fit(train)
    trained = diary.trained_cpu_s()
    if not diary.curve:
        diary.epoch(answer)
    diary.facts |= {"fit_cpu_s": round(trained, 2)}
    np.save(options.out / "valid_lists.npy", answer(task.valid))
    np.save(options.out / "test_lists.npy", answer(task.test))
    diary.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
