"""Tuning end to end: what is learned, what it says of itself, what a shop then reads with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kinds_shop import kinds_shop
from torch import Tensor, nn
from typer.testing import CliRunner

from intently.cli import app
from intently.config import Settings
from intently.errors import ArtifactError, InputError
from intently.language import TextEncoder, next_text, receipt
from intently.language.choice import choose_encoder
from intently.language.contrast import Contrast, Contrasting
from intently.language.methods import METHODS, Method
from intently.language.publish import publish
from intently.language.tune import compare, tune
from intently.nn.finetuning import Schedule
from intently.pipeline import read_catalogue

SMALL = Contrasting(items=32, questions=256, negatives=256)
LONG = Schedule(epochs=12, learning_rate=1e-3)


@pytest.fixture
def task(tiny: Path) -> Contrast:
    return next_text.from_shop(kinds_shop(), tiny, SMALL, max_tokens=8)


def test_the_tuned_encoder_beats_the_untuned_and_its_folder_gives_the_same(
    task: Contrast, tiny: Path, tmp_path: Path
) -> None:
    paper = tune(tiny, task, Method("full"), LONG, tmp_path / "out")
    assert paper.better
    assert paper.groups["all"].after.value > paper.groups["all"].before.value + 0.1
    assert set(paper.groups) == {"all", "warm", "cold"}
    assert paper.trained == paper.parameters
    assert receipt.read(tmp_path / "out") == paper
    again = task.measure(task.load(tmp_path / "out"))
    assert again["all"].mean() == pytest.approx(paper.groups["all"].after.value)
    assert not list(tmp_path.glob(".*"))  # no drafts


def test_compare_trains_all_four_under_one_budget_and_keeps_the_untuned_when_titles_say_nothing(
    tiny: Path, tmp_path: Path
) -> None:
    plain = replace(SMALL, whiten=False)  # a random model's vectors are hubs, which whitening alone cures
    task = next_text.from_shop(kinds_shop(faithful=False), tiny, plain, max_tokens=8)
    methods = [Method(name) for name in METHODS]
    schedule = Schedule(epochs=4, learning_rate=1e-3)
    papers = compare(tiny, task, methods, schedule, tmp_path / "room", apart=False)
    assert [paper.method for paper in papers] == list(METHODS)
    assert list(receipt.rows(papers)[0])[:5] == list(receipt.COSTS)
    full, *others = papers
    assert all(paper.trained < full.trained for paper in others)
    made = {paper.method: tmp_path / "room" / paper.method for paper in papers}
    place, told = publish(tmp_path / "home", made, papers)
    assert place is None
    assert told.startswith("the untuned model is kept")
    assert choose_encoder(["green tea"], Settings(home=tmp_path / "home")).name != "live"


def test_a_method_in_its_own_process_says_the_same(task: Contrast, tiny: Path, tmp_path: Path) -> None:
    schedule = Schedule(epochs=1, learning_rate=1e-3)
    (apart,) = compare(tiny, task, [Method("full")], schedule, tmp_path / "apart")
    (here,) = compare(tiny, task, [Method("full")], schedule, tmp_path / "here", apart=False)
    assert apart.groups == here.groups
    assert apart.peak_mb > 0


def test_the_winner_is_published_and_the_catalogue_is_read_with_it(
    task: Contrast, tiny: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    paper = tune(tiny, task, Method("full"), LONG, tmp_path / "made")
    expected = TextEncoder(tmp_path / "made", speed="exact", cache=tmp_path / "c").encode(["green tea"])
    place, told = publish(home, {"full": tmp_path / "made"}, [paper])
    assert place is not None
    assert told.startswith("full wins: +")
    card = (place / "README.md").read_text()
    assert "| method | trained |" in card
    settings = Settings(home=home)
    live = choose_encoder(["green tea"], settings)
    assert live.resolve() == place.resolve()
    assert json.loads((live / "receipt.json").read_text())["better"] is True
    shop = read_catalogue(kinds_shop(), settings)
    assert shop.vectors is not None
    same = TextEncoder(live, speed="exact", cache=tmp_path / "d").encode(["green tea"])
    np.testing.assert_allclose(same, expected, atol=1e-6)


def test_an_interrupted_tuning_keeps_its_checkpoint_and_goes_on(tiny: Path, tmp_path: Path) -> None:
    class Interrupted(Contrast):
        left = 4

        def loss(self, model: nn.Module, batch: Any) -> Tensor:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
            return super().loss(model, batch)

    plain = next_text.from_shop(kinds_shop(), tiny, SMALL, max_tokens=8)
    stopped = Interrupted("next", plain.sentences, plain.parts, SMALL)
    schedule = Schedule(epochs=3, learning_rate=1e-3)
    kept = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        tune(tiny, stopped, Method("full"), schedule, tmp_path / "out", checkpoint=kept)
    assert any(kept.iterdir())
    assert not (tmp_path / "out").exists()
    paper = tune(tiny, plain, Method("full"), schedule, tmp_path / "out", checkpoint=kept)
    assert paper.steps == 3 * len(plain.batches(0))
    assert not kept.exists()


def test_a_damaged_receipt_is_named(tmp_path: Path) -> None:
    (tmp_path / "receipt.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"receipt\.json is missing or damaged"):
        receipt.read(tmp_path)
    with pytest.raises(InputError, match="no method to compare"):
        compare(None, next_text, [], Schedule(), tmp_path)  # type: ignore[arg-type]


def test_the_best_of_several_wins_only_with_its_whole_interval_above_nothing(
    task: Contrast, tiny: Path, tmp_path: Path
) -> None:
    paper = tune(tiny, task, Method("adapter"), Schedule(epochs=1, learning_rate=1e-6), tmp_path / "out")
    group = paper.groups["all"]
    sure = replace(
        paper,
        method="lora",
        groups={"all": replace(group, gain=replace(group.gain, value=0.1, low=0.05, high=0.2))},
    )
    unsure = replace(
        paper,
        method="full",
        groups={"all": replace(group, gain=replace(group.gain, value=0.3, low=-0.1, high=0.5))},
    )
    assert receipt.verdict([sure, unsure])[0] is sure
    assert receipt.verdict([unsure])[0] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--objective", "nothing"], "unknown objective 'nothing'"),
        (["--method", "magic"], "unknown method 'magic'"),
        (["--minutes", "-1"], "minutes must be 0 or more"),
        (["--objective", "label"], "--file goes with --objective label"),
        (["--minutes", "1"], "no shop in"),
    ],
)
def test_the_command_refuses_what_cannot_be_tuned(arguments: list[str], said: str, tmp_path: Path) -> None:
    given = ["tune", "--home", str(tmp_path / "home"), *arguments]
    with pytest.raises(InputError, match=said) as caught:
        CliRunner().invoke(app, given, catch_exceptions=False)
    assert caught.value.exit_code == 2


def test_the_command_tunes_a_classifier_into_a_folder(tiny: Path, tmp_path: Path) -> None:
    lines = ["body,topic"] + [
        f"green {'tea' if i % 2 else 'wine'} {i},{'hot' if i % 2 else 'cold'}" for i in range(80)
    ]
    (tmp_path / "mails.csv").write_text("\n".join(lines))
    given = ["tune", "--objective", "label", "--file", str(tmp_path / "mails.csv"), "--text", "body"]
    given += ["--label", "topic", "--model", str(tiny), "--minutes", "0", "--epochs", "1", "--method", "full"]
    given += ["--home", str(tmp_path / "home"), "--out", str(tmp_path / "topics"), "--json"]
    done = CliRunner().invoke(app, given, catch_exceptions=False)
    said = json.loads(done.stdout)
    assert said["folder"] == str(tmp_path / "topics")
    assert said["receipts"][0]["objective"] == "label"
    assert (tmp_path / "topics" / "model.safetensors").exists()


def test_the_command_publishes_what_beats_the_untuned_and_the_shop_reads_with_it(
    tiny: Path, tmp_path: Path
) -> None:
    shop = kinds_shop(n_users=200)
    histories = shop.histories()
    items = shop.item_table["item_id"].to_list()
    rows = [
        f"u{user},{items[item]},2024-01-{1 + int(back):02d}T00:00:00Z"
        for user, item, back in zip(histories.rows, histories.items, 20 - histories.steps_back, strict=True)
    ]
    (tmp_path / "events.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    shop.item_table.select("item_id", "title").write_csv(tmp_path / "items.csv")
    home = ["--home", str(tmp_path / "home")]
    files = [str(tmp_path / "events.csv"), "--items", str(tmp_path / "items.csv")]
    assert CliRunner().invoke(app, ["import", *files, *home], catch_exceptions=False).exit_code == 0
    given = ["tune", *home, "--model", str(tiny), "--method", "full", "--minutes", "0", "--epochs", "25"]
    given += ["--learning-rate", "1e-3", "--patience", "0"]
    done = CliRunner().invoke(app, given, catch_exceptions=False)
    assert "full wins: +" in done.stdout
    assert "what it cost" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines() if "/" not in line) <= 100
    settings = Settings(home=tmp_path / "home")
    assert choose_encoder([], settings).parent == tmp_path / "home" / "encoders"
    read = read_catalogue(kinds_shop(n_users=200), settings)
    assert read.vectors is not None
    assert read.vectors.shape == (120, 32)


def test_several_methods_need_wider_intervals_than_one(task: Contrast, tiny: Path, tmp_path: Path) -> None:
    schedule = Schedule(epochs=1, learning_rate=1e-3)
    (one,) = compare(tiny, task, [Method("full")], schedule, tmp_path / "one", apart=False)
    both = compare(tiny, task, [Method("full"), Method("lora")], schedule, tmp_path / "two", apart=False)
    assert one.gain.level == 0.95
    assert [paper.gain.level for paper in both] == [0.975, 0.975]
    assert one.gain.value == both[0].gain.value
    assert both[0].gain.low < one.gain.low < one.gain.high < both[0].gain.high
    assert "97.5 %\nbootstrap" in (tmp_path / "two" / "full" / "README.md").read_text()
