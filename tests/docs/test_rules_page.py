"""The page about rules: its example prints what it says, its rules are accepted, its filters are filters."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from intently.serving.rules.filters import compile_filter
from intently.serving.rules.grammar import MAX_DEPTH, MAX_LENGTH, MAX_LISTED, MAX_PARTS
from intently.serving.rules.rule import BOUND, Rule

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "rules.md"
COLUMNS = {
    "price": "number", "stock": "number", "category": "text", "title": "text", "brand": "text",
    "created_at": "text", "Sub Category": "text",
}  # fmt: skip


def block(kind: str) -> str:
    found = re.search(rf"^```{kind}\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found
    return found.group(1)


def test_the_example_prints_what_the_page_says() -> None:
    command = [sys.executable, "-W", "error", "docs/run.py", "docs/rules.md"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == block("text")


def test_the_rule_of_the_page_is_accepted() -> None:
    rule = Rule.model_validate(json.loads(block("json")))
    assert rule.schedule is not None
    assert rule.schedule.holds(rule.schedule.start_s) is False  # a Tuesday


FILTERS = [
    part
    for part in re.findall(r"`([^`\n]+)`|^ {4}(price .*)$", PAGE.read_text("utf-8"), re.MULTILINE)
    for part in part
    if re.search(r" (<=?|>|==|in|contains|包含) |^missing|^user\.\w+\(|^not |stock", part)
    and "..." not in part
]


@pytest.mark.parametrize("text", FILTERS)
def test_every_filter_of_the_page_is_one(text: str) -> None:
    compile_filter(text, COLUMNS)  # type: ignore[arg-type]


def test_the_bounds_of_the_page_are_those_of_the_code() -> None:
    page = " ".join(PAGE.read_text("utf-8").split())
    assert len(FILTERS) >= 12
    said = f"{MAX_LENGTH:,} characters, {MAX_PARTS} parts, brackets and `not` {MAX_DEPTH} deep"
    assert said in page
    assert f"lists of {MAX_LISTED} values" in page
    assert f"(0.1 to {BOUND:g})" in page
