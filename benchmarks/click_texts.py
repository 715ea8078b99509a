"""The click classifier of the language room as a two-stage model, so that all are asked about the same pairs.

It sees a behaviour text (the events before the moment of asking that bear on the candidate) and a candidate's
text, no counts, no scores of other models.
"""

from __future__ import annotations

import numpy as np

from intently import progress
from intently.data import Dataset, Histories
from intently.language.behaviour import BehaviourWriter
from intently.language.catalogue import catalogue_text, shorten
from intently.language.classification import Classification
from intently.language.classifier import logits_of
from intently.language.examples import Examples, Parts
from intently.language.folder import bundled_folder
from intently.language.methods import Method, after_step, attach, merged
from intently.models.tables import Pairs, Table
from intently.models.two_stage import TwoStage
from intently.nn.finetuning import Schedule, finetune
from intently.schema import DoubleArray, FloatArray, IntArray, LongArray

MAX_EVENTS, MAX_TOKENS, CANDIDATE_CHARS = 12, 96, 80
NEGATIVES = 3
"""Pairs without a purchase that are learned from, for each one with; Platt's curve undoes it."""


class TextPairs(TwoStage):
    """`learn`: pairs to learn from; half as many of other households stop and calibrate it."""

    name = "text_pairs"

    def __init__(self, learn: int = 2000, max_rows: int = 400_000, seed: int = 0) -> None:
        super().__init__(None, 28.0, 3, 20, max_rows, False, "", seed)
        self.learn = learn
        self.moments: list[tuple[int, float]] = []

    def _fit(self, dataset: Dataset) -> None:
        self.writer = BehaviourWriter(dataset, max_events=MAX_EVENTS)
        self.candidates = [shorten(text, CANDIDATE_CHARS) for text in catalogue_text(dataset)]
        super()._fit(dataset)

    def _profiles(self, histories: Histories) -> FloatArray:
        """The place of each history's user and moment in `moments`."""
        first = len(self.moments)
        at_s = np.broadcast_to(histories.at_s, len(histories.users))
        self.moments += zip(histories.users.tolist(), at_s.tolist(), strict=True)
        return np.arange(first, len(self.moments), dtype=np.float32)[:, None]

    def _learn(self, seen: list[Table], held: list[Table]) -> None:
        random = np.random.default_rng(self.seed)
        learned = self._examples(seen, self.learn, random, enrich=True)
        checked = self._examples(held, self.learn // 2, random, enrich=False)
        parts = Parts(learned, checked, checked, ("no", "yes"))
        objective = Classification("click", parts, None, metric="auc", max_tokens=MAX_TOKENS, seed=self.seed)
        base = objective.load(bundled_folder())
        schedule = Schedule(epochs=2, learning_rate=1.5e-4, seed=self.seed)
        model = attach(base, Method("lora"), fresh=objective.fresh)
        course = finetune(
            model,
            objective.batches,
            lambda batch: objective.loss(model, batch),
            schedule,
            evaluate=lambda: objective.evaluate(model),
            metric="auc",
            after_step=lambda step: after_step(model, step),
        )
        progress.note(f"{[mark.metrics['auc'] for mark in course.marks]}")
        self.objective, self.model = objective, merged(model)

    def _calibrate(self, held: list[Table]) -> None:
        """As ever, on a sample of the held-back pairs."""
        random = np.random.default_rng(self.seed)
        total = sum(len(part.labels) for part in held)
        keep = min(1.0, self.learn / 2 / total)
        super()._calibrate([part.where(random.random(len(part.labels)) < keep) for part in held])

    def _calibrate_outside(self, dataset: Dataset, users: LongArray, target: str) -> None:
        """Left out: only candidates are asked about."""

    def _examples(
        self, tables: list[Table], most: int, random: np.random.Generator, *, enrich: bool
    ) -> Examples:
        labels = np.concatenate([part.labels for part in tables]).astype(np.int32)
        first, second = (np.concatenate(column) for column in zip(*map(self._places, tables), strict=True))
        rows = random.permutation(len(labels))
        if enrich:
            yes, no = (rows[labels[rows] == label] for label in (1, 0))
            n_yes = min(len(yes), most // (1 + NEGATIVES))
            rows = np.concatenate([yes[:n_yes], no[: most - n_yes]])
        rows = rows[:most]
        return self._written(first[rows], second[rows], labels[rows])

    def _places(self, table: Table) -> tuple[IntArray, IntArray]:
        pairs = table.pairs
        return pairs.profiles[pairs.rows, 0].astype(np.int32), pairs.items

    def _written(self, first: IntArray, second: IntArray, labels: IntArray) -> Examples:
        users, at_s = zip(*(self.moments[row] for row in first), strict=True)
        texts = self.writer.write(users, np.array(at_s), second)
        return Examples(texts, labels, [self.candidates[item] for item in second])

    def _log_odds(self, pairs: Pairs) -> DoubleArray:
        rows = pairs.profiles[pairs.rows, 0].astype(np.int32)
        examples = self._written(rows, pairs.items, np.zeros(len(rows), np.int32))
        logits = logits_of(
            self.model, self.objective.reader, self.objective.reader.read(examples.texts, examples.others)
        )
        return np.asarray(logits[:, 1] - logits[:, 0], np.float64)

    def _effects(self, histories: Histories, pairs: Pairs) -> DoubleArray:
        """Unknown: all zero."""
        return np.zeros((len(pairs), len(self._ready().names)))
