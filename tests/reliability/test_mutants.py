"""The list of mutants is in step with the source; `python tests/reliability/mutants.py` runs them."""

from __future__ import annotations

import ast
import re

import pytest
from mutants import ROOT, Mutant, rooms

EVERY = [mutant for room in rooms().values() for mutant in room]


@pytest.mark.parametrize("mutant", EVERY, ids=lambda mutant: mutant.name)
def test_a_mutant_changes_one_place_and_is_still_python(mutant: Mutant) -> None:
    text = mutant.path.read_text(encoding="utf-8")
    assert text.count(mutant.before) == 1
    assert mutant.before != mutant.after
    ast.parse(text.replace(mutant.before, mutant.after))


@pytest.mark.parametrize("mutant", EVERY, ids=lambda mutant: mutant.name)
def test_the_tests_that_catch_a_mutant_exist(mutant: Mutant) -> None:
    assert mutant.tests
    for node in mutant.tests:
        file, _, name = node.partition("::")
        text = (ROOT / file).read_text(encoding="utf-8")
        assert not name or re.search(
            rf"^(async )?def {re.escape(name.partition('[')[0])}\(", text, re.MULTILINE
        )


def test_names_of_mutants_are_unique() -> None:
    names = [mutant.name for mutant in EVERY]
    assert len(names) == len(set(names))
