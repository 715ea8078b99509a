"""Whatever a file holds: each row is accounted for, or one clear line says why not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bad_files import CORPUS, Odd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from intently.data.ingest import Imported, import_files
from intently.data.ingest_columns import ImportOptions
from intently.errors import InputError
from intently.store import SqliteStore


def bring_in(path: Path, home: Path, **options: Any) -> Imported:
    with SqliteStore(home / "store.db") as store:
        before = store.counts().events
        done = import_files(store, [("events", path)], home / "rejects", ImportOptions(**options))[0]
        assert store.counts().events - before == done.accepted
    return done


def rejects_of(done: Imported) -> list[dict[str, Any]]:
    if not done.rejects_path:
        return []
    return [json.loads(line) for line in Path(done.rejects_path).read_bytes().splitlines()]


def test_the_corpus_is_large_and_its_names_differ() -> None:
    assert len({odd.name for odd in CORPUS}) == len(CORPUS) >= 60


@pytest.mark.parametrize("odd", [odd for odd in CORPUS if not odd.error], ids=lambda odd: odd.name)
def test_every_row_is_accounted_for(odd: Odd, tmp_path: Path) -> None:
    path = tmp_path / odd.name
    path.write_bytes(odd.content)
    done = bring_in(path, tmp_path / "home", **odd.options)
    assert (done.accepted, done.duplicate, done.rejected) == odd.counts
    assert done.accepted + done.duplicate + done.rejected == done.read
    found = rejects_of(done)
    assert tuple(reject["field"] for reject in found) == odd.fields
    assert len(found) == done.rejected
    assert [reject["line"] for reject in found] == sorted(reject["line"] for reject in found)
    assert all(reject["reason"] for reject in found)
    again = bring_in(path, tmp_path / "home", **odd.options)
    assert (again.accepted, again.rejected) == (0, done.rejected)


@pytest.mark.parametrize("odd", [odd for odd in CORPUS if odd.error], ids=lambda odd: odd.name)
def test_a_file_that_cannot_be_used_says_why_in_one_line(odd: Odd, tmp_path: Path) -> None:
    path = tmp_path / odd.name
    path.write_bytes(odd.content)
    with pytest.raises(InputError, match=re.escape(odd.error)) as caught:
        bring_in(path, tmp_path / "home", **odd.options)
    assert "\n" not in caught.value.message
    with SqliteStore(tmp_path / "home" / "store.db") as store:
        assert store.counts().events == 0


def test_paths_that_are_no_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        bring_in(tmp_path / "nothing.csv", tmp_path)
    with pytest.raises(InputError, match="is a folder"):
        bring_in(tmp_path, tmp_path)


CELL = st.sampled_from(["", "u1", "i1", "view", "fly", "2024-01-01", "1e400", '"', "a,b", "\n", "é", "1"])
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5)
LINES = st.lists(st.lists(st.one_of(CELL, TEXT), min_size=1, max_size=6), max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LINES, st.sampled_from(["utf-8", "utf-16", "gb18030"]))
def test_any_csv_is_accounted_for(tmp_path: Path, lines: list[list[str]], encoding: str) -> None:
    text = "user_id,item_id,event,timestamp,price\n" + "".join(",".join(line) + "\n" for line in lines)
    path = tmp_path / "any.csv"
    path.write_bytes(text.encode(encoding, "replace"))
    done = bring_in(path, tmp_path / "home")
    assert done.accepted + done.duplicate + done.rejected == done.read
    assert len(rejects_of(done)) == done.rejected
    again = bring_in(path, tmp_path / "home")
    assert (again.read, again.accepted, again.rejected) == (done.read, 0, done.rejected)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "user_id": st.one_of(st.text(max_size=4), st.integers(), st.none(), st.booleans()),
                "item_id": st.one_of(st.just("i"), st.floats(), st.lists(st.integers(), max_size=2)),
                "timestamp": st.one_of(st.integers(), st.just("2024-01-01"), st.floats()),
                "price": st.one_of(st.floats(), st.text(max_size=3), st.none()),
            },
        ),
        min_size=1,
        max_size=8,
    )
)
def test_any_jsonl_is_accounted_for(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    path = tmp_path / "any.jsonl"
    first = {"user_id": "u", "item_id": "i", "timestamp": 1}
    path.write_text("".join(json.dumps(row) + "\n" for row in [first, *rows]))
    done = bring_in(path, tmp_path / "home")
    assert done.read == len(rows) + 1
    assert done.accepted + done.duplicate + done.rejected == done.read
    assert len(rejects_of(done)) == done.rejected


def test_a_quote_across_two_blocks_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intently.data.readers_text._BLOCK", 64)
    rows = [f'u{n},i{n},2024-01-01,"first\nsecond line"' for n in range(50)]
    path = tmp_path / "long.csv"
    path.write_text("user_id,item_id,timestamp,note\n" + "\n".join(rows))
    done = bring_in(path, tmp_path / "home")
    assert (done.accepted, done.rejected) == (50, 0)


def test_an_open_quote_costs_its_own_line_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intently.data.readers_text._BLOCK", 4096)
    rows = [f"u{n},i{n},view,2024-01-01,1" for n in range(1000)]
    rows[300] = '"u300,i300,view,2024-01-01,1'
    path = tmp_path / "open.csv"
    path.write_text("user_id,item_id,event,timestamp,price\n" + "\n".join(rows))
    done = bring_in(path, tmp_path / "home")
    assert (done.accepted, done.rejected) == (999, 1)
    assert rejects_of(done)[0]["line"] == 302


def test_large_parquet_goes_through_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intently.data.readers.BATCH_ROWS", 100)
    times = [1.7e9 + n for n in range(1050)]
    frame = pl.DataFrame({"user_id": range(1050), "item_id": ["i"] * 1050, "timestamp": times})
    frame.write_parquet(tmp_path / "large.parquet")
    done = bring_in(tmp_path / "large.parquet", tmp_path / "home")
    assert (done.read, done.accepted) == (1050, 1050)
