"""What does one more event cost `sequence`, beside reading the whole history again?

    python benchmarks/sequence_state.py --data DIR [--epochs 1] [--rounds 40]

DIR is what next_item.py reads. A model with default settings is trained for some epochs; then a user with
49 events gets one more. Measured in the same run, interleaved, in microseconds of CPU, one thread; the least
of the rounds, since what else a machine does only adds: the state advanced by that event; the state advanced
where the window is full, so that it is read again; the whole history of 50 read by our numpy code; the same
read by torch as it comes (eager, the same weights); the best 20 of the catalogue from a state, without met
items, and from `top_k`. `difference` is the largest one between the scores of the advanced state and of the
full reading.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from intently.data import Histories
from intently.models.sequence import Sequence
from intently.nn.layers import Encoder
from next_item import held_out, read_shop
from record import record

CALLS = 50
"""Of one kind in a row, in one round."""


def main() -> None:
    """Measure, print one JSON line, keep it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with sequences.txt[.gz]")
    parser.add_argument("--epochs", type=int, default=1, help="epochs of the training before")
    parser.add_argument("--rounds", type=int, default=40, help="of which the least is taken")
    parser.add_argument(
        "--no-record", action="store_true", help="do not append to results/sequence_state.jsonl"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    train, _, _ = held_out(read_shop(given.data), "valid")
    model = Sequence(epochs=given.epochs).fit(train)
    kinds, difference = calls(model)
    spent: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(given.rounds):
        for name, call in kinds.items():
            spent[name].append(cpu_us(call))
    row = {
        "data": given.data.resolve().name,
        "items": len(model.vocabulary),
        **{f"{name} us": round(min(times), 1) for name, times in spent.items()},
        "difference": float(f"{difference:.1e}"),
        "settings": {"d": model.d, "blocks": model.blocks, "max_length": model.max_length},
    }
    print(json.dumps(row))
    if not given.no_record:
        record("sequence_state", row)


def calls(model: Sequence) -> tuple[dict[str, Callable[[], object]], float]:
    """(what is measured, largest difference of a score between two ways to the same state)."""
    random = np.random.default_rng(0)
    longest = model.max_length
    whole = Histories.of([random.choice(model.vocabulary, longest).tolist()])
    shorter = Histories(
        whole.indptr - [0, 1], whole.items[:-1], whole.time_s[:-1], whole.events[:-1], whole.users, whole.at_s
    )
    event = whole.items[-1:], whole.time_s[-1:], whole.events[-1:]
    later = event[0], event[1] + 1.0, event[2]
    state, full = model.begin(shorter), model.begin(whole)
    advanced = model.advance(state, *event)
    difference = float(np.abs(model.scores_of(advanced) - model.scores(whole)[0]).max())
    return {
        "advance": lambda: model.advance(state, *event),
        "advance, window full": lambda: model.advance(full, *later),
        "read 50": lambda: model.begin(whole),
        "read 50, torch eager": eager(model, whole),
        "best 20": lambda: model.best(advanced, 20, repeats=False),
        "top_k 20, history and all": lambda: model.top_k(whole, 20, repeats=False),
    }, difference


def eager(model: Sequence, whole: Histories) -> Callable[[], object]:
    """The same reading by the torch network that the weights are from."""
    network = Encoder(model.d, model.blocks, model.heads, model.max_length, model.dropout).eval()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in model.weights.items()})
    table = torch.from_numpy(model.table)
    places = torch.from_numpy(np.searchsorted(model.vocabulary, whole.items))
    groups = [(1, len(whole.items))]

    def read() -> torch.Tensor:
        with torch.inference_mode():
            out: torch.Tensor = network(table[places] * model.d**0.5, groups)[-1]
            return out

    return read


def cpu_us(call: Callable[[], object]) -> float:
    """Microseconds of CPU of one call, over some in a row."""
    start = time.process_time()
    for _ in range(CALLS):
        call()
    return (time.process_time() - start) / CALLS * 1e6


if __name__ == "__main__":
    main()
