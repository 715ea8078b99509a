"""What do a few answers of a newcomer bring? Recall of what they met besides, against what is popular.

    python benchmarks/onboarding.py --data DIR [--split valid] [--no-record]

DIR is a folder of next_item.py. A seeded tenth of the users are newcomers: nothing is fitted on them. They
answer by what they met (met: like; anything else: not for me). Asked are 3 or 5 items: chosen one by one as
the service does (tastes), the most popular ones, or popular ones at random. Then 10 items are listed, none
of those that were asked, by the believed tastes and by `linear` from the likes alone. What they met besides
the asked ones is to be found; the popular items that were not asked are the rival. --split valid: other
newcomers, for choosing settings.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from intently.data import Dataset, Histories
from intently.intervals import difference, mean_interval
from intently.models import model_class
from intently.schema import BoolArray, DoubleArray
from intently.serving.online.tastes import Tastes
from next_item import read_shop
from record import record

ASKED = (3, 5)
K = 10
HOWS = ("tastes", "popular", "random")


def main() -> None:
    """Ask, list, record."""
    asked = arguments()
    shop = read_shop(asked.data)
    random = np.random.default_rng(asked.seed)
    fold = random.integers(0, 10, shop.n_users)
    new = fold == (0 if asked.split == "test" else 1)
    user, item = shop.events["user"].to_numpy(), shop.events["item"].to_numpy()
    kept = ~np.isin(fold[user], (0, 1)) if asked.split == "valid" else ~new[user]
    tastes = Tastes.of(user[kept], item[kept], shop.n_items)
    rest = Dataset(
        shop.events.filter(kept), shop.users, shop.items, shop.item_table, shop.user_table, None, False
    )
    linear = model_class("linear")().fit(rest)
    people = []
    for one in np.flatnonzero(new):
        met = random.permutation(np.unique(item[user == one]))
        if len(met) >= 10:
            known = np.zeros(shop.n_items, bool)
            known[met] = True
            people.append(known)
    for how in HOWS:
        for n in ASKED:
            runs = [_asked(tastes, known, how, n, random) for known in people]
            plain = [tastes.told({}).best(K, ~np.isin(tastes.items, list(run))) for run in runs]
            base = _recall(plain, people, runs)
            for by in ("tastes", "linear"):
                found = _recall(_lists(tastes, linear, runs, by), people, runs)
                say(asked, how, by, n, found, base, float(np.mean([sum(run.values()) for run in runs])))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", choices=("test", "valid"), default="test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-record", action="store_true")
    return parser.parse_args()


def _asked(
    tastes: Tastes, known: BoolArray, how: str, n: int, random: np.random.Generator
) -> dict[int, bool]:
    """Item -> liked, for `n` items asked one by one."""
    answers: dict[int, bool] = {}
    drawn = random.permutation(tastes.items[:100])
    for step in range(n):
        if how == "tastes":
            free = ~np.isin(tastes.items, list(answers))
            item = int(tastes.told(answers).next(1, free)[0])
        else:
            item = int(tastes.items[step] if how == "popular" else drawn[step])
        answers[item] = bool(known[item])
    return answers


def _lists(tastes: Tastes, linear: Any, runs: list[dict[int, bool]], by: str) -> list[Any]:
    if by == "tastes":
        return [tastes.told(run).best(K, ~np.isin(tastes.items, list(run))) for run in runs]
    likes = [[item for item, liked in run.items() if liked] for run in runs]
    ranked = linear.top_k(Histories.of(likes), K, repeats=False, exclude=[list(run) for run in runs])
    return list(ranked.items)


def _recall(lists: list[Any], people: list[BoolArray], runs: list[dict[int, bool]]) -> DoubleArray:
    """Of what each met and was not asked for, as far as K places can hold it."""
    values = []
    for row, known, run in zip(lists, people, runs, strict=True):
        left = int(known.sum()) - sum(run.values())
        values.append(float(known[row].sum()) / min(left, K))
    return np.array(values)


def say(
    asked: argparse.Namespace, how: str, by: str, n: int, found: DoubleArray, base: DoubleArray, likes: float
) -> None:
    """One line."""
    gain = difference(found, base)
    row = {
        "data": asked.data.name,
        "split": asked.split,
        "asked": n,
        "chosen_by": how,
        "listed_by": by,
        "newcomers": len(found),
        "likes": round(likes, 2),
        "recall@10": [round(v, 5) for v in (lambda i: (i.value, i.low, i.high))(mean_interval(found))],
        "popular_only": round(float(base.mean()), 5),
        "gain": [round(v, 5) for v in (gain.value, gain.low, gain.high)],
    }
    sys.stdout.write(json.dumps(row if asked.no_record else record("onboarding", row)) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
