"""implicit's BPR, ALS and item-kNN, with a few settings tried on validation.

    python implicit_models.py EXCHANGE OUT --variant bpr|als|knn [--minutes 5] [--seed 0]

Runs in an environment with `implicit`, driven by peers_run.py. Histories without order, every event
counted: implicit has no notion of time. Item-kNN and ALS answer from the history they are asked with
(ALS computes the user's vector anew, `recalculate_user`); BPR only knows the user as trained, so the
validation item does not help it on test. Each trial of TRIALS is trained and judged on validation, and
all trials count in the CPU seconds.
"""

from __future__ import annotations

import argparse
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from exchange import Diary, Ints, Rows, read_task
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, TFIDFRecommender
from scipy import sparse

KNN = {"cosine": CosineRecommender, "tfidf": TFIDFRecommender, "bm25": BM25Recommender}
TRIALS: dict[str, list[dict[str, Any]]] = {
    "knn": [{"distance": d, "K": k} for d in KNN for k in (20, 100, 500)],
    "als": [
        {"factors": factors, "regularization": r, "alpha": alpha}
        for factors in (64, 256)
        for r, alpha in ((0.01, 1.0), (0.1, 10.0), (10.0, 10.0))
    ],
    "bpr": [
        {"factors": factors, "learning_rate": 0.05, "regularization": r}
        for factors in (64, 256)
        for r in (0.01, 0.03)
    ],
}
STEPS = {"als": (10, 2), "bpr": (4, 50)}
"""How often the factors are judged, and iterations before each judgement."""


def matrix(rows: Rows, n_items: int) -> sparse.csr_matrix:
    """(rows, n_items): how often each item was met."""
    ones = np.ones(len(rows.items), np.float32)
    counts = sparse.csr_matrix((ones, rows.items, rows.ptr), shape=(len(rows), n_items))
    counts.sum_duplicates()
    return counts


def main() -> None:
    """Try the settings one after the other; the diary keeps the best."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("exchange", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--variant", choices=tuple(TRIALS), required=True)
    parser.add_argument("--minutes", type=float, default=0.0, help="CPU minutes, 0: no limit")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    task = read_task(options.exchange)
    known = matrix(task.train, task.n_items)
    facts = {"settings": {"trials": TRIALS[options.variant]}, "version": f"implicit {version('implicit')}"}
    diary = Diary(task, options.out, options.minutes, facts=facts)
    for trial in TRIALS[options.variant]:
        steps, iterations = STEPS.get(options.variant, (1, 0))
        model = made(options.variant, trial, iterations, options.seed)

        def answer(rows: Rows, model: Any = model) -> Ints:
            users = task.asked if options.variant == "bpr" else np.arange(len(rows))
            own = {"recalculate_user": True} if options.variant == "als" else {}
            items, scores = model.recommend(users, matrix(rows, task.n_items), N=10, **own)
            usable = np.isfinite(scores) & ((scores > 0) if options.variant == "knn" else (scores > -1e30))
            return np.where(usable, items, -1).astype(np.int32)

        for step in range(steps):
            model.fit(known, show_progress=False)  # goes on from the factors there are
            if not diary.epoch(answer, trial=trial, iterations=(step + 1) * iterations):
                return


def made(variant: str, trial: dict[str, Any], iterations: int, seed: int) -> Any:
    """An unfitted model of implicit."""
    if variant == "knn":
        return KNN[trial["distance"]](K=trial["K"])
    kind = AlternatingLeastSquares if variant == "als" else BayesianPersonalizedRanking
    return kind(**trial, iterations=iterations, random_state=seed, use_gpu=False)


if __name__ == "__main__":
    main()
