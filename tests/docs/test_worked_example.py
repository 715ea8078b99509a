"""The worked example prints what its page says that it prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "worked-example.md"
NUMBER = re.compile(r"\d+\.\d+")
ROUNDING = 0.025
"""Processors differ in the last bits of a product, and training carries that into the second decimal."""


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> str:
    environment = os.environ | {
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-W", "error", "docs/run.py", "docs/worked-example.md"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def said() -> str:
    found = re.search(r"^```text\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found
    return found.group(1)


@pytest.mark.slow
def test_the_page_says_what_its_command_prints(printed: str) -> None:
    assert NUMBER.sub("#", printed) == NUMBER.sub("#", said())
    ours, theirs = ([float(n) for n in NUMBER.findall(text)] for text in (printed, said()))
    assert ours == pytest.approx(theirs, abs=ROUNDING)


@pytest.mark.slow
def test_the_network_found_that_clicks_count_and_looking_does_not(printed: str) -> None:
    twice, once, never = (float(n) for n in re.findall(r"^P\(buys 4\).*?(0\.\d+) ", printed, re.MULTILINE))
    assert twice > once > 3 * never
    assert "A buys 4" in printed


def test_the_text_around_quotes_the_same_numbers() -> None:
    shown = set(NUMBER.findall(said()))
    text = re.sub(r"^```.*?^```$", "", PAGE.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert set(NUMBER.findall(text)) <= shown
