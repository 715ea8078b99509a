"""The next-item benchmark prints one honest JSON line a model."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "next_item.py"
KEYS = [
    "model", "recall@5", "ndcg@5", "recall@10", "ndcg@10",
    "fit_cpu_s", "fit_wall_s", "peak_rss_mb", "coverage@10",
]  # fmt: skip


def circle(n_items: int = 30, n_users: int = 60, length: int = 8) -> str:
    """Everyone walks around one circle; blank lines and users with too few items in between."""
    lines = []
    for user in range(n_users):
        lines.append(f"u{user} " + " ".join(f"i{(user * 7 + s) % n_items}" for s in range(length)))
    return "\n".join(["", *lines, "short i1 i2", "alone i3", "empty", "  ", ""])


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--data", str(folder), "--no-record", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_known_circle_is_found_and_the_keys_are_as_promised(tmp_path: Path) -> None:
    (tmp_path / "sequences.txt").write_text(circle())
    settings = json.dumps({"linear": {"l2": 1.0}})
    done = run(tmp_path, "--models", "linear,popular,content", "--settings", settings)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["model"] for row in rows] == ["linear", "popular"]
    assert "content: skipped, the items have no texts" in done.stderr
    for row in rows:
        assert list(row)[: len(KEYS)] == KEYS
        assert row["users"] == 60
        assert row["items"] == 30
        assert row["peak_rss_mb"] > 10
    assert rows[0]["recall@5"] == rows[0]["ndcg@5"] == 1.0
    assert rows[1]["ndcg@10"] < 0.9


def test_compressed_sequences_and_the_validation_split_are_read(tmp_path: Path) -> None:
    (tmp_path / "sequences.txt.gz").write_bytes(gzip.compress(circle().encode()))
    (tmp_path / "items.csv.gz").write_bytes(gzip.compress(b"item_id,colour\ni1,red\nelse,blue\n"))
    done = run(tmp_path, "--models", "covisit", "--split", "valid")
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert row["split"] == "valid"
    assert row["items"] == 30


def test_a_table_of_histories_gives_the_same_figures_as_lines(tmp_path: Path) -> None:
    lines, table = tmp_path / "lines", tmp_path / "table"
    lines.mkdir()
    table.mkdir()
    (lines / "sequences.txt").write_text(circle())
    words = [line.split() for line in circle().splitlines() if len(line.split()) > 2]
    rows = [f"{user},{' '.join(items[:-1])},{items[-1]},1" for user, *items in words]
    (table / "sequences.csv").write_text("\n".join(["user_id,history,last_item,known", *rows]))
    figures = []
    for folder in (lines, table):
        done = run(folder, "--models", "covisit")
        assert done.returncode == 0, done.stderr
        row = json.loads(done.stdout)
        figures.append((row["users"], row["ndcg@10"], row["recall@5"]))
    assert figures[0] == figures[1]


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        (None, (), "has no sequences.txt, sequences.csv or .gz of them"),
        ("\n\n", (), "no line"),
        ("u a b\n", (), "no user has 3 items"),
        ("u a b c\n", ("--models", "liner"), "did you mean 'linear'"),
        ("u a b c\n", ("--settings", "{"), "--settings is not JSON"),
        ("u a b c\n", ("--settings", '{"linear": {"l3": 1}}'), "settings of linear: "),
        ("u a b c\n", ("--seeds", "0"), "--seeds must be at least 1"),
    ],
)
def test_what_cannot_be_judged_is_one_line_and_exit_code_2(
    tmp_path: Path, text: str | None, words: tuple[str, ...], message: str
) -> None:
    if text is not None:
        (tmp_path / "sequences.txt").write_text(text)
    done = run(tmp_path, *(words if "--models" in words else (*words, "--models", "popular")))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    done = run(tmp_path / "gone")
    assert done.returncode == 2
    assert "no folder 'gone'" in done.stderr
