"""A model made of plain text loads back, beats word frequencies, and goes on after a kill."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from intently.cli import app
from intently.errors import ArtifactError, InputError, IntentlyError
from intently.language import TextEncoder
from intently.language.architecture import open_learner
from intently.language.blocks import Blocks, Stream, ends_of, token_batches, write_blocks
from intently.language.corpus import Corpus, text_source
from intently.language.pretraining import WORK, pretrain
from intently.language.pretraining_receipt import read_receipt
from intently.language.pretraining_recipe import Recipe
from intently.language.vocabulary import KINDS, load_tokenizer, train_tokenizer
from intently.language.words import Task

TEXTS = [
    f"{brand} {thing} {size} for the {'garden' if thing == 'hose' else 'kitchen'} number {n}"
    for brand in ("acme", "zenith", "opal")
    for thing in ("tea", "coffee", "soap", "hose")
    for size in ("small", "large", "giant")
    for n in range(12)
]
TINY = {"steps": 25, "vocabulary": 400, "max_tokens": 24, "tokens": 512, "judged": 4000}


def corpus() -> Corpus:
    return Corpus([text_source(TEXTS)], held_out=0.15)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """The same sums in every process, and no core waits for another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT of 25 steps."""
    out = tmp_path_factory.mktemp("models") / "bert"
    pretrain(corpus(), out, Recipe(**TINY))
    return out


@pytest.fixture(scope="module")
def sentence(tmp_path_factory: pytest.TempPathFactory, bert: Path) -> Path:
    """An encoder without a language head, as sentence models come."""
    from transformers import BertModel

    folder = tmp_path_factory.mktemp("models") / "sentence"
    BertModel.from_pretrained(bert, add_pooling_layer=False).save_pretrained(folder)
    load_tokenizer(bert).save_pretrained(folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls"}')
    return folder


# -- from scratch --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["roberta", "gpt"])
def test_every_kind_beats_word_frequencies_and_loads_back(kind: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    receipt = pretrain(corpus(), tmp_path / kind, Recipe(kind=kind, **TINY))
    assert receipt.perplexity["after"] < 0.5 * receipt.perplexity["unigram"]
    auto = AutoModelForCausalLM if kind == "gpt" else AutoModelForMaskedLM
    model, facts = auto.from_pretrained(tmp_path / kind, output_loading_info=True)
    assert not facts["missing_keys"]
    ids = load_tokenizer(tmp_path / kind)("Acme tea 🌱 绿茶", return_tensors="pt")
    assert torch.isfinite(model(**ids).logits).all()
    vectors = TextEncoder(tmp_path / kind, speed="exact", cache=tmp_path / "cache").encode(["tea", "绿茶 🙂"])
    assert vectors.shape == (2, 128)


def test_a_bert_guesses_a_hidden_word_and_its_folder_is_whole(bert: Path) -> None:
    from transformers import AutoModelForMaskedLM

    receipt = read_receipt(bert)
    assert receipt is not None
    assert receipt.perplexity["after"] < 0.5 * receipt.perplexity["unigram"]
    tokenizer = load_tokenizer(bert)
    ids = tokenizer("acme tea small for the [MASK] number 3", return_tensors="pt")
    at = int((ids["input_ids"][0] == tokenizer.mask_token_id).nonzero()[0])
    best = AutoModelForMaskedLM.from_pretrained(bert)(**ids).logits[0, at].argmax()
    assert tokenizer.decode([int(best)]) == "kitchen"
    names = {path.name for path in bert.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md", "receipt.json"} <= names
    assert WORK not in names
    assert "held-out perplexity after" in (bert / "README.md").read_text()


def test_the_curves_can_be_read_in_tensorboard(bert: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(bert / "runs"))
    events.Reload()
    assert {"train/loss", "train/learning_rate", "perplexity"} <= set(events.Tags()["scalars"])
    assert events.Scalars("train/loss")[-1].step == 25


def test_a_finished_training_is_given_back_and_another_is_refused(bert: Path) -> None:
    before = (bert / "model.safetensors").stat().st_mtime_ns
    assert pretrain(corpus(), bert, Recipe(**TINY)).steps == 25
    assert (bert / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="holds another training"):
        pretrain(corpus(), bert, Recipe(**TINY, seed=1))


def test_other_files_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("five years")
    with pytest.raises(InputError, match="other files"):
        pretrain(corpus(), tmp_path, Recipe(**TINY))


def test_minutes_become_a_number_of_steps(tmp_path: Path) -> None:
    settings = TINY | {"steps": 0, "minutes": 0.03}
    assert pretrain(corpus(), tmp_path / "m", Recipe(**settings)).steps >= 20


# -- after a kill --------------------------------------------------------------------------------

CHILD = """
import sys; sys.path.insert(0, sys.argv[1]); import torch; torch.set_num_threads(1)
from pathlib import Path; import intently.nn.finetuning as loop
from test_pretraining import TINY, Recipe, corpus, pretrain
import os, signal
real = loop._Run._step
def step(self, batch, share):
    real(self, batch, share)
    if self.state.step == int(sys.argv[3]): os.kill(os.getpid(), signal.SIGKILL)
loop._Run._step = step
pretrain(corpus(), Path(sys.argv[2]), Recipe(**TINY))
"""


def test_a_killed_training_ends_with_the_same_curve_and_the_same_weights(bert: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(tmp_path / "a"), "17"]
    assert subprocess.run(words, capture_output=True, check=False).returncode == -signal.SIGKILL
    assert (tmp_path / "a" / WORK / "model" / "checkpoint.safetensors").exists()
    assert not (tmp_path / "a" / "config.json").exists()
    resumed, straight = pretrain(corpus(), tmp_path / "a", Recipe(**TINY)), read_receipt(bert)
    assert straight is not None
    assert resumed.curve == straight.curve
    assert resumed.perplexity == straight.perplexity
    weights = [(folder / "model.safetensors").read_bytes() for folder in (tmp_path / "a", bert)]
    assert weights[0] == weights[1]


# -- continued -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["full", "lora"])
def test_an_encoder_without_a_head_gets_one_and_stays_an_encoder(
    method: str, sentence: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForMaskedLM

    receipt = pretrain(corpus(), tmp_path / "on", Recipe(start=sentence, method=method, **TINY))
    perplexity = receipt.perplexity
    assert perplexity["after"] < perplexity["before"] < perplexity["fresh"]
    assert receipt.head_steps > 0
    _, facts = AutoModelForMaskedLM.from_pretrained(tmp_path / "on", output_loading_info=True)
    assert not facts["missing_keys"]
    encoder = TextEncoder(tmp_path / "on", speed="exact", cache=tmp_path / "cache")
    assert encoder.folder.pooling == "cls"  # as the folder it came from
    assert encoder.encode(["acme tea"]).shape == (1, 128)
    assert (receipt.trained < receipt.parameters / 5) == (method == "lora")


def test_the_head_alone_leaves_the_encoder_as_it_was(sentence: Path, tmp_path: Path) -> None:
    pretrain(corpus(), tmp_path / "head", Recipe(start=sentence, method="head", **TINY))
    cache = tmp_path / "cache"
    before = TextEncoder(sentence, speed="exact", cache=cache).encode(TEXTS[:5])
    after = TextEncoder(tmp_path / "head", speed="exact", cache=cache).encode(TEXTS[:5])
    assert (before == after).all()


def test_a_gpt_goes_on_as_a_gpt(tmp_path: Path) -> None:
    pretrain(corpus(), tmp_path / "one", Recipe(kind="gpt", **TINY))
    receipt = pretrain(corpus(), tmp_path / "two", Recipe(start=tmp_path / "one", **TINY))
    assert receipt.objective == "next word"
    assert receipt.head_steps == 0
    assert receipt.perplexity["after"] <= receipt.perplexity["before"]
    with pytest.raises(InputError, match="brings its own"):
        pretrain(corpus(), tmp_path / "three", Recipe(start=tmp_path / "one", method="head", **TINY))


# -- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"kind": "bart"}, "unknown kind 'bart'"),
        ({"size": "huge"}, "unknown size 'huge'"),
        ({"method": "adalora"}, "unknown method 'adalora'"),
        ({"method": "lora"}, "needs a model to start from"),
        ({"minutes": 0.0}, "minutes must be above 0"),
        ({"max_tokens": 4}, "max_tokens must lie between"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Recipe(**settings)  # type: ignore[arg-type]


def test_folders_that_cannot_be_trained_are_named(sentence: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model folder"):
        pretrain(corpus(), tmp_path / "x", Recipe(start=tmp_path / "none", **TINY))
    import shutil

    copy = shutil.copytree(sentence, tmp_path / "copy")
    (copy / "adapter.json").write_text("{}")
    with pytest.raises(InputError, match="holds adapters"):
        open_learner(copy, 24)
    (copy / "adapter.json").unlink()
    facts = json.loads((copy / "tokenizer_config.json").read_text())
    del facts["mask_token"]
    (copy / "tokenizer_config.json").write_text(json.dumps(facts))
    with pytest.raises(InputError, match="has no mask token"):
        open_learner(copy, 24)
    (copy / "tokenizer.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"tokenizer in .* is damaged"):
        open_learner(copy, 24)


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    import resource

    tokenizer = train_tokenizer(lambda: TEXTS, size=400)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
    try:
        with pytest.raises(IntentlyError, match="cannot be written"):
            write_blocks(TEXTS, tokenizer, ends_of(tokenizer, causal=False), 24, tmp_path / "blocks")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_wandb_works_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    from intently.nn.tracking import Tracker

    with Tracker(tmp_path, wandb=True, name="try", settings={"steps": 2}) as tracker:
        tracker.scalar("loss", 1.5, 1)
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


# -- parts ---------------------------------------------------------------------------------------


def test_any_text_becomes_pieces_that_fit(tmp_path: Path) -> None:
    texts = ["x" * 10_000, "🙂 " * 3000, "绿茶很好喝" * 400, "tea"]
    for kind in KINDS:
        tokenizer = train_tokenizer(lambda: [*TEXTS, *texts], kind, size=600)
        blocks = write_blocks(texts, tokenizer, ends_of(tokenizer, causal=kind == "gpt"), 24, tmp_path / kind)
        assert int(blocks.lengths.max()) <= 24
        assert int(blocks.lengths.min()) >= 3
        assert len(load_tokenizer_again(tokenizer, tmp_path / f"{kind}-t")("绿茶")["input_ids"]) >= 2


def load_tokenizer_again(tokenizer: object, folder: Path) -> object:
    tokenizer.save_pretrained(folder)  # type: ignore[attr-defined]
    return load_tokenizer(folder)


def test_what_is_judged_comes_from_every_source_and_never_chose_the_best_mark() -> None:
    import numpy as np

    ids = np.repeat(np.arange(100, dtype=np.int32), 3)  # piece n is three times n
    blocks = Blocks(ids, np.arange(0, 303, 3))
    halves = [set(blocks.drawn(half, 10_000).ids.tolist()) for half in (0, 1)]
    assert halves[0] | halves[1] == set(range(100))
    assert not halves[0] & halves[1]
    few = blocks.drawn(1, 60)
    assert (few.lengths == 3).all()
    assert len(few) == 20
    assert min(few.ids) < 30 < 70 < max(few.ids)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_texts_give_the_same_vocabulary(kind: str) -> None:
    """Words said once each: only the breaking of ties decides, and hash maps must not."""
    lot = random.Random(0)
    words = ["".join(lot.choices("abcdefghij绿茶红酒🌱é", k=8)) for _ in range(300)]
    made = [train_tokenizer(lambda: words, kind, size=700) for _ in range(3)]
    assert made[0].get_vocab() == made[1].get_vocab() == made[2].get_vocab()
    assert set(made[0].all_special_tokens) <= set(made[0].get_vocab())
    assert made[0].decode(made[0](words[0])["input_ids"], skip_special_tokens=True).strip()


def test_bad_vocabularies_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown kind"):
        train_tokenizer(lambda: TEXTS, "t5")
    with pytest.raises(InputError, match="at least 300"):
        train_tokenizer(lambda: TEXTS, size=10)


def test_batches_hold_every_piece_once_within_their_tokens() -> None:
    import numpy as np

    lengths = np.random.default_rng(0).integers(3, 40, 500)
    batches = token_batches(lengths, 128, seed=1, epoch=2)
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    assert all(len(rows) * lengths[rows].max() <= 128 for rows in batches)
    padding = 1 - lengths.sum() / sum(len(rows) * lengths[rows].max() for rows in batches)
    assert padding < 0.1
    stream = Stream(3 * len(batches), lambda epoch: token_batches(lengths, 128, 1, epoch))
    again = Stream(3 * len(batches), lambda epoch: token_batches(lengths, 128, 1, epoch))
    at = len(stream) - 1
    assert stream[at].tolist() == [again[row] for row in range(at + 1)][at].tolist()


def test_fifteen_in_a_hundred_words_are_asked_and_special_tokens_never() -> None:
    torch.manual_seed(0)
    ids = torch.randint(5, 100, (200, 50))
    ids[:, 0] = 2
    mask = torch.ones_like(ids)
    mask[:, 40:] = 0
    task = Task(pad_id=0, mask_id=4, special=(0, 1, 2, 3, 4), vocabulary=100)
    inputs, asked, answers = task.question(ids, mask)
    assert not asked[:, 0].any()
    assert not asked[:, 40:].any()
    assert (answers == ids[asked]).all()
    share = float(asked[:, 1:40].float().mean())
    assert abs(share - 0.15) < 0.01
    assert abs(float((inputs[asked] == 4).float().mean()) - 0.8) < 0.03
    assert (inputs[~asked] == ids[~asked]).all()


def test_the_next_word_is_asked_at_every_word_but_the_last() -> None:
    ids, mask = torch.tensor([[9, 5, 6, 9], [9, 7, 9, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    task = Task(pad_id=0, mask_id=None, special=(9,), vocabulary=10)
    _, asked, answers = task.question(ids, mask)
    assert asked.tolist() == [[True, True, True, False], [True, True, False, False]]
    assert answers.tolist() == [5, 6, 9, 7, 9]


# -- the command ---------------------------------------------------------------------------------


def test_the_command_trains_on_files_and_prints_json(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    words = ["pretrain", "--corpus", str(tmp_path / "c.txt"), "--out", str(tmp_path / "m"), "--steps", "3"]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["steps"] == 3
    again = CliRunner().invoke(app, words)
    assert "held-out perplexity" in again.stdout


@pytest.mark.parametrize("named", [True, False])
def test_the_command_goes_on_from_a_folder_or_from_a_model_that_comes_along(
    named: bool, sentence: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("intently.language.choice.bundled_folder", lambda: sentence)
    (tmp_path / "c.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    words = ["pretrain", "--corpus", str(tmp_path / "c.txt"), "--out", str(tmp_path / "m"), "--steps", "3"]
    done = CliRunner().invoke(app, [*words, "--model", "english" if named else str(sentence), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert Path(told["asked"]["start"]).name == sentence.name
    assert told["head_steps"] > 0  # an encoder had no head yet


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--out", "m"], "nothing to read"),
        (["--out", "m", "--corpus", "none.txt"], "no file none.txt"),
        (["--out", "m", "--corpus", "one.txt"], "says too little"),
        (["--out", "m", "--corpus", "one.txt", "--kind", "bart"], "unknown kind"),
        (["--out", "m", "--home", "nowhere"], "no shop in nowhere"),
    ],
)
def test_bad_input_is_one_clear_line(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.txt").write_text("tea\n" * 100)
    done = CliRunner().invoke(app, ["pretrain", *words])
    assert isinstance(done.exception, InputError)
    assert says in done.exception.message
    assert done.exception.exit_code == 2
