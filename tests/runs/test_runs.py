"""Every training is recorded, and two records can be told apart."""

from __future__ import annotations

import json
import math
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from intently import progress
from intently.cli import app
from intently.errors import InputError
from intently.intervals import Interval
from intently.models.sequence import Sequence
from intently.nn.tracking import CURVES, Tracker
from intently.runs import compare, find, listed, record
from intently.runs.cost import Meter
from intently.runs.record import commit
from tiny_shops import chain, stored, weekly_basket

RUN = CliRunner()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small shop that was trained twice, the second time with another setting."""
    folder = tmp_path_factory.mktemp("home")
    stored(weekly_basket(), folder)
    (folder / "linear.toml").write_text("[models.linear]\nl2 = 7.0\n")
    for more in ([], ["--model-settings", str(folder / "linear.toml")]):
        done = ask(folder, "train", "--horizon-days", "14", *more)
        assert done.exit_code == 0, done.output
    return folder


def ask(home: Path, *words: str) -> Result:
    return RUN.invoke(app, [*words, "--home", str(home)])


def test_a_training_is_recorded_with_data_code_figures_and_cost(home: Path) -> None:
    found, damaged = listed(home)
    assert damaged == []
    assert [run["kind"] for run in found] == ["train", "train"]
    run = found[0]
    assert run["state"] == "done"
    assert run["data"]["users"] == 30
    assert len(run["data"]["fingerprint"]) == 64
    assert run["settings"]["horizon_days"] == 14
    figure = run["metrics"][run["name"]]["ndcg@10"]
    assert figure["low"] <= figure["value"] <= figure["high"]
    assert "popular" in run["metrics"]
    assert run["cost"]["cpu_s"] > 0
    assert run["cost"]["peak_mb"] > 50
    assert "better than popularity" in found[1]["verdict"]
    assert list((home / "runs" / run["id"]).glob("events.out.tfevents.*"))


def test_the_file_of_model_settings_changes_what_is_trained_and_comparing_says_so(home: Path) -> None:
    newest, before = listed(home)[0]
    assert compare(before, newest).settings == {f"{newest['name']}.models.linear.l2": (None, 7.0)} | {
        name: pair
        for name, pair in compare(before, newest).settings.items()
        if not name.endswith("linear.l2")
    }
    model = json.loads(
        next((home / "artifacts").glob(f"{newest['version']}/**/linear/model.json")).read_text()
    )
    assert model["settings"]["l2"] == 7.0
    done = ask(home, "runs", "compare", before["id"], newest["id"])
    assert done.exit_code == 0, done.output
    assert "linear.l2" in done.stdout
    assert "NDCG@10" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 100


def test_the_list_is_newest_first_and_fits_100_columns(home: Path) -> None:
    done = ask(home, "runs")
    lines = [line.split() for line in done.stdout.splitlines() if "train" in line]
    assert [line[0] for line in lines] == [run["id"] for run in listed(home)[0]]
    assert max(len(line) for line in done.stdout.splitlines()) <= 100
    told = json.loads(ask(home, "runs", "--json").stdout)
    assert [run["id"] for run in told] == [line[0] for line in lines]


def test_one_run_is_shown_by_any_part_of_its_id(home: Path) -> None:
    newest = listed(home)[0][0]
    done = ask(home, "runs", "show", newest["id"][-4:])
    assert newest["id"] in done.stdout
    assert "precision@10" in done.stdout
    assert json.loads(ask(home, "runs", "show", "last", "--json").stdout)["id"] == newest["id"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("shoe", "1"), "unknown action 'shoe'"),
        (("show",), "show needs 1 ids, got 0"),
        (("compare", "last"), "compare needs 2 ids, got 1"),
        (("show", "nothing"), "no run 'nothing'"),
        (("show", "20"), "'20' means 2 runs"),
    ],
)
def test_a_question_without_sense_is_refused(home: Path, words: tuple[str, ...], message: str) -> None:
    done = ask(home, "runs", *words)
    assert isinstance(done.exception, InputError)
    assert message in done.exception.message


def test_an_empty_home_and_a_damaged_record_are_told(tmp_path: Path) -> None:
    assert "nothing was trained" in ask(tmp_path, "runs").stdout
    (tmp_path / "runs" / "broken").mkdir(parents=True)
    (tmp_path / "runs" / "broken" / "run.json").write_text("{")
    assert listed(tmp_path) == ([], ["broken"])
    with pytest.raises(InputError, match="record of run 'broken' is damaged"):
        find(tmp_path, "broken")


def test_learning_curves_are_heard_from_the_training_itself(tmp_path: Path) -> None:
    walks = chain(n_users=600)
    with record(tmp_path, "train", "sequence") as run:
        model = Sequence(d=16, blocks=1, epochs=2, batch_tokens=512).fit(walks)
    told = listed(tmp_path)[0][0]["curves"]
    assert [step for step, _ in told["loss"]] == [1, 2]
    assert [value for _, value in told["validation"]] == pytest.approx(model.curve[:, 1].tolist())
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.folder))
    events.Reload()
    assert [e.value for e in events.Scalars("loss")] == pytest.approx(model.curve[:, 0].tolist())


def test_parts_of_a_model_have_curves_of_their_own(tmp_path: Path) -> None:
    with record(tmp_path, "train") as run:
        progress.epoch(1, {"loss": 2.0, "validation": math.nan})
        with progress.part("sequence"):
            progress.epoch(1, {"loss": 1.0})
    assert run.facts["curves"] == {"loss": [(1, 2.0)], "sequence/loss": [(1, 1.0)]}
    assert json.loads((run.folder / CURVES).read_text())["sequence/loss"] == [[1, 1.0]]


def test_how_a_run_ended_is_kept(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such"), record(tmp_path, "train"):
        raise InputError("no such item")
    with pytest.raises(KeyboardInterrupt), record(tmp_path, "train"):
        raise KeyboardInterrupt
    states = {run["state"]: run["reason"] for run in listed(tmp_path)[0]}
    assert states == {"failed": "no such item", "stopped": "Ctrl-C"}


def test_a_killed_run_is_read_as_cut_off(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib\n"
        "from intently.runs import record\n"
        "with record(pathlib.Path(sys.argv[1]), 'train') as run:\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -9
    (run,) = listed(tmp_path)[0]
    assert run["state"] == "cut off"
    with record(tmp_path, "train") as mine:
        assert find(tmp_path, mine.id)["state"] == "running"


def test_without_tensorboard_the_run_is_recorded_and_says_what_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto", None)
    with record(tmp_path, "train") as run:
        progress.epoch(1, {"loss": 2.0})
        run.measured("linear", {"ndcg@10": Interval(0.2, 0.1, 0.3, 50)})
    told = find(tmp_path, run.id)
    assert told["notes"] == ["no TensorBoard file: " + told["notes"][0].partition(": ")[2]]
    assert "tensorboard" in told["notes"][0]
    assert told["curves"] == {"loss": [[1, 2.0]]}
    assert told["metrics"]["linear"]["ndcg@10"]["low"] == 0.1


def test_curves_of_other_processes_are_gathered(tmp_path: Path) -> None:
    with record(tmp_path, "tune") as run:
        with Tracker(run.folder / "lora") as tracker:
            tracker.scalar("loss", 1.5, 10)
        run.gather(["lora", "never ran"])
    assert find(tmp_path, run.id)["curves"] == {"lora/loss": [[10, 1.5]]}


def test_the_commit_is_that_of_this_checkout() -> None:
    head = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert commit().rstrip("+") == head.stdout.strip()


def test_a_process_can_forget_its_earlier_peak() -> None:
    code = (
        "from intently.runs.cost import Meter\n"
        "big = bytearray(200 * 2**20); big = None\n"
        "print(Meter().read().peak_mb, Meter(own_peak=True).read().peak_mb)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    whole, own = (float(word) for word in done.stdout.split())
    assert whole > 200
    if os.access("/proc/self/clear_refs", os.W_OK):
        assert own < 200
    assert Meter().read().cpu_s >= 0


def test_two_runs_of_one_second_that_draw_the_same_id_are_both_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter(["aaaa", "aaaa", "bbbb", "aaaa", "cccc"])
    monkeypatch.setattr(secrets, "token_hex", lambda _: next(drawn))
    for name in ("first", "second"):
        with record(tmp_path, "train", name):
            pass
    assert {run["name"] for run in listed(tmp_path)[0]} == {"first", "second"}


def test_runs_of_one_second_are_listed_in_the_order_they_began(tmp_path: Path) -> None:
    names = [f"{number:02}" for number in range(12)]
    for name in names:
        with record(tmp_path, "train", name):
            pass
    assert [run["name"] for run in listed(tmp_path)[0]] == names[::-1]
