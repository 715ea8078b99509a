"""Importing: tables, mapping, rejects that come back repaired, interruptions."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from intently.data.ingest import Imported, import_files
from intently.data.ingest_columns import ImportOptions
from intently.errors import InputError, StoreError
from intently.store import Counts, SqliteStore

EVENTS = "household_id,item,when,event\nh1,i1,2024-01-01,view\nh2,i2,soon,buy\nh3,i3,2024-01-03,fly\nh4,i4\n"
MAP = {"when": "timestamp"}


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    with SqliteStore(tmp_path / "home" / "store.db") as opened:
        yield opened


def one(store: SqliteStore, path: Path, table: str = "events", **options: Any) -> Imported:
    return import_files(store, [(table, path)], path.parent / "rejects", ImportOptions(**options))[0]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_repaired_rejects_are_imported_and_the_rest_stays(store: SqliteStore, tmp_path: Path) -> None:
    first = one(store, write(tmp_path / "e.csv", EVENTS), columns=MAP)
    assert (first.read, first.accepted, first.rejected) == (4, 1, 3)
    kept = Path(first.rejects_path)
    records = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [record["line"] for record in records] == [3, 4, 5]
    assert records[0]["row"] == {"household_id": "h2", "item": "i2", "when": "soon", "event": "buy"}
    assert records[2]["row"] == ["h4", "i4"]
    records[0]["row"]["when"] = "2024-01-02"
    records[2]["row"] = ["h4", "i4", "2024-01-04", "view"]
    repaired = write(tmp_path / "repaired.jsonl", "".join(json.dumps(r) + "\n" for r in records))
    second = one(store, repaired, columns=MAP)
    assert (second.read, second.accepted, second.duplicate, second.rejected) == (3, 2, 0, 1)
    assert sorted(store.events()["user_id"].to_list()) == ["h1", "h2", "h4"]
    left = [json.loads(line) for line in Path(second.rejects_path).read_text().splitlines()]
    assert [record["row"]["event"] for record in left] == ["fly"]


def test_rejects_that_nobody_repaired_are_rejected_again(store: SqliteStore, tmp_path: Path) -> None:
    text = EVENTS + '"open,i,2024-01-01,view\n'
    first = one(store, write(tmp_path / "e.csv", text), columns=MAP)
    second = one(store, Path(first.rejects_path), columns=MAP)
    assert (second.read, second.rejected) == (first.rejected, first.rejected) == (4, 4)
    again = [json.loads(line) for line in Path(second.rejects_path).read_text().splitlines()]
    before = [json.loads(line) for line in Path(first.rejects_path).read_text().splitlines()]
    assert [record["row"] for record in again] == [record["row"] for record in before]
    assert again[2]["columns"] == ["household_id", "item", "when", "event"]


def test_rejects_never_overwrite_what_is_not_theirs(store: SqliteStore, tmp_path: Path) -> None:
    source = write(tmp_path / "e.csv", EVENTS)
    precious = write(tmp_path / "precious.jsonl", '{"my": "data"}\n')
    options = ImportOptions(columns=MAP)
    with pytest.raises(InputError, match="not a rejects file; it is not overwritten"):
        import_files(store, [("events", source)], precious, options)
    assert precious.read_text() == '{"my": "data"}\n'
    with pytest.raises(InputError, match="is the file being imported"):
        import_files(store, [("events", source)], source, options)
    kept = tmp_path / "out.jsonl"
    import_files(store, [("events", source)], kept, options)
    assert len(kept.read_text().splitlines()) == 3
    import_files(store, [("events", source)], kept, options)  # its own older file may be replaced
    assert len(kept.read_text().splitlines()) == 3
    clean = write(tmp_path / "clean.csv", "\n".join(EVENTS.splitlines()[:2]))
    import_files(store, [("events", clean)], kept, options)
    assert not kept.exists()


def test_three_tables_come_in_together(store: SqliteStore, tmp_path: Path) -> None:
    items = write(
        tmp_path / "items.csv",
        "sku,name,price,size,code,note\ni1,Tea,$3.50,10,007,\n,None,1,2,3,4\ni2,,x,,1,\n",
    )
    users = write(tmp_path / "users.jsonl", '{"user_id": 1, "age": 30, "tags": ["a"]}\n{"age": 5}\n')
    events = write(tmp_path / "e.csv", EVENTS)
    done = import_files(
        store,
        [("events", events), ("items", items), ("users", users)],
        tmp_path / "rejects",
        ImportOptions(columns=MAP),
    )
    assert [(d.table, d.read, d.accepted, d.rejected) for d in done] == [
        ("items", 3, 1, 2),
        ("users", 2, 1, 1),
        ("events", 4, 1, 3),
    ]
    assert len(list((tmp_path / "rejects").iterdir())) == 3
    item = store.items().filter(pl.col("item_id") == "i1").row(0, named=True)
    assert item == {"item_id": "i1", "title": "Tea", "price": 3.5, "size": 10, "code": "007"}
    assert store.users().row(0, named=True) == {"user_id": "1", "age": 30, "tags": ["a"]}


def test_a_table_twice_changes_nothing(store: SqliteStore, tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    pl.DataFrame({"item_id": [1, 2], "title": ["One", None], "made": ["2024-01-01", None]}).write_parquet(
        path
    )
    first, second = one(store, path, "items"), one(store, path, "items")
    assert (first.accepted, first.duplicate) == (2, 0)
    assert (second.accepted, second.duplicate) == (0, 2)


def test_catalogue_words_are_understood(store: SqliteStore, tmp_path: Path) -> None:
    lines = [
        '{"item_id": "a", "title": "Tea", "category": ["Food", "Drinks"], "created_at": "2024-01-31"}',
        '{"item_id": "b", "title": {"en": "Tea"}}',
        '{"item_id": "c", "title": "nan", "price": "1,234.50", "created_at": "soon"}',
        '{"item_id": "d", "title": 7, "price": "1,234.50", "size": {"cm": 3}}',
    ]
    done = one(store, write(tmp_path / "items.jsonl", "\n".join(lines)), "items")
    assert (done.accepted, done.rejected) == (2, 2)
    rows = {row["item_id"]: row for row in store.items().to_dicts()}
    assert rows["a"]["category"] == "Food > Drinks"
    assert rows["a"]["created_at"] == "2024-01-31T00:00:00Z"
    assert (rows["d"]["title"], rows["d"]["price"], rows["d"]["size"]) == ("7", 1234.5, '{"cm":3}')


def test_nothing_is_stored_when_any_source_is_unusable(store: SqliteStore, tmp_path: Path) -> None:
    events = write(tmp_path / "e.csv", EVENTS)
    bad = write(tmp_path / "items.csv", "name\nTea\n")
    for broken in (bad, tmp_path / "missing.csv"):
        with pytest.raises(InputError, match=r"lacks item_id|no file"):
            import_files(
                store, [("events", events), ("items", broken)], tmp_path / "r", ImportOptions(columns=MAP)
            )
    assert store.counts() == Counts(0, 0, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": {"wen": "timestamp"}}, "no column 'wen' to map; there are: household_id, item, when"),
        ({"columns": {"when": "time_stamp"}}, "cannot map to unknown column 'time_stamp'"),
        ({"columns": {}}, "lacks timestamp"),
        ({"event": "fly"}, "unknown event 'fly'; allowed: view, click"),
    ],
)
def test_wrong_options_are_named(
    store: SqliteStore, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        one(store, write(tmp_path / "e.csv", EVENTS), **({"columns": MAP} | options))


def test_what_was_decided_is_said(store: SqliteStore, tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_bytes("用户,商品,when,颜色\n张三,苹果,25/01/2024,红\n".encode("gbk"))
    notes = " | ".join(one(store, path, columns=MAP, event="buy").notes)
    for said in (
        "timestamp = when",
        "user_id = 用户",
        "gb18030",
        "buy",
        "UTC",
        "day first",
        "not used: 颜色",
    ):
        assert said in notes
    assert store.events()["event"][0] == 4  # a purchase


def test_event_ids_keep_two_identical_lines_apart(store: SqliteStore, tmp_path: Path) -> None:
    lines = "user,item,date,event_id\n" + "".join(f"u,i,2024-01-01,{e}\n" for e in ("a", "b", "a"))
    done = one(store, write(tmp_path / "e.csv", lines))
    assert (done.accepted, done.duplicate) == (2, 1)


def test_an_import_that_was_killed_can_be_run_again(tmp_path: Path) -> None:
    rows = "".join(f"u{n % 50},i{n % 70},{1700000000 + n},1\n" for n in range(20_000))
    path = write(tmp_path / "e.csv", "user,item,ts,qty\n" + rows)
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from intently.data import ingest, readers_text\n"
        "from intently.store import SqliteStore\n"
        "readers_text._BLOCK = 50_000\n"
        "class Dies(SqliteStore):\n"
        "    calls = 0\n"
        "    def add_events(self, rows):\n"
        "        self.calls += 1\n"
        "        if self.calls == 4: os.kill(os.getpid(), 9)\n"
        "        return super().add_events(rows)\n"
        "with Dies(sys.argv[1]) as store:\n"
        "    ingest.import_files(store, [('events', Path(sys.argv[2]))], Path(sys.argv[3]))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "s.db"), str(path), str(tmp_path / "rejects")]
    assert subprocess.run(command, check=False).returncode == -9
    with SqliteStore(tmp_path / "s.db") as store:
        there = store.counts().events
        assert 0 < there < 20_000
        done = one(store, path)
        assert (done.accepted, done.duplicate) == (20_000 - there, there)


def command_line(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    entry = "from intently.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", entry, *args], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_the_command_prints_the_account_and_doctor_reads_it(tmp_path: Path) -> None:
    write(tmp_path / "e.csv", EVENTS)
    done = command_line("import", "e.csv", "--map", "when=timestamp", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)[0]
    assert (report["read"], report["accepted"], report["duplicate"], report["rejected"]) == (4, 1, 0, 3)
    table = command_line("import", "e.csv", "--map", "when=timestamp", cwd=tmp_path)
    assert "e.csv" in table.stdout
    assert max(map(len, table.stdout.splitlines())) <= 100
    health = command_line("doctor", "--json", cwd=tmp_path)
    assert health.returncode == 0, health.stderr
    assert json.loads(health.stdout)[0]["name"] == "enough events"
    assert command_line("doctor", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("import",), "nothing to import"),
        (("import", "nowhere.csv"), "no file nowhere.csv"),
        (("import", "."), "is a folder"),
        (("import", "e.csv"), "e.csv lacks timestamp"),
        (("import", "e.csv", "--map", "when"), "--map takes COLUMN=OURS, got 'when'"),
        (("import", "bad.csv"), "none of the 1 rows of bad.csv could be used; line 2: time is not a time"),
        (("doctor", "--home", "other"), "there is no store"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path: Path, args: tuple[str, ...], message: str) -> None:
    write(tmp_path / "e.csv", EVENTS)
    write(tmp_path / "bad.csv", "user,item,time\nu,i,soon\n")
    done = command_line(*args, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}") or message in done.stderr.splitlines()[0]
    assert "Traceback" not in done.stderr


def test_an_import_into_a_store_in_use_says_so(tmp_path: Path) -> None:
    write(tmp_path / "e.csv", EVENTS)
    with SqliteStore(tmp_path / "s.db", timeout_s=0.05) as store:
        other = sqlite3.connect(store.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another process is writing to"):
            one(store, tmp_path / "e.csv", columns=MAP)
        other.close()
