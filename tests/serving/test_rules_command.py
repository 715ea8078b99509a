"""`intently rules`: what is added holds, what is wrong is said in a line, a dry run stores nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from intently.cli import app
from intently.errors import InputError
from intently.serving.rules.book import RuleFile

RUN = CliRunner()


def rules(home: Path, *words: str, said: Any = None) -> Result:
    text = None if said is None else json.dumps(said)
    done = RUN.invoke(app, ["rules", *words, "--home", str(home)], input=text)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


NEAR = {"name": "Only near", "kind": "include", "filter": "item_id in ['i003', 'i004', 'i011']"}


def test_a_rule_is_added_tried_out_checked_and_removed(simple_home: Path) -> None:
    assert "no rules yet" in rules(simple_home).stdout
    added = rules(simple_home, "add", "-", said=NEAR)
    assert "stored only-near" in added.stderr
    assert "only-near" in added.stdout
    assert len(RuleFile(simple_home / "rules.json").current().rules) == 1
    said = json.loads(rules(simple_home, "dry-run", "only-near", "--users", "8", "--n", "4", "--json").stdout)
    assert (said["users"], said["n"], said["taken_out"]) == (8, 4, 21)
    assert said["filled_after"] == 0.0  # three items are left for lists of four
    assert said["lists_changed"]["value"] == 1.0
    shown = rules(simple_home, "dry-run", "only-near", "--users", "8").stdout
    assert "lists changed     100.0%" in shown
    assert rules(simple_home, "check").exit_code == 0
    assert "no rules yet" in rules(simple_home, "remove", "only-near").stdout


def test_check_ends_with_one_where_a_rule_cannot_work(simple_home: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "rules-to-check.json"
    wrong.write_text(json.dumps([NEAR, {"name": "x", "kind": "exclude", "filter": "true"}]))
    done = rules(simple_home, "check", str(wrong))
    assert done.exit_code == 1
    assert "error: rule-2: its filter matches every item: nothing can be answered" in done.stdout
    assert json.loads(rules(simple_home, "check", str(wrong), "--json").stdout)["n_rules"] == 2


@pytest.mark.parametrize(
    ("words", "said", "wrong"),
    [
        (("add", "-"), {"name": "x", "kind": "exclude", "filter": "pirce < 3"}, "unknown column 'pirce'"),
        (("add", "-"), {"name": "x", "kind": "exclude"}, "needs filter"),
        (("add", "-"), {"name": "x", "kind": "exclude", "filtr": "true"}, "did you mean 'filter'"),
        (("add", "nowhere.json"), None, "no file and no rule 'nowhere.json'"),
        (("add",), None, "add takes 1 to 1 files"),
        (("remove", "nothing"), None, "no rule of this id"),
        (("dry-run", "-"), [NEAR, NEAR], "holds 2 rules"),
        (("dry-run", "-", "--scenario", "hom"), NEAR, "no scenario of this name"),
        (("wish",), None, "unknown action 'wish'"),
    ],
)
def test_a_mistake_is_said_in_a_line(
    simple_home: Path, words: tuple[str, ...], said: Any, wrong: str
) -> None:
    with pytest.raises(InputError, match=wrong):
        rules(simple_home, *words, said=said)
    assert not (simple_home / "rules.json").exists()


def test_a_home_without_a_shop_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no shop in"):
        rules(tmp_path)
