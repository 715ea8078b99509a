"""`intently evaluate` and `intently compare`: what a person types, and what they get."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from intently import recipe
from intently.cli import app
from intently.errors import InputError
from tiny_shops import stored, weekly_basket

RUN = CliRunner()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    stored(weekly_basket(), folder)
    return folder


def ask(home: Path, *words: str) -> Result:
    return RUN.invoke(app, [*words, "--home", str(home)])


def test_compare_prints_one_table_best_first_within_100_columns(home: Path) -> None:
    done = ask(home, "compare", "--models", "popular,repeat,covisit")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    rows = [line.split() for line in lines if line.strip().startswith(("popular", "repeat", "covisit"))]
    figures = [float(row[1]) for row in rows]
    assert figures == sorted(figures, reverse=True)
    assert sorted(row[0] for row in rows) == ["covisit", "popular", "repeat"]
    assert rows[-1][0] == "popular"  # who buys staples every week is not served by what all buy
    assert max(len(line) for line in lines if "written:" not in line and str(home) not in line) <= 100
    assert "Asked for the purchases of 30 users in the 28 days after" in " ".join(done.stdout.split())


def test_compare_as_json_is_the_report_and_leaves_both_files(home: Path) -> None:
    done = ask(home, "compare", "--models", "popular,repeat", "--k", "3", "--json")
    told = json.loads(done.stdout)
    assert told["best"] == "repeat"
    assert told["metric"] == "ndcg@3"
    assert told["models"]["repeat"]["lift"]["low"] > 0
    written = sorted((home / "reports").glob("compare-*"))
    assert {path.suffix for path in written} == {".json", ".html"}


def test_leave_one_out_and_a_cut_are_asked_as_typed(home: Path) -> None:
    done = ask(home, "compare", "--models", "popular", "--protocol", "leave-one-out", "--json")
    assert json.loads(done.stdout)["facts"]["protocol"] == "leave-one-out"
    words = ("--cut", "2024-03-01", "--horizon-days", "7", "--json")
    facts = json.loads(ask(home, "compare", "--models", "popular", *words).stdout)["facts"]
    assert facts["cut"] == "2024-03-01T00:00:00+00:00"
    assert facts["horizon_days"] == 7


def test_evaluate_judges_what_train_would_ship(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = recipe.Recipe("covisit", {}, {"popular": {}, "repeat": {}}, "a small recipe")
    monkeypatch.setattr(recipe, "choose", lambda *_args, **_named: shipped)
    page = tmp_path / "page.html"
    done = ask(home, "evaluate", "--html", str(page))
    assert done.exit_code == 0, done.output
    assert "against repeat" in done.stdout
    assert "covisit" in page.read_text(encoding="utf-8")
    assert str(page) in done.stdout.replace("\n", "")


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("compare", "--models", "populra"), "unknown model 'populra'", "did you mean 'popular'"),
        (("evaluate", "--cut", "yesterday"), "--cut 'yesterday' is no date", "write it as 2017-12-03"),
        (("evaluate", "--cut", "2031-01-01"), "no purchase in the 28 days from 2031-01-01", "earlier cut"),
        (("compare", "--protocol", "random"), "unknown protocol 'random'", ""),
    ],
)
def test_a_question_without_sense_is_one_line_and_exit_code_2(
    home: Path, words: tuple[str, ...], message: str, hint: str
) -> None:
    done = ask(home, *words)
    assert isinstance(done.exception, InputError)
    assert message in done.exception.message
    assert hint in done.exception.hint
    assert done.exception.exit_code == 2


@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_without_a_shop_the_next_step_is_said(tmp_path: Path, command: str) -> None:
    done = ask(tmp_path, command)
    assert isinstance(done.exception, InputError)
    assert "no shop in" in done.exception.message
    assert "intently import" in done.exception.hint
