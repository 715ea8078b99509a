"""RecBole's SASRec with its own data loader and training step.

    python recbole_sasrec.py EXCHANGE OUT --variant sasrec [--minutes 15] [--seed 0]

Runs in an environment with `recbole`, driven by peers_run.py. Settings are RecBole's own defaults
(properties/model/SASRec.yaml and overall.yaml: width 64, two blocks, two heads, dropout .5, softmax over
all items, Adam at .001, batches of 2,048 prefixes, patience 10, at most 300 epochs, 50 positions; it has
no tuned column for these data). Every prefix of a history is a row of its own, padded to the full length.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from exchange import BATCH, Diary, Ints, Rows, Task, best, read_task
from recbole.config import Config
from recbole.data import create_dataset
from recbole.data.dataloader import TrainDataLoader
from recbole.model.sequential_recommender import SASRec
from recbole.trainer import Trainer
from recbole.utils import init_seed

PATIENCE = 10
EPOCHS = 300
NAME = "shop"


def written(task: Task, folder: Path) -> None:
    """The training events in RecBole's text format; event j of a user lies at time j."""
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    for user in range(len(task.train)):
        lines += [f"{user}\t{item}\t{place}" for place, item in enumerate(task.train.row(user))]
    (folder / NAME).mkdir()
    (folder / NAME / f"{NAME}.inter").write_text("\n".join(lines) + "\n")


def config(folder: Path, seed: int) -> Config:
    """RecBole's defaults, on this folder, without a graphics card and without log files."""
    own = {
        "data_path": str(folder), "checkpoint_dir": str(folder / "saved"), "use_gpu": False, "seed": seed,
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "train_neg_sample_args": None,
        "show_progress": False, "epochs": EPOCHS,
    }  # fmt: skip
    sys.argv = sys.argv[:1]  # RecBole reads the command line, too
    return Config(model="SASRec", dataset=NAME, config_dict=own)


def answer(model: Any, known: Ints, length: int, n_items: int, rows: Rows) -> Ints:
    """(rows, 10) items. known: (n,) our id of each of RecBole's items from 1 on."""
    column = np.zeros(n_items + 1, np.int64)  # our id + 1 -> theirs, 0 = padding
    column[known + 1] = np.arange(1, len(known) + 1)
    model.eval()
    lists = []
    for start in range(0, len(rows), BATCH):
        part = Rows(rows.ptr[start : start + BATCH + 1], rows.items)
        ids = column[part.padded(4 * length)]
        ids = np.take_along_axis(ids, np.argsort(ids == 0, axis=1, kind="stable"), axis=1)  # zeros last
        sizes = (ids != 0).sum(axis=1)
        first = np.maximum(sizes - length, 0)[:, None]
        x = np.take_along_axis(ids, first + np.arange(length), axis=1)
        asked = {
            model.ITEM_SEQ: torch.from_numpy(x),
            model.ITEM_SEQ_LEN: torch.from_numpy(np.clip(sizes, 1, length)),
        }
        with torch.no_grad():
            theirs = model.full_sort_predict(asked).numpy()
        scores = np.full((len(part), n_items), -np.inf, np.float32)
        scores[:, known] = theirs[:, 1 : len(known) + 1]
        lists.append(best(scores, part, 0))
    return np.concatenate(lists)


def main() -> None:
    """Train until it is time to stop; the diary writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("exchange", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--variant", choices=("sasrec",), required=True)
    parser.add_argument("--minutes", type=float, default=0.0, help="CPU minutes, 0: no limit")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    task = read_task(options.exchange)
    with tempfile.TemporaryDirectory() as folder:
        written(task, Path(folder))
        settings = config(Path(folder), options.seed)
        init_seed(options.seed, True)
        own = ("n_layers", "n_heads", "hidden_size", "hidden_dropout_prob", "attn_dropout_prob", "loss_type",
               "train_batch_size", "learning_rate", "MAX_ITEM_LIST_LENGTH", "epochs")  # fmt: skip
        facts = {
            "settings": {name: settings[name] for name in own},
            "version": f"recbole {version('recbole')}",
        }
        diary = Diary(task, options.out, options.minutes, PATIENCE, facts=facts)
        dataset = create_dataset(settings)
        dataset._change_feat_format()
        loader = TrainDataLoader(settings, dataset, None, shuffle=True)
        model = SASRec(settings, loader.dataset)
        trainer = Trainer(settings, model)
        known = np.array([int(token) for token in dataset.field2id_token["item_id"][1:]], np.int64)
        length = int(settings["MAX_ITEM_LIST_LENGTH"])
        for epoch in range(EPOCHS):
            trainer._train_epoch(loader, epoch)
            if not diary.epoch(lambda rows: answer(model, known, length, task.n_items, rows)):
                return


if __name__ == "__main__":
    main()
