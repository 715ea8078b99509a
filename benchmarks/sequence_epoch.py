"""What does one epoch of `sequence` cost? CPU seconds of the whole process, all threads, a pass.

    python benchmarks/sequence_epoch.py --data DIR [--epochs 3] [--threads 1]

DIR holds sequences.txt[.gz], a line a user: `user item item ...` in time order; each user's last two
items are left out, as in next_item.py. The training is run twice, with 1 and with 1 + N epochs; the
difference over N is one epoch with its validation, without imports, loading and set-up.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import sys
from pathlib import Path

from intently.data import Dataset
from intently.errors import InputError
from intently.models.sequence import Sequence
from record import record


def cpu_s() -> float:
    """User and system seconds of this process so far, over all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def read(folder: Path) -> Dataset:
    """Every user's sequence without its last two items."""
    for name in ("sequences.txt", "sequences.txt.gz"):
        path = folder / name
        if path.exists():
            opener = gzip.open if path.suffix == ".gz" else open
            with opener(path, "rt", encoding="utf-8") as lines:
                rows = [line.split() for line in lines]
            break
    else:
        raise InputError(f"{folder} holds no sequences.txt or sequences.txt.gz")
    dataset = Dataset.from_sequences([row[1:] for row in rows], [row[0] for row in rows])
    return dataset.leave_one_out()[0].leave_one_out()[0]


def fit_cpu_s(dataset: Dataset, epochs: int) -> float:
    """CPU seconds of a training with this many epochs, other settings as they come."""
    before = cpu_s()
    Sequence(epochs=epochs).fit(dataset)
    return cpu_s() - before


def main() -> None:
    """Measure, print one JSON line, keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with sequences.txt[.gz]")
    parser.add_argument("--epochs", type=int, default=3, help="epochs to average over")
    parser.add_argument("--threads", type=int, default=0, help="compute threads; 0: all cores")
    given = parser.parse_args()
    import torch

    if given.threads:
        torch.set_num_threads(given.threads)
    try:
        dataset = read(given.data)
    except InputError as error:
        sys.exit(str(error))
    first = fit_cpu_s(dataset, 1)
    epoch_s = (fit_cpu_s(dataset, 1 + given.epochs) - first) / given.epochs
    row = {
        "data": given.data.resolve().name,
        "threads": torch.get_num_threads(),
        "epoch_cpu_s": round(epoch_s, 2),
        "settings": {"d": Sequence().d, "blocks": Sequence().blocks, "batch_tokens": Sequence().batch_tokens},
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(record("sequence_epoch", row)))


if __name__ == "__main__":
    main()
