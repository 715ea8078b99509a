"""Pre-training a language model on plain text, from scratch or continued from any transformers folder.

    corpus -> tokenizer (learned, or the folder's) -> token ids on disk -> batches of like length
           -> hidden words or the next word (words.py) -> perplexity on held-out text, before and after
           -> a transformers folder with a receipt

How long: `steps`, or `minutes`, from which the number of steps is found by timing a few and then fixed, so
that a training that was killed goes on to the same end. The place it stands at is `OUT/.training`.

Before, for an encoder that has no language head, is measured after a fresh head alone was trained for a
quarter of the steps with the encoder frozen: what a reader of the untouched model can do. The fresh head's
own figure is in the receipt as `fresh`. `method="head"` trains nothing but the head for all steps: the
control that says how much of a gain is the head's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from intently import progress
from intently.errors import InputError
from intently.language.architecture import Learner, new_learner, open_learner, start_at_frequencies
from intently.language.blocks import Blocks, Stream, ends_of, open_blocks, token_batches, write_blocks
from intently.language.corpus import Corpus
from intently.language.folder import open_folder
from intently.language.methods import Method, attach, merged, trainable
from intently.language.pretraining_receipt import PretrainingReceipt, publish, read_receipt
from intently.language.pretraining_recipe import HEAD_RATE, Recipe
from intently.language.vocabulary import load_tokenizer, train_tokenizer
from intently.language.words import Verdict, judge, loss_of, unigram
from intently.nn.finetuning import Course, Schedule, finetune
from intently.nn.tracking import Tracker
from intently.schema import DoubleArray

WORK: Final = ".training"

_HEAD_SHARE = 0.25
_MARKS = 10
_LEAST_STEPS = 20


def pretrain(
    corpus: Corpus,
    out: Path,
    recipe: Recipe | None = None,
    *,
    wandb: bool = False,
    tracking: Callable[[Mapping[str, Any]], Tracker] | None = None,
) -> PretrainingReceipt:
    """Train on the corpus' training part and write a transformers folder to `out`.

    The folder loads with AutoModelForMaskedLM or AutoModelForCausalLM and with TextEncoder. Run again with
    the same `out` it goes on where it was stopped; when it was finished, its receipt is given back.
    tracking: makes the tracker from what was asked, once it is clear that there is something to train;
    whoever gives it closes it. None: TensorBoard's file in `out`/runs, and W&B when `wandb`.

    Raises InputError for a corpus that says too little, a folder that cannot be used, or an `out` that holds
    something else; IntentlyError when the disk is full or the loss is not finite.
    """
    recipe = recipe or Recipe()
    work = out / WORK
    asked = _asked(corpus, recipe)
    if done := _finished(out, asked):
        return done
    run = _Run(corpus, recipe, work, asked)
    tracked = (
        Tracker(out / "runs", wandb=wandb, name=out.name, settings=asked)
        if tracking is None
        else nullcontext(tracking(asked))
    )
    with tracked as tracker:
        warm = run.warm_up(tracker)
        before = run.before(warm)
        course = run.train(tracker)
    after = run.judged()
    receipt = run.receipt(before, after, warm, course)
    publish(merged(run.tuned), run.learner.tokenizer, receipt, out, work, recipe.start)
    return receipt


def _asked(corpus: Corpus, recipe: Recipe) -> dict[str, Any]:
    """What makes two trainings the same."""
    start = {"start": "", "start_fingerprint": ""}
    if recipe.start is not None:
        start = {
            "start": recipe.start.resolve().name,
            "start_fingerprint": open_folder(recipe.start).fingerprint,
        }
    data = {"corpus": corpus.facts.fingerprint, "held_out": corpus.held_out}
    return asdict(recipe) | start | data


def _finished(out: Path, asked: dict[str, Any]) -> PretrainingReceipt | None:
    """The receipt of the same training in `out`; raises InputError when something else stands there."""
    receipt = read_receipt(out)
    plan = out / WORK / "plan.json"
    other = f"{out} holds another training or other files"
    hint = "choose another --out, or remove it"
    if receipt is not None:
        if receipt.asked != asked:
            raise InputError(other, hint=hint)
        progress.note(f"{out} is finished already")
        return receipt
    if plan.exists():
        if json.loads(plan.read_text(encoding="utf-8")).get("asked") != asked:
            raise InputError(other, hint=hint)
    elif out.exists() and (out.is_file() or any(path.name not in (WORK, "runs") for path in out.iterdir())):
        raise InputError(other, hint=hint)
    return None


@dataclass
class _Plan:
    """What is fixed before the first step, kept beside the checkpoint."""

    asked: dict[str, Any]
    steps: int = 0
    before: dict[str, float] = field(default_factory=dict)

    def write(self, work: Path) -> None:
        aside = work / "plan.json.new"
        aside.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        aside.replace(work / "plan.json")


class _Run:
    """One pre-training: learner, token ids, plan."""

    def __init__(self, corpus: Corpus, recipe: Recipe, work: Path, asked: dict[str, Any]) -> None:
        self.corpus, self.recipe, self.work = corpus, recipe, work
        self.began_s, self.began_cpu_s = time.monotonic(), time.process_time()
        work.mkdir(parents=True, exist_ok=True)
        self.learner = self._learner()
        self.model, self.task = self.learner.model, self.learner.task
        self.blocks = {part: self._blocks(part) for part in ("train", "held_out")}
        self.chances: DoubleArray = unigram(self.blocks["train"], self.task)
        if self.learner.fresh or recipe.start is None:
            start_at_frequencies(self.model, self.learner.fresh, self.chances)
        self.tokens = self._batch_tokens()
        self.tuned: torch.nn.Module = self.model
        self.plan = self._plan(asked)

    # -- preparing ----------------------------------------------------------------------------

    def _learner(self) -> Learner:
        recipe = self.recipe
        if recipe.start is not None:
            return open_learner(recipe.start, recipe.max_tokens)
        folder = self.work / "tokenizer"
        if not folder.exists():
            with progress.track("learning a vocabulary"):
                made = train_tokenizer(
                    lambda: self.corpus.texts("train"),
                    recipe.kind,
                    size=recipe.vocabulary,
                    max_tokens=recipe.max_tokens,
                )
            made.save_pretrained(folder.with_suffix(".new"))
            folder.with_suffix(".new").rename(folder)
        return new_learner(recipe.kind, recipe.size, load_tokenizer(folder), recipe.max_tokens, recipe.seed)

    def _blocks(self, part: str) -> Blocks:
        path = self.work / part
        if (self.work / "plan.json").exists():
            return open_blocks(path)
        ends = ends_of(self.learner.tokenizer, causal=self.learner.causal)
        with progress.track(f"reading the corpus ({part})"):
            texts = self.corpus.texts(part)
            return write_blocks(texts, self.learner.tokenizer, ends, self.learner.max_tokens, path)

    def _batch_tokens(self) -> int:
        """Tokens of a batch, fewer where the scores of all words would not fit into 256 MB."""
        share = 1.0 if self.learner.causal else 0.2
        fits = int((64 << 20) / self.task.vocabulary / share)
        return max(self.learner.max_tokens, min(self.recipe.tokens, fits))

    def _plan(self, asked: dict[str, Any]) -> _Plan:
        path = self.work / "plan.json"
        if path.exists():
            return _Plan(**json.loads(path.read_text(encoding="utf-8")))
        plan = _Plan(asked, self.recipe.steps or self._affordable())
        plan.write(self.work)
        return plan

    def _affordable(self) -> int:
        """Steps that fit into the minutes, judging included, by timing a few that change nothing."""
        batches = token_batches(self.blocks["train"].lengths, self.tokens, self.recipe.seed, 0)
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.0, weight_decay=0.0, fused=True)
        spent, seen = [], 0
        with torch.random.fork_rng(devices=[]):
            for rows in batches[:8]:
                start = time.monotonic()
                loss_of(self.model, self.task, self.blocks["train"], rows).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                spent.append(time.monotonic() - start)
                seen += int(self.blocks["train"].lengths[rows].sum())
        step_s = float(np.median(spent))
        of_judging = min(self.recipe.judged, len(self.blocks["held_out"].ids)) * (2 + _MARKS / 4)
        left_s = 60.0 * self.recipe.minutes - of_judging / (3 * seen / len(spent)) * step_s
        share = 1.0 + _HEAD_SHARE / 2 if self.learner.fresh else 1.0
        return max(_LEAST_STEPS, int(left_s / step_s / share))

    # -- training -----------------------------------------------------------------------------

    def warm_up(self, tracker: Tracker) -> Course | None:
        """Train a fresh head alone, the rest frozen; None where the model brought its head."""
        if not self.learner.fresh or self.recipe.method == "head":
            return None
        if "fresh" not in self.plan.before:
            self.plan.before["fresh"] = self.judged().perplexity
            self.plan.write(self.work)
        self._only_fresh()
        progress.note("a fresh head is trained alone before anything is judged")
        steps = max(1, int(self.plan.steps * _HEAD_SHARE))
        return self._course("head", steps, HEAD_RATE, tracker)

    def before(self, warm: Course | None) -> dict[str, float]:
        """Perplexity before training, and what word frequencies alone give."""
        if "before" not in self.plan.before:
            found = self.judged()
            self.plan.before |= {"before": found.perplexity, "unigram": found.unigram}
            self.plan.write(self.work)
        return self.plan.before

    def train(self, tracker: Tracker) -> Course:
        """The training itself."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe.seed)
            if self.recipe.method == "head":
                if not self.learner.fresh:
                    raise InputError(
                        "method head trains a fresh head, and this model brings its own", field="method"
                    )
                self._only_fresh()
            else:
                self.tuned = attach(self.model, Method(self.recipe.method), fresh=self.learner.fresh)
        return self._course("model", self.plan.steps, self.recipe.rate, tracker)

    def _only_fresh(self) -> None:
        fresh = set(self.learner.fresh)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in fresh)

    def _course(self, name: str, steps: int, rate: float, tracker: Tracker) -> Course:
        """One schedule over `steps` batches, as one epoch; the passes over the corpus are inside."""
        train = self.blocks["train"]
        each = partial(token_batches, train.lengths, self.tokens, self.recipe.seed)
        schedule = Schedule(
            epochs=1,
            learning_rate=rate,
            every=max(1, steps // _MARKS),
            seed=self.recipe.seed,
        )
        return finetune(
            self.tuned,
            lambda _epoch: Stream(steps, each),
            partial(loss_of, self.model, self.task, train),
            schedule,
            evaluate=self._evaluate if name == "model" else None,
            metric="log_likelihood" if name == "model" else "",
            checkpoint=self.work / name,
            tracker=tracker if name == "model" else None,
        )

    # -- judging ------------------------------------------------------------------------------

    def judged(self) -> Verdict:
        """Figures on one half of the held-out text."""
        return self._verdict(1, self.recipe.judged)

    def _evaluate(self) -> dict[str, float]:
        """Figures on the other half, by which the best mark is chosen."""
        found = self._verdict(0, self.recipe.judged // 4)
        return {"log_likelihood": -float(np.log(found.perplexity)), "perplexity": found.perplexity}

    def _verdict(self, half: int, tokens: int) -> Verdict:
        self.model.eval()
        blocks = self.blocks["held_out"].drawn(half, tokens)
        return judge(self.model, self.task, blocks, self.chances, self.tokens)

    def receipt(
        self, before: dict[str, float], after: Verdict, warm: Course | None, course: Course
    ) -> PretrainingReceipt:
        """Everything that was done and what it brought."""
        trained, parameters = trainable(self.tuned)
        tokens = {part: int(blocks.starts[-1]) for part, blocks in self.blocks.items()}
        seen = sum(self._seen(course.steps))
        return PretrainingReceipt(
            asked=self.plan.asked,
            kind=str(self.model.config.model_type),
            objective="next word" if self.learner.causal else "hidden words",
            parameters=parameters,
            trained=trained,
            vocabulary=self.task.vocabulary,
            corpus=asdict(self.corpus.facts),
            tokens=tokens,
            steps=course.steps,
            head_steps=warm.steps if warm else 0,
            passes=round(seen / tokens["train"], 3),
            cpu_s=round(course.cpu_s + (warm.cpu_s if warm else 0.0), 1),
            wall_s=round(course.wall_s + (warm.wall_s if warm else 0.0), 1),
            perplexity={
                key: round(value, 3) for key, value in (before | {"after": after.perplexity}).items()
            },
            judged_words=after.words,
            curve=[asdict(mark) for mark in course.marks],
        )

    def _seen(self, steps: int) -> list[int]:
        lengths = self.blocks["train"].lengths
        each = partial(token_batches, lengths, self.tokens, self.recipe.seed)
        stream = Stream(steps, each)
        return [int(lengths[stream[at]].sum()) for at in range(steps)]
