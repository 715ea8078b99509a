"""`intently search`: never worse than the default, goes on after a kill, and is read by `train`."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from optuna.trial import TrialState
from typer.testing import CliRunner, Result

from intently.cli import app
from intently.config import Settings, load_settings
from intently.data import Dataset
from intently.errors import InputError, IntentlyError
from intently.intervals import Interval
from intently.models.given import check
from intently.recipe import choose, judging_case
from intently.runs import listed
from intently.search import Found, questions
from intently.search.drawing import page
from intently.search.found import found_in, table, write
from intently.search.study import DEFAULT, Limits, Search, Tried
from intently.search.worker import Place
from tiny_shops import chain, stored, weekly_basket

RUN = CliRunner()


def shop() -> Dataset:
    return weekly_basket()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return stored(shop(), tmp_path / "home")


def settings_in(home: Path, **more: object) -> Settings:
    return Settings.model_validate({"home": home, "horizon_days": 14.0, **more})


def searched(home: Path, limits: Limits, model: str = "linear", **more: object) -> Found | None:
    (question,) = questions(shop(), settings_in(home, **more), [model])
    with Search(question, Place(home, "me", False), limits) as study:
        assert study.run()
        return found_in(study)


# -- the question --------------------------------------------------------------------------------


def test_no_trial_sees_what_train_judges_on() -> None:
    settings = Settings(horizon_days=14.0)
    (question,) = questions(shop(), settings, ["linear"])
    judged = judging_case(shop(), settings)
    assert question.case.cut_s == pytest.approx(judged.train.end_s - 14 * 86400)
    assert question.case.train.end_s <= question.case.cut_s < judged.train.end_s < judged.cut_s + 1
    assert len(question.case.quiet) == 0


def test_without_names_all_that_train_would_use_is_searched_from_its_own_settings() -> None:
    settings = Settings(horizon_days=14.0, models={"covisit": {"gap": 0.5}})
    asked = questions(shop(), settings)
    recipe = choose(asked[0].case.train, settings)
    assert asked[-1].model == recipe.name
    assert {"linear", "covisit"} <= {one.model for one in asked}
    assert next(one for one in asked if one.model == "covisit").usual == {"gap": 0.5}


def test_a_blend_that_train_does_not_use_has_its_usual_members() -> None:
    walks = chain(n_users=600)
    (blend,) = questions(walks, Settings(), ["blend"])
    assert set(blend.space) == {"weights.linear", "weights.covisit"}
    assert set(blend.usual["models"]) == {"linear", "covisit"}
    assert blend.default_point() is None  # its rule is no point of the space


def test_the_same_question_has_the_same_key_and_another_one_another() -> None:
    one, again = (questions(shop(), Settings(horizon_days=14.0), ["linear"])[0] for _ in range(2))
    other = questions(shop(), Settings(horizon_days=14.0, models={"linear": {"l2": 5.0}}), ["linear"])[0]
    assert one.key == again.key != other.key
    assert replace(one, space={}).key != one.key


def test_what_cannot_be_searched_is_refused() -> None:
    with pytest.raises(InputError, match="popular has nothing to search; models that have: "):
        questions(shop(), Settings(), ["popular"])
    with pytest.raises(InputError, match="unknown model 'linaer'"):
        questions(shop(), Settings(), ["linaer"])
    with pytest.raises(InputError, match="too little data to hold back"):
        questions(chain(n_users=5, length=2), Settings(), ["linear"])


# -- searching -----------------------------------------------------------------------------------


def test_the_default_is_tried_first_and_what_is_found_is_never_worse(tmp_path: Path) -> None:
    found = searched(tmp_path, Limits(5.0, 10, jobs=1), models={"linear": {"decay": 0.3, "l2": 3000.0}})
    assert found is not None
    assert found.trials[0].number == DEFAULT
    assert found.trials[0].point == {"decay": 0.3, "l2": 3000.0, "target": "next"}
    assert [trial.state for trial in found.trials] == ["done"] * 10
    assert len({trial.run for trial in found.trials}) == 10
    assert found.best.value == max(trial.value for trial in found.trials) >= found.default.value
    assert sum(found.importance.values()) == pytest.approx(1.0)
    recorded = [run for run in listed(tmp_path)[0] if run["kind"] == "trial"]
    assert len(recorded) == 10
    assert {run["part_of"] for run in recorded} == {"me"}
    assert all(run["cost"]["cpu_s"] > 0 and "ndcg@10" in run["metrics"]["linear"] for run in recorded)
    drawn = page([found])
    assert drawn.count("<svg") == 2 + 3
    assert "script" not in drawn


def test_epochs_that_fall_behind_end_a_trial(tmp_path: Path) -> None:
    walks = chain(n_users=600)
    usual = {"d": 32, "blocks": 1, "epochs": 5, "batch_tokens": 512}
    (question,) = questions(walks, settings_in(tmp_path, models={"sequence": usual}), ["sequence"])
    assert question.case.protocol == "leave-one-out"
    few = replace(question, space={name: question.space[name] for name in ("learning_rate", "dropout")})
    with Search(few, Place(tmp_path, "me", False), Limits(5.0, 14, jobs=1)) as study:
        study.run()
        found = found_in(study)
    assert found is not None
    assert found.count("pruned") > 0
    assert found.count("done") + found.count("pruned") == 14
    given_up = [run for run in listed(tmp_path)[0] if run["state"] == "pruned"]
    assert len(given_up) == found.count("pruned")
    assert all(2 <= len(run["curves"]["validation"]) <= 5 for run in given_up)


def test_trials_that_fail_are_told_and_end_a_hopeless_search(tmp_path: Path) -> None:
    with pytest.raises(IntentlyError, match="content with its default settings could not be judged"):
        searched(tmp_path, Limits(5.0, 3, jobs=1), model="content")
    assert [run["state"] for run in listed(tmp_path)[0]] == ["failed"]


def test_a_trial_that_was_cut_off_is_tried_again(tmp_path: Path) -> None:
    (question,) = questions(shop(), settings_in(tmp_path), ["linear"])
    place = Place(tmp_path, "me", False)
    with Search(question, place, Limits(5.0, 2, jobs=1)) as study:
        left = study.study.ask(study.space).params  # as a killed process leaves it
    with Search(question, place, Limits(5.0, 2, jobs=1)) as study:
        assert study.run()
        assert [trial.point for trial in study.tried()][1:] == [left]
        assert not study.study.get_trials(states=(TrialState.RUNNING, TrialState.WAITING))


def test_two_searches_of_one_question_do_not_run_at_once(tmp_path: Path) -> None:
    (question,) = questions(shop(), settings_in(tmp_path), ["linear"])
    with Search(question, Place(tmp_path, "me", False), Limits(5.0, 2, jobs=1)) as study:
        import fcntl

        with study.path.with_suffix(".lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            with pytest.raises(InputError, match="another process searches the same question"):
                study.run()


# -- what was found ------------------------------------------------------------------------------


def made(best: int, gain: Interval | None, model: str = "linear") -> Found:
    (question,) = questions(shop(), Settings(horizon_days=14.0), [model])
    point = {"decay": 0.9, "l2": 12.5, "target": "self"}
    default = Tried(DEFAULT, "done", 0.2, None, "a")
    trials = [default, Tried(1, "done", 0.3, point, "b")]
    return Found(question, trials, trials[best], default, gain, {"l2": 1.0})


def test_the_verdict_says_plainly_whether_the_default_was_beaten() -> None:
    assert "nothing beat the default settings in 2 trials" in made(0, None).told()
    assert "better by more than chance" in made(1, Interval(0.1, 0.05, 0.15, 30)).told()
    assert "no more than chance may bring" in made(1, Interval(0.1, -0.05, 0.15, 30)).told()
    assert made(0, None).settings == {}


def test_the_table_is_toml_that_train_reads(tmp_path: Path) -> None:
    found = made(1, Interval(0.1, 0.05, 0.15, 30))
    path = write([found], tmp_path, {"date": "2026-01-02"})
    settings = load_settings(model_settings=path)
    assert settings.models == {"linear": {"decay": 0.9, "l2": 12.5, "target": "self"}}
    check(settings.models)
    trained = choose(shop(), settings.model_copy(update={"horizon_days": 14.0}))
    told = trained.settings.get("models", trained.settings.get("inner"))
    assert told["linear"]["l2"] == 12.5


def test_dotted_settings_become_tables_and_a_default_that_won_becomes_a_remark() -> None:
    found = made(1, None)
    weights = {"weights.linear": 1.5, "weights.covisit": 0.5}
    blend = replace(found, best=replace(found.best, point=weights))
    assert tomllib.loads(table(blend, {}))["models"]["linear"]["weights"] == {"linear": 1.5, "covisit": 0.5}
    assert tomllib.loads(table(made(0, None), {})) == {}


def test_models_that_were_found_earlier_stay_in_the_file(tmp_path: Path) -> None:
    first = made(1, None)
    write([first], tmp_path, {})
    other = replace(first, question=replace(first.question, model="covisit"))
    path = write([replace(other, best=replace(other.best, point={"gap": 0.5}))], tmp_path, {})
    assert set(tomllib.loads(path.read_text())["models"]) == {"linear", "covisit"}
    alone = write([first], tmp_path, {}, tmp_path / "mine.toml")
    assert set(tomllib.loads(alone.read_text())["models"]) == {"linear"}


# -- the command ---------------------------------------------------------------------------------


def ask(home: Path, *words: str) -> Result:
    return RUN.invoke(app, ["search", "--home", str(home), "--horizon-days", "14", *words])


def test_the_command_writes_toml_page_and_record_and_goes_on_after_a_kill(home: Path) -> None:
    words = ["--model", "linear", "--trials", "7", "--jobs", "2"]
    started = [
        sys.executable,
        "-m",
        "intently",
        "search",
        "--home",
        str(home),
        "--horizon-days",
        "14",
        *words,
    ]
    process = subprocess.Popen(started, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None and not any(run["kind"] == "trial" for run in listed(home)[0]):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert any(run["state"] in ("cut off", "done") for run in listed(home)[0] if run["kind"] == "search")
    done = ask(home, *words)
    assert done.exit_code == 0, done.output
    assert "7 judged" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines() if str(home) not in line) <= 100
    assert tomllib.loads((home / "search" / "found.toml").read_text()).get("models", {}).keys() <= {"linear"}
    assert list((home / "reports").glob("search-*.html"))
    newest = next(run for run in listed(home)[0] if run["kind"] == "search")
    assert newest["state"] == "done"
    assert (
        newest["metrics"]["linear"]["ndcg@10"]["value"]
        >= newest["metrics"]["linear"]["default ndcg@10"]["value"]
    )
    again = ask(home, *words, "--json")
    assert '"better"' in again.stdout
    assert sum(run["kind"] == "trial" for run in listed(home)[0]) <= 7 + 2


def test_ctrl_c_keeps_what_was_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Search._hear
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it

    def interrupted(self: Search, *given: object) -> None:
        heard(self, *given)  # type: ignore[arg-type]
        if self.ended == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Search, "_hear", interrupted)
    try:
        done = ask(home, "--model", "linear", "--trials", "50", "--jobs", "1")
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.exit_code == 130 or isinstance(done.exception, KeyboardInterrupt)
    assert "3 judged" in done.stdout
    assert (home / "search" / "found.toml").exists()
    assert next(run for run in listed(home)[0] if run["kind"] == "search")["state"] == "stopped"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--minutes", "0"), "minutes must be above 0"),
        (("--trials", "-1"), "trials must be 0 or more"),
        (("--model", "popular"), "popular has nothing to search"),
    ],
)
def test_a_search_without_sense_is_refused(home: Path, words: tuple[str, ...], message: str) -> None:
    done = ask(home, *words)
    assert isinstance(done.exception, InputError)
    assert message in done.exception.message


def test_users_are_the_same_in_all_trials_of_a_large_shop(monkeypatch: pytest.MonkeyPatch) -> None:
    from intently.search import question as asking

    monkeypatch.setattr(asking, "ASKED", 10)
    one, other = (questions(shop(), Settings(horizon_days=14.0), ["linear"])[0].case for _ in range(2))
    assert len(one) == 10
    np.testing.assert_array_equal(one.histories.users, other.histories.users)
    assert (one.n_true > 0).all()
