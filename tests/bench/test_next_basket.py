"""The next-basket benchmark asks an honest question of any table of bought lines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest

HOME = Path(__file__).parents[2] / "benchmarks"
START = datetime(2024, 1, 1, 9)


def lines() -> pl.DataFrame:
    """40 customers, 12 weeks: two staples of their own every week, and one item of everybody's.

    In the last week everyone comes twice: first for the staples, a day later for the everybody's item.
    """
    rows: list[tuple[str | None, str, datetime, int, str]] = []
    for user in range(40):
        for week in range(12):
            at, invoice = START + timedelta(days=7 * week, minutes=user), f"{user}-{week}"
            bought = [f"own {user % 10}", f"also {user % 10}"] + ([] if week == 11 else ["milk"])
            rows += [(f"c{user}", item, at, 2, invoice) for item in bought]
        rows.append((f"c{user}", "milk", START + timedelta(days=78, minutes=user), 1, f"{user}-late"))
    rows += [("c1", "returned", START + timedelta(days=30), -1, "r"), (None, "milk", START, 1, "n")]
    columns = ["CustomerID", "Description", "InvoiceDate", "Quantity", "InvoiceNo"]
    return pl.DataFrame(rows, schema=columns, orient="row")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script as a module; its neighbours are imported from its folder."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(HOME))
    import next_basket  # type: ignore[import-not-found]

    yield next_basket
    for name in set(sys.modules) - before:
        if name.split(".")[0] in {"peers", "next_basket", "baskets", "record"}:
            del sys.modules[name]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(HOME / "next_basket.py"), "--no-record", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def parsed(done: subprocess.CompletedProcess[str]) -> dict[tuple[str, str], dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {(row["model"], row["question"]): row for row in rows}


def test_staples_are_found_and_both_questions_are_answered_in_one_run(tmp_path: Path) -> None:
    path = tmp_path / "grocer.parquet"
    lines().write_parquet(path)
    words = ("--data", str(path), "--item", "Description", "--horizon-days", "7")
    rows = parsed(run(*words, "--models", "popular,top_frequency,tifu_knn", "--ours", "repeat"))
    assert list(rows)[::2] == [(m, "horizon") for m in ("popular", "top_frequency", "tifu_knn", "repeat")]
    for name in ("top_frequency", "tifu_knn", "repeat"):
        assert rows[name, "horizon"]["recall@5"] == rows[name, "horizon"]["ndcg@5"] == 1.0
        assert rows[name, "next basket"]["recall@5"] == 1.0
    assert rows["repeat", "horizon"]["items_a_user"] == 3.0
    assert rows["repeat", "next basket"]["items_a_user"] == 2.0  # the milk came a day later
    assert rows["popular", "horizon"]["recall@5"] < 1.0
    facts = rows["popular", "horizon"]
    assert (facts["users"], facts["items"]) == (40, 21)  # what was only returned is no item
    assert (facts["rows_returned"], facts["rows_without_user_item_or_time"]) == (1, 1)
    lift = rows["repeat", "horizon"]["lift_recall@10"]["popular"]
    assert 0 < lift[1] <= lift[0] <= lift[2]
    assert rows["repeat", "horizon"]["lift_recall@10"]["top_frequency"] == [0.0, 0.0, 0.0]


def test_cut_back_moves_the_question_to_an_earlier_week(tmp_path: Path) -> None:
    path = tmp_path / "grocer.parquet"
    lines().write_parquet(path)
    words = ("--data", str(path), "--item", "Description", "--horizon-days", "7", "--models", "popular")
    rows = parsed(run(*words, "--ours", "repeat", "--cut-back", "7"))
    assert rows["repeat", "horizon"]["events"] == lines().height - 2 - 40 * 3
    assert rows["repeat", "next basket"]["items_a_user"] == 3.0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "lacks item_id; its columns are: CustomerID"),
        (("--item", "Colour"), "has no column 'Colour'"),
        (("--item", "Description", "--models", "tiffu"), "unknown model 'tiffu'"),
        (("--item", "Description", "--settings", "{"), "--settings is not JSON"),
        (("--item", "Description", "--settings", '{"repeat": {"l2": 1}}'), "settings of repeat: "),
        (("--item", "Description", "--cut-back", "900"), "nothing happened before the cut"),
    ],
)
def test_what_cannot_be_asked_is_one_line_and_exit_code_2(
    tmp_path: Path,
    bench: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    message: str,
) -> None:
    lines().write_parquet(tmp_path / "grocer.parquet")
    data = ["--no-record", "--data", str(tmp_path / "grocer.parquet")]
    monkeypatch.setattr(sys, "argv", ["next_basket.py", *data, *words])
    assert bench.main() == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.parquet").write_text("no table")
    done = run("--data", str(tmp_path / "notes.parquet"))
    assert done.returncode == 2
    assert "notes.parquet is no readable Parquet file" in done.stderr


def test_the_peer_blends_the_own_vector_with_the_nearest_others_and_never_with_oneself(
    bench: ModuleType,
) -> None:
    from peers import tifu_knn as tifu  # type: ignore[import-not-found]

    given = tifu.Settings(group_size=2, within=0.5, between=0.1, neighbours=1, alpha=0.25)
    indptr, items = np.array([0, 1, 2, 3]), np.array([0, 0, 2])
    known = tifu.frequencies(indptr, items, np.zeros(3), 4, given)
    scores = tifu.TifuKnn(known, given).scores(known, np.arange(3))
    np.testing.assert_allclose(scores[0], [1.0, 0, 0, 0])  # its twin is nearest
    np.testing.assert_allclose(scores[2], [0.75, 0, 0.25, 0])
    stranger = tifu.frequencies(np.array([0, 0]), items[:0], np.zeros(0), 4, given)
    assert tifu.TifuKnn(known, given).scores(stranger, np.array([-1])).shape == (1, 4)


def test_the_search_of_the_peer_finds_the_best_of_a_known_figure(bench: ModuleType) -> None:
    from peers import tifu_knn as tifu

    found, figure = tifu.search(lambda s: -abs(s.alpha - 0.3) - abs(s.neighbours - 100) / 1e3)
    assert (found.alpha, found.neighbours, figure) == (0.3, 100, 0.0)
