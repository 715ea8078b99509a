"""A generator names the next item, a discriminator judges its guesses; answers weigh both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from intently.data import Dataset, Histories
from intently.errors import InputError
from intently.evaluate import metrics
from intently.models.base import BATCH, Recommender, State
from intently.models.ranking import rank
from intently.models.space import Choice, Float, Space
from intently.nn.inference import discriminate, generate, unit
from intently.nn.packing import ragged
from intently.schema import FloatArray, IntArray, LongArray

if TYPE_CHECKING:
    from intently.nn.adversarial import Asked, Game

HELD_SHARE = 0.1
HELD_MOST = 2048
HELD_LEAST = 50
"""Users whose last event chooses the epoch: a tenth, at most 2,048; none below 50."""

DECAY = 0.8
"""Weight of one moment earlier: where the generator starts, and what the discriminator keeps."""

KEPT = ("vocabulary", "popularity", "curve")
"""What is saved besides the networks' weights."""


class Adversarial(Recommender):
    """score(j) = generator's logit of j + verdict * discriminator's log-odds of j.

    As in CFGAN (Chae et al., CIKM 2018) the generator makes the whole vector of items at once from a
    history; as in IRGAN (Wang et al., SIGIR 2017) the discriminator tells single items that came next
    from items that the generator drew. What makes the training stable, and differs: the generator also
    learns what came next by a softmax over the catalogue, so that it has its own ground to stand on;
    its part of the game is the exact expectation over all items (IRGAN estimates it from a few draws,
    CFGAN has a masked vector of real values judged); both networks move at once, and the moving average
    of their weights answers. Input is the history, not a user id: a fresh event counts, strangers get
    what is popular. Items that nobody met score below all others.

    An ideal discriminator's log-odds are log(p(next) / p(drawn)), so that adding them to the logits
    corrects the generator; `verdict` is how far it is believed.

    d, hidden: width of item vectors, neurons of the generator's layer. judge_d: width of the
    discriminator; it is smaller. adversarial: weight of the game in the generator's loss. verdict:
    weight of the discriminator in an answer; with both 0 there is none. max_length: events
    looked at. rows: targets a step. epochs: at most. epoch_rows: targets an epoch at most, drawn
    anew. candidates: a larger catalogue is sampled down to this many items in each step's softmax.
    """

    name = "adversarial"
    SPACE: ClassVar[Space] = {
        "d": Choice((32, 64, 96, 128)),
        "dropout": Float(0.0, 0.6),
        "learning_rate": Float(5e-4, 1e-2, log=True),
        "adversarial": Float(0.01, 1.0, log=True),
        "verdict": Float(0.0, 1.0),
    }

    def __init__(  # noqa: PLR0913 - the hyper-parameters
        self,
        d: int = 64,
        hidden: int = 128,
        judge_d: int = 32,
        adversarial: float = 0.1,
        verdict: float = 0.3,
        max_length: int = 50,
        dropout: float = 0.2,
        learning_rate: float = 0.003,
        rows: int = 1024,
        epochs: int = 12,
        epoch_rows: int = 150_000,
        candidates: int = 16_384,
        seed: int = 0,
    ) -> None:
        super().__init__()
        counts = {
            "d": d, "hidden": hidden, "judge_d": judge_d, "max_length": max_length, "rows": rows,
            "epochs": epochs, "epoch_rows": epoch_rows, "candidates": candidates,
        }  # fmt: skip
        for field, count in counts.items():
            if count < 1:
                raise InputError(f"{field} must be at least 1, got {count}", field=field)
        for field, weight in {"adversarial": adversarial, "verdict": verdict}.items():
            if not weight >= 0:
                raise InputError(f"{field} must not be negative, got {weight}", field=field)
        if not 0 <= dropout < 1:
            raise InputError(f"dropout must be in [0, 1), got {dropout}", field="dropout")
        if not learning_rate > 0:
            raise InputError(f"learning_rate must be above 0, got {learning_rate}", field="learning_rate")
        self.d, self.hidden, self.judge_d = d, hidden, judge_d
        self.adversarial, self.verdict = adversarial, verdict
        self.max_length, self.dropout, self.learning_rate = max_length, dropout, learning_rate
        self.rows, self.epochs, self.epoch_rows = rows, epochs, epoch_rows
        self.candidates, self.seed = candidates, seed
        self._forget()

    def _forget(self) -> None:
        self.vocabulary: IntArray = np.zeros(0, np.int32)  # dense ids of the items that were met
        self.popularity: FloatArray = np.zeros(0, np.float32)  # share of events, by vocabulary
        self.weights: dict[str, FloatArray] = {}  # of both networks; none when nobody has a next event
        self.curve: FloatArray = np.zeros((0, 2), np.float32)  # loss and NDCG@10 of each epoch

    # -- learning ------------------------------------------------------------------------------

    def _fit(self, dataset: Dataset) -> None:
        self._forget()
        histories = dataset.histories()
        counts = np.bincount(histories.items, minlength=dataset.n_items)
        if not counts.any():
            raise InputError("the dataset has no positive events", hint="views, clicks or purchases")
        self.vocabulary = np.flatnonzero(counts).astype(np.int32)
        self.popularity = (counts[self.vocabulary] / counts.sum()).astype(np.float32)
        opened = moments_opened(histories)
        begins = np.repeat(histories.indptr[:-1], histories.lengths)
        able = np.flatnonzero(opened > begins)  # events with something before their moment
        random = np.random.default_rng(self.seed)
        held = held_back(histories, able, random)
        learned = np.setdiff1d(able, held)
        if len(learned):
            self._train(histories, opened, learned, held, random)

    def _train(
        self,
        histories: Histories,
        opened: LongArray,
        learned: LongArray,
        held: LongArray,
        random: np.random.Generator,
    ) -> None:
        import torch

        from intently.nn.adversarial import PLAYED, Asked
        from intently.nn.training import Plan, train

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            game = self._game()
        columns = np.searchsorted(self.vocabulary, histories.items)
        begins = np.repeat(histories.indptr[:-1], histories.lengths)
        moment = np.cumsum(opened == np.arange(len(opened)))
        size = int(min(self.rows, max(32, len(learned) // 16)))

        def asked(targets: LongArray) -> Asked:
            stop = opened[targets]
            first = np.maximum(stop - self.max_length, begins[targets])
            lengths = stop - first
            at = ragged(first, lengths)
            back = np.repeat(moment[targets], lengths) - moment[at] - 1
            arrays = (columns[at], np.cumsum(lengths) - lengths, back, columns[targets])
            return Asked(*(torch.from_numpy(array) for array in arrays))

        def batches() -> Iterator[tuple[Asked, Asked]]:
            order = random.permutation(learned)[: self.epoch_rows]
            for start in range(0, len(order), size):
                targets = order[start : start + size]
                yield asked(targets), asked(targets[:PLAYED])

        owner = np.repeat(np.arange(len(histories)), histories.lengths)
        question = prefixes(histories.select(owner[held]), opened[held] - begins[held])
        truth = histories.items[held]

        def validate() -> float:
            self._take(game)
            return self._ndcg(question, truth)

        plan = Plan(self.epochs, self.learning_rate, patience=4, seed=self.seed)
        done = train(game, batches, game.loss, validate if len(held) else None, plan)
        self._take(game)
        self.curve = np.array([(e.loss, e.validation) for e in done], np.float32)

    def _game(self) -> Game:
        import torch

        from intently.nn.adversarial import Discriminator, Game, Generator

        n = len(self.vocabulary)
        generator = Generator(n, self.d, self.hidden, self.max_length, DECAY, self.dropout)
        judged = self.adversarial > 0 or self.verdict > 0
        judge = Discriminator(n, self.judge_d, self.max_length, DECAY) if judged else None
        share = torch.from_numpy(self.popularity)
        return Game(generator, judge, share, self.candidates, self.adversarial)

    def _take(self, game: Game) -> None:
        """The networks' weights as arrays; item vectors as they are asked, of length one."""
        networks = {"generator": game.generator} | ({"judge": game.judge} if game.judge else {})
        self.weights = {
            f"{side}.{name}": value.numpy().copy()
            for side, network in networks.items()
            for name, value in network.state_dict().items()
        }
        self.weights["generator.own"] = unit(self.weights["generator.own"])

    def _ndcg(self, question: Histories, truth: IntArray) -> float:
        """Mean NDCG@10 of the held-back events."""
        found = []
        for start in range(0, len(question), BATCH):
            part = question.select(np.arange(start, min(start + BATCH, len(question))))
            items = rank(self._scores(part), part, 10, self.repeats, None, None).items
            found.append(metrics.hits(items, np.arange(len(part) + 1), truth[start : start + BATCH]))
        return float(metrics.ndcg(np.concatenate(found), np.ones(len(truth), np.int64), 10).mean())

    # -- answering -----------------------------------------------------------------------------

    def _scores(self, histories: Histories) -> FloatArray:
        latest = self._latest(histories)
        known = np.repeat(np.log(self.popularity)[None], len(latest), axis=0)
        asked = np.flatnonzero(latest.lengths) if self.weights else np.zeros(0, np.int64)
        if len(asked):
            known[asked] = self._logits(latest.select(asked))
        below = known.min(axis=1, initial=0.0) - 1.0
        scores = np.repeat(below.astype(np.float32)[:, None], self.n_items, axis=1)
        scores[:, self.vocabulary] = known
        return scores

    def _latest(self, histories: Histories) -> Histories:
        """The latest events in columns of the vocabulary; items nobody met are left out."""
        columns = np.searchsorted(self.vocabulary, histories.items).astype(np.int32)
        met = self.vocabulary[np.minimum(columns, len(self.vocabulary) - 1)] == histories.items
        indptr = np.concatenate([[0], np.cumsum(met)])[histories.indptr].astype(np.int64)
        known = Histories(
            indptr,
            columns[met],
            histories.time_s[met],
            histories.events[met],
            histories.users,
            histories.at_s,
        )
        return known.last(self.max_length)

    def _logits(self, latest: Histories) -> FloatArray:
        """(batch, vocabulary) of histories with an event at least."""
        back = latest.steps_back
        decay = np.exp(self.weights["generator.log_weight"])
        out = generate(bag(latest, decay[back], self.weights["generator.own"]), self.weights)
        if self.verdict > 0:
            seen = bag(latest, self.weights["judge.decay"][back], self.weights["judge.inward"])
            out += np.float32(self.verdict) * discriminate(seen, self.weights)
        return out

    # -- keeping -------------------------------------------------------------------------------

    def _state(self) -> State:
        own = {name: getattr(self, name) for name in KEPT}
        return own | {f"network.{name}": value for name, value in self.weights.items()}

    def _restore(self, state: State) -> None:
        for name in KEPT:
            setattr(self, name, state[name])
        self.weights = {
            name.removeprefix("network."): value
            for name, value in state.items()
            if name.startswith("network.")
        }


def bag(histories: Histories, weights: FloatArray, table: FloatArray) -> FloatArray:
    """(batch, d): weighted sum of the rows of `table` of each history's items."""
    out: FloatArray = histories.matrix(len(table), weights.astype(np.float32)) @ table
    return out


def moments_opened(histories: Histories) -> LongArray:
    """(n_events,) place of the first event of each event's moment: a basket opens together."""
    n, rows = len(histories.items), histories.rows
    new = np.ones(n, bool)
    new[1:] = (rows[1:] != rows[:-1]) | (histories.time_s[1:] != histories.time_s[:-1])
    out: LongArray = np.maximum.accumulate(np.where(new, np.arange(n), 0))
    return out


def prefixes(histories: Histories, lengths: LongArray) -> Histories:
    """Only the first `lengths` events of each row."""
    at = ragged(histories.indptr[:-1], lengths)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return replace(
        histories, indptr=indptr, items=histories.items[at], time_s=histories.time_s[at],
        events=histories.events[at],
    )  # fmt: skip


def held_back(histories: Histories, able: LongArray, random: np.random.Generator) -> LongArray:
    """The last events of a few users, of those that have something before them; they choose the epoch."""
    last = np.intersect1d(histories.indptr[1:] - 1, able)
    count = min(int(HELD_SHARE * len(last)), HELD_MOST)
    return np.sort(random.permutation(last)[:count]) if count >= HELD_LEAST else last[:0]
