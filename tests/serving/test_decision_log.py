"""Decisions are kept beside the answers: whole, bounded, erasable, and never in their way."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from served import Running, running

from intently.config import Settings
from intently.errors import StoreError
from intently.serving.answer.recommend import recommend
from intently.serving.decisions import file as file_module
from intently.serving.decisions import log as log_module
from intently.serving.decisions.file import DecisionFile, Reader
from intently.serving.decisions.ids import AT_ONCE, RANDOM, key_at, key_of, moment_of, new_id
from intently.serving.decisions.log import DecisionLog
from intently.serving.decisions.record import Barred, Decision, checksum, decode, encode, packed
from intently.serving.intake.records import erase_user
from intently.serving.shapes.answers import RecommendationRequest
from intently.serving.state.engine import Engine

DAY_S = 86_400.0


def test_no_two_answers_have_one_id_whatever_thread_names_them() -> None:
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda _: [new_id() for _ in range(3 * AT_ONCE)], range(4)))
    names = [name for part in parts for name in part]
    assert len({name[-RANDOM:] for name in names}) == len(names)
    assert all(key_of(name) is not None for name in names)
    assert all(part == sorted(part) for part in parts)  # as they were made, within a millisecond too


def made(n_items: int = 40, who: str = "u001", name: str = "", scale: int = 1) -> Decision:
    """A decision over `n_items` candidates."""
    rng = np.random.default_rng(n_items)
    numbers = (rng.permutation(n_items) * scale).astype(np.int32)
    return Decision(
        id=name or new_id(),
        who=who,
        at_s=1_717_000_000.25,
        row=77,
        times=np.array([1.0, 2.5]),
        numbers=numbers,
        scores=np.sort(rng.random(n_items))[::-1],
        sources=(np.arange(n_items) % 3 > 1).astype(np.uint8),
        source_names=("boosted", "popular"),
        propensity=np.where(np.arange(n_items) == 2, 0.25, 1.0),
        shown=5,
        dropped=[(7 * scale, "bought"), (3 * scale, "cart"), (9 * scale, "bought")],
        bars=[
            Barred("excluded", "is in exclude_ids", np.array([1, 2], np.int32)),
            Barred("removed", "was taken out of the shop", mask=np.arange(n_items) % 5 == 0),
        ],
        request=RecommendationRequest(user_id="u001", n=5, exclude_ids=["a", "b"]),
        facts={"scenario": "home", "model_version": "v1"},
    )


def opened(
    path: Path, ids: list[str] | None = None, days: float = 30.0, most_mb: float = 100.0
) -> DecisionLog:
    log = DecisionLog(path, [f"i{n}" for n in range(40)] if ids is None else ids, 5, days, most_mb)
    log.start()
    return log


# -- one decision ----------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1, 5000])  # numbers of two bytes and of four
def test_a_decision_reads_back_as_it_was(scale: int) -> None:
    given = made(scale=scale)
    key = key_of(given.id)
    assert key is not None
    told = decode(key, 0, 3, encode(given, {1: 8}), {8: packed(np.arange(40) % 5 == 0)})
    assert told.numbers.tolist() == given.numbers.tolist()
    np.testing.assert_allclose(told.scores, given.scores, rtol=1e-6)
    assert told.sources == ["popular" if i % 3 == 2 else "boosted" for i in range(40)]
    assert told.propensity.tolist() == given.propensity.tolist()
    assert told.dropped == given.dropped
    assert (told.id, told.who, told.at_s, told.row, told.shown) == (given.id, "u001", given.at_s, 77, 5)
    assert (told.n_history, told.history) == (2, checksum(np.array([1.0, 2.5])))
    assert told.request == {"user_id": "u001", "n": 5, "exclude_ids": ["a", "b"]}
    assert told.facts == given.facts
    assert [bar.stage for bar in told.bars] == ["excluded", "removed"]
    assert told.bars[0].numbers is not None
    assert told.bars[0].numbers.tolist() == [1, 2]
    assert told.bars[1].mask is not None
    assert np.flatnonzero(told.bars[1].mask).tolist() == list(range(0, 40, 5))


def test_an_answer_without_candidates_is_a_decision_too() -> None:
    none = np.zeros(0, np.int32)
    empty = Decision(
        new_id(), "", 0.0, 0, np.zeros(0), none, np.zeros(0), np.zeros(0, np.uint8), ("m",), np.zeros(0), 0
    )
    told = decode(b"\0" * 14, 0, 1, encode(empty, {}), {})
    assert (len(told.numbers), told.sources, told.dropped, told.bars) == (0, [], [], [])


def test_damaged_bytes_are_refused() -> None:
    body = encode(made(), {})
    for bad in (body[:3], body[:60], body[:-4], b"\x09" + body[1:]):
        with pytest.raises(StoreError, match=r"cannot be read|has layout 9"):
            decode(b"\0" * 14, 0, 1, bad, {})


def test_ids_sort_by_time_and_nothing_else_is_one() -> None:
    first, second = new_id(), new_id()
    assert first != second
    key = key_of(first)
    assert key is not None
    assert first[:16] <= second[:16]
    assert key_at(moment_of(key)) <= key < key_at(moment_of(key) + 1)
    for odd in (
        "",
        "rec_",
        "rec_1",
        first[4:],
        first.upper(),
        first + "0",
        first[:-1] + "g",
        "rec_" + "é" * 28,
    ):
        assert key_of(odd) is None


# -- the log ---------------------------------------------------------------------------------------


def test_what_was_handed_over_is_found_by_its_id(tmp_path: Path) -> None:
    log = opened(tmp_path / "d.db")
    given = [made() for _ in range(30)]
    for decision in given:
        log.keep(decision)
    told = log.find(given[7].id)
    assert [one.id for one in told] == [given[7].id]
    assert told[0].bars[1].mask is not None
    assert log.reader.names(told[0].era)[:2] == ["i0", "i1"]
    assert log.reader.era(told[0].era)[0] == 5
    assert log.find("rec_" + "0" * 28) == log.find("nonsense") == []
    assert (log.kept, log.lost, log.trouble) == (30, 0, "")
    log.stop()


def test_people_have_one_key_each_however_often_keys_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_module, "_FORGET_AFTER", 5)
    path, names = tmp_path / "d.db", ["a", "名", "c'\"\\", "d"]
    written = DecisionFile(path, 5, 0.0)
    groups = [names[:2], ["", *names], [*names[1:], names[0], names[3]], names[:1]]
    made_of = [[made(who=who) for who in group] for group in groups]
    for group in made_of:
        written.add(group, [f"i{n}" for n in range(40)], 0.0)
    assert [one.who for group in made_of for one in Reader(path).find(group[-1].id)] == ["名", "d", "d", "a"]
    assert written.erase(["d"]) == 3
    assert written.erase(["a", "名"]) == 7
    written.close()


def test_a_restart_reads_decisions_of_the_runs_before(tmp_path: Path) -> None:
    ids, given = ["a", "b", "c"], made()
    log = opened(tmp_path / "d.db", ids)
    log.keep(given)
    log.flush()
    ids.append("new\u2028line")  # ids grow while the service runs
    log.keep(made())
    log.stop()
    again = opened(tmp_path / "d.db", ["b", "c", "a"])
    assert again.reader.names(again.find(given.id)[0].era) == ["a", "b", "c", "new\u2028line"]
    again.stop()


def test_ids_are_written_once_however_often_the_service_starts(tmp_path: Path) -> None:
    for _ in range(3):
        log = opened(tmp_path / "d.db")
        log.keep(made())
        log.stop()
    with sqlite3.connect(tmp_path / "d.db") as db:
        assert db.execute("SELECT count(*) FROM names").fetchone() == (1,)
        assert db.execute("SELECT count(*) FROM runs").fetchone() == (3,)
        assert db.execute("SELECT count(*) FROM shared").fetchone() == (1,)
    db.close()


def test_a_full_queue_loses_and_counts_but_never_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, going = threading.Event(), threading.Event()
    add = DecisionFile.add

    def slow(self: DecisionFile, *given: object) -> None:
        held.set()
        going.wait(20)
        add(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(DecisionFile, "add", slow)
    monkeypatch.setattr(log_module, "MOST_WAITING", 20)
    log = opened(tmp_path / "d.db")
    log.keep(made())
    assert held.wait(10)
    for _ in range(25):
        log.keep(made())
    assert log.lost == 5
    assert log.trouble == "5 decisions were not kept: the log does not keep up with the answers"
    going.set()
    log.flush()
    assert (log.kept, log.lost) == (21, 5)
    log.stop()


def test_a_disk_that_fails_is_said_and_the_log_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreError("the decision log d.db cannot be used: database or disk is full")

    log = opened(tmp_path / "d.db")
    with monkeypatch.context() as patch:
        patch.setattr(DecisionFile, "add", full)
        log.keep(made())
        log.flush()
        assert (log.kept, log.lost) == (0, 1)
        assert log.trouble == "decisions cannot be written at the moment"
    log.keep(made())
    log.flush()
    assert (log.kept, log.lost) == (1, 1)
    assert "cannot be written" not in log.trouble
    log.stop()


def test_one_decision_that_cannot_be_encoded_harms_no_other(tmp_path: Path) -> None:
    log = opened(tmp_path / "d.db")
    bad, good = made(), made()
    bad.facts = {"odd": object()}
    log.keep(bad)
    log.keep(good)
    assert len(log.find(good.id)) == 1
    assert (log.kept, log.lost) == (1, 1)
    log.stop()


def test_a_damaged_file_is_kept_aside_and_a_new_one_is_begun(tmp_path: Path) -> None:
    (tmp_path / "d.db").write_bytes(b"not a database at all" * 400)
    log = opened(tmp_path / "d.db")
    given = made()
    log.keep(given)
    assert len(log.find(given.id)) == 1
    assert [path.name[:12] for path in tmp_path.glob("*damaged*")] == ["d.db.damaged"]
    assert log.trouble == ""
    log.stop()


# -- bounds ----------------------------------------------------------------------------------------


def test_what_is_old_is_deleted_with_what_only_it_needed(tmp_path: Path) -> None:
    now_s = 1_800_000_000.0
    old = [made(who=f"old{i}", name=_id(now_s - 40 * DAY_S, i)) for i in range(550)]
    new = [made(30, name=_id(now_s - DAY_S, i)) for i in range(3)]
    first = DecisionFile(tmp_path / "d.db", 0, now_s - 40 * DAY_S)
    first.add(old, ["x", "y"], now_s - 40 * DAY_S)
    first.close()
    file = DecisionFile(tmp_path / "d.db", 9, now_s - DAY_S)
    file.add(new, ["a", "b"], now_s - DAY_S)
    assert file.prune(key_at(now_s - 30 * DAY_S), 10**9, now_s) == 550
    file.close()
    with sqlite3.connect(tmp_path / "d.db") as db:
        counts = [
            db.execute(f"SELECT count(*) FROM {t}").fetchone()[0]
            for t in ("decisions", "eras", "names", "who")
        ]
        assert counts == [3, 1, 1, 1]
        assert db.execute("SELECT count(*) FROM shared").fetchone() == (1,)
    db.close()
    told = Reader(tmp_path / "d.db").find(new[0].id)[0]
    assert told.bars[1].mask is not None  # the bits that it still needs are there


def test_the_oldest_go_when_the_file_grows_too_large(tmp_path: Path) -> None:
    now_s = 1_800_000_000.0
    every = [made(200, name=_id(now_s + i, i)) for i in range(1200)]
    file = DecisionFile(tmp_path / "d.db", 0, now_s)
    file.add(every, ["a"], now_s)
    before = file.size()
    file.prune(key_at(0.0), before // 2, now_s)
    assert file.size() <= before // 2
    file.close()
    reader = Reader(tmp_path / "d.db")
    assert 0 < reader.count() < 601
    assert reader.latest(1) == [every[-1].id]
    assert reader.find(every[0].id) == []
    assert (tmp_path / "d.db").stat().st_size <= 0.7 * before  # and the space is given back


def test_nothing_of_an_erased_user_is_left_in_the_file(tmp_path: Path) -> None:
    log = opened(tmp_path / "d.db")
    theirs, other = made(who="erase-me-please"), made(who="u002")
    theirs.facts = {"note": "erase-me-please too"}
    for decision in (theirs, other, made(who="session:erase-me-please")):
        log.keep(decision)
    log.flush()
    log.keep(made(who="erase-me-please"))  # and what waits
    assert log.erase(["erase-me-please", "session:erase-me-please", "nobody"]) == 3
    assert log.find(theirs.id) == []
    assert len(log.find(other.id)) == 1
    for path in tmp_path.glob("d.db*"):
        assert b"erase-me-please" not in path.read_bytes()
    log.stop()


def _id(wall_s: float, i: int) -> str:
    return f"rec_{key_at(wall_s).hex()}{i:016x}"


# -- in the service --------------------------------------------------------------------------------


def test_every_answer_of_the_engine_is_kept_and_pages_join_it(home_made: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(home_made, tmp_path / "home"))
    engine = Engine(Settings(home=home))
    engine.start()
    try:
        asked = RecommendationRequest(user_id="u003", n=4, exclude_ids=["i003"])
        answer = recommend(engine, asked)
        cursor = answer.next_cursor
        assert cursor is not None
        recommend(engine, RecommendationRequest(user_id="u003", n=4, cursor=cursor))
        first, second = engine.decisions.find(answer.recommendation_id)
        ids = engine.decisions.reader.names(first.era)
        assert [ids[number] for number in first.numbers[:4]] == [item.item_id for item in answer.items]
        assert (first.start, first.shown, second.start, second.shown) == (0, 4, 4, 4)
        assert first.facts["model_version"] == answer.model_version
        assert ("i003", "excluded") in [(ids[number], stage) for number, stage in first.dropped]
        assert first.row == engine.ledger.row == 1800
    finally:
        engine.close()


def test_without_days_nothing_is_kept(simple_home: Path) -> None:
    engine = Engine(Settings(home=simple_home, decisions_days=0))
    engine.start()
    try:
        answer = recommend(engine, RecommendationRequest(user_id="u003", n=4))
        assert engine.decisions.find(answer.recommendation_id) == []
        assert engine.problems() == []
    finally:
        engine.close()
    assert not (simple_home / "decisions.db").exists()


def test_a_log_that_is_turned_off_is_emptied(tmp_path: Path) -> None:
    log = opened(tmp_path / "d.db")
    log.keep(made())
    log.stop()
    off = opened(tmp_path / "d.db", days=0)
    off.keep(made())
    off.flush()
    off.stop()
    assert Reader(tmp_path / "d.db").count() == 0


def test_a_user_who_is_erased_is_gone_from_the_log(simple_home: Path) -> None:
    engine = Engine(Settings(home=simple_home))
    engine.start()
    try:
        theirs, other = (recommend(engine, RecommendationRequest(user_id=u, n=4)) for u in ("u003", "u004"))
        erase_user(engine, "u003")
        assert engine.decisions.find(theirs.recommendation_id) == []
        assert len(engine.decisions.find(other.recommendation_id)) == 1
    finally:
        engine.close()


def test_a_kill_loses_only_what_was_not_written_and_the_file_is_whole(simple_home: Path) -> None:
    kept: list[str] = []

    def ask(service: Running) -> None:
        while True:
            try:
                kept.append(service.recommend("u003")["recommendation_id"])
            except Exception:
                return

    with running(simple_home) as service:
        asking = threading.Thread(target=ask, args=(service,))
        asking.start()
        while len(kept) < 300:
            threading.Event().wait(0.02)
        service.kill()
        asking.join()
    with sqlite3.connect(simple_home / "decisions.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    reader = Reader(simple_home / "decisions.db")
    found = [bool(reader.find(name)) for name in kept]
    assert 0 < found.count(False) < 290 or all(found)
    assert found == sorted(found, reverse=True)  # what is missing is the end
    log = opened(simple_home / "decisions.db")
    log.keep(made())
    log.stop()
    assert (log.kept, log.trouble) == (1, "")


def test_a_write_that_is_killed_at_any_time_leaves_a_whole_file(tmp_path: Path) -> None:
    code = (
        "import sys, time; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path\nfrom test_decision_log import made, opened\n"
        "log = opened(Path(sys.argv[1]))\nprint('ready', flush=True)\n"
        "while True:\n    log.keep(made()); time.sleep(0.0005)\n"
    )
    here = Path(__file__).parent
    command = [sys.executable, "-c", code, str(tmp_path / "d.db"), str(here), str(here.parent)]
    for delay_s in (0.0, 0.3):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        threading.Event().wait(delay_s)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        process.stdout.close()
        if (tmp_path / "d.db").exists():
            with sqlite3.connect(tmp_path / "d.db") as db:
                assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            db.close()
    log = opened(tmp_path / "d.db")
    log.keep(made())
    log.flush()
    assert (log.kept, log.trouble) == (1, "")
    log.stop()


def test_who_another_service_erased_lends_their_key_to_nobody(tmp_path: Path) -> None:
    path, ids = tmp_path / "decisions.db", [f"i{n}" for n in range(40)]
    one, other = DecisionFile(path, 0, 1.7e9), DecisionFile(path, 0, 1.7e9)
    try:
        one.add([made(who="ann", name=_id(1.7e9, 1))], ids, 1.7e9)
        assert other.erase(["ann"]) == 1
        other.add([made(who="bob", name=_id(1.7e9, 2))], ids, 1.7e9)
        one.add([made(who="ann", name=_id(1.7e9, 3))], ids, 1.7e9)
        assert other.erase(["bob"]) == 1
        assert other.erase(["ann"]) == 1
    finally:
        one.close()
        other.close()
