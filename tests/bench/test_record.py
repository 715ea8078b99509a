"""Every figure carries its provenance, and no path of the machine."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

HOME = Path(__file__).parents[2] / "benchmarks"


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HOME / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_a_row_is_appended_with_where_it_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/me/bench.py", "--data", "/data/shop/", "--out=/a/b.csv"])
    target = tmp_path / "deep" / "rows.jsonl"
    for value in (1, 2):
        module("record").record("next_item", {"value": value}, target)
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["value"] for row in rows] == [1, 2]
    assert rows[0]["command"] == "bench.py --data shop --out=b.csv"
    assert {"commit", "machine", "python", "date"} <= set(rows[0])
    assert "/somewhere/me" not in target.read_text()


def test_a_question_that_is_no_file_name_is_refused() -> None:
    with pytest.raises(ValueError, match="lower-case letters"):
        module("record").record("../up", {})
