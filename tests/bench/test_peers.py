"""Peers are handed the same question as our models, and judged the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

HOME = Path(__file__).parents[2] / "benchmarks"
LENGTHS = (8, 5, 2, 1, 3)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The driver as a module; its neighbours are imported from its folder."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(HOME))
    import peers_run  # type: ignore[import-not-found]

    yield peers_run
    for name in set(sys.modules) - before:
        if name.split(".")[0] in {"peers", "peers_run", "next_item", "record"}:
            del sys.modules[name]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Everyone walks around one circle of 20 items; some are too short to be asked."""
    folder = tmp_path / "circle"
    folder.mkdir()
    lines = []
    for user in range(40):
        walk = [f"i{(user * 7 + step) % 20:02}" for step in range(LENGTHS[user % 5])]
        lines.append(f"u{user} " + " ".join(walk))
    (folder / "sequences.txt").write_text("\n".join(lines))
    return folder


def run(script: str, *words: str) -> list[dict[str, Any]]:
    command = [sys.executable, str(HOME / script), *words, "--no-record"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_lists_of_the_exchange_are_judged_as_next_item_judges_our_own(shop: Path) -> None:
    words = ("--data", str(shop), "--models", "covisit,popular")
    ours = run("next_item.py", *words)
    here = run("peers_run.py", *words, "--peers", "none")
    assert [row["model"] for row in here] == ["covisit", "popular"]
    for one, other in zip(ours, here, strict=True):
        for key in ("recall@5", "ndcg@5", "recall@10", "ndcg@10", "users", "items"):
            assert one[key] == other[key], key
        assert other["valid_ndcg@10"] == pytest.approx(other["valid_ndcg@10_best"], abs=1e-5)


def test_a_network_is_asked_after_each_of_its_epochs(tmp_path: Path) -> None:
    walks = [f"u{user} " + " ".join(f"i{(user * 7 + s) % 30:02}" for s in range(7)) for user in range(600)]
    (tmp_path / "sequences.txt").write_text("\n".join(walks))
    row = run("peers_run.py", "--data", str(tmp_path), "--models", "sequence", "--peers", "none")[0]
    seconds = [point["cpu_s"] for point in row["curve"]]
    assert row["epochs"] == len(seconds) > 1
    assert seconds == sorted(seconds)
    assert row["curve"][-1]["ndcg@10"] > 0.9
    assert row["cpu_s_to_best"] <= row["cpu_s"] <= row["fit_cpu_s"]


def test_what_is_handed_over_comes_back_and_holds_no_answer_of_the_test(
    bench: ModuleType, shop: Path, tmp_path: Path
) -> None:
    task, truth = bench.exchanged(bench.next_item.read_shop(shop))
    bench.write_task(tmp_path / "exchange", task)
    back = bench.read_task(tmp_path / "exchange")
    assert back.n_items == 20
    assert len(back.train) == 40
    assert len(back.asked) == len(back.valid) == len(back.test) == len(truth) == 24
    for row, user in enumerate(back.asked):
        known, valid, test = back.train.row(user), back.valid.row(row), back.test.row(row)
        np.testing.assert_array_equal(known, valid)
        np.testing.assert_array_equal(np.append(valid, back.valid_truth[row]), test)
        assert (test[-1] + 1) % 20 == truth[row]  # one step further round the circle
    assert not any("test_truth" in path.name for path in (tmp_path / "exchange").iterdir())


def test_the_curve_of_a_peer_is_judged_by_our_figure_and_its_best_epoch_is_kept(
    bench: ModuleType, shop: Path, tmp_path: Path
) -> None:
    task, truth = bench.exchanged(bench.next_item.read_shop(shop))
    random = np.random.default_rng(0)
    answers = [np.argsort(random.random((len(truth), 20)), axis=1)[:, :10] for _ in range(3)]
    answers[1][:, 3] = task.valid_truth  # the best by far
    diary = bench.Diary(task, tmp_path, patience=1)
    went_on = []
    for lists in answers:
        went_on.append(diary.epoch(lambda rows, lists=lists: lists))
    result = json.loads((tmp_path / "result.json").read_text())
    assert went_on == [True, True, False]
    assert result["stopped"] == "patience"
    np.testing.assert_array_equal(np.load(tmp_path / "valid_lists.npy"), answers[1])
    for point, lists in zip(result["curve"][::2], answers[::2], strict=True):
        assert point["ndcg@10"] == pytest.approx(bench.judged(lists, task.valid_truth)["ndcg@10"], abs=1e-5)


def test_the_best_lists_leave_out_what_was_met(bench: ModuleType) -> None:
    from peers.exchange import Rows, best  # type: ignore[import-not-found]

    seen = Rows(np.array([0, 2, 2]), np.array([1, 3]))
    scores = np.array([[1.0, 9.0, 2.0, 8.0], [4.0, 1.0, 3.0, 2.0]])
    np.testing.assert_array_equal(best(scores, seen, 0, k=3), [[2, 0, -1], [0, 2, 3]])


def test_a_share_of_a_peer_s_seconds_is_counted_at_the_same_quality(bench: ModuleType) -> None:
    def row(*points: tuple[float, float]) -> dict[str, Any]:
        curve = [{"cpu_s": seconds, "ndcg@10": figure} for seconds, figure in points]
        return {"curve": curve, "peak_rss_mb": 100 * len(points), "stopped": "minutes"}

    peer = row((100.0, 0.02), (200.0, 0.05), (300.0, 0.04))
    told = bench.against(row((10.0, 0.03), (20.0, 0.06)), peer)
    assert (told["our_cpu_s"], told["their_cpu_s"], told["cpu_ratio"]) == (20.0, 200.0, 0.1)
    assert told["cpu_ratio_below"] == 0.0667  # ours came to .06 in 20 s, the peer not in 300
    assert told["memory_ratio"] == 0.667
    assert told["their_training"] == "ended by minutes"
    behind = bench.against(row((10.0, 0.03)), peer)
    assert behind["cpu_ratio"] is behind["cpu_ratio_below"] is None


def test_a_lead_is_paired_by_user_and_has_an_interval(bench: ModuleType) -> None:
    truth = np.arange(200)
    right = np.full((200, 10), -1)
    right[:, 0] = truth
    worse = right.copy()
    worse[:50] = -1  # a quarter is not found
    lead = bench.ahead(right, worse, truth)
    value, low, high = lead["recall@10"]
    assert value == 0.25
    assert 0.17 < low < 0.25 < high < 0.33  # two standard errors of 200 users are .061
    assert bench.ahead(worse, right, truth)["ndcg@10"] == [-value, -high, -low]
    assert bench.ahead(right, right, truth)["ndcg@10"] == [0.0, 0.0, 0.0]


def test_a_peer_that_there_is_not_is_named(shop: Path) -> None:
    command = [sys.executable, str(HOME / "peers_run.py"), "--data", str(shop), "--peers", "rectools:gru"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no peer 'rectools:gru'" in done.stderr
