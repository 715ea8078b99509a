"""Written by one thread, taken into the memory by another: in order, once each, before anyone is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from intently.errors import NotReadyError
from intently.serving.state import ledger as module
from intently.serving.state.ledger import Ledger
from intently.store import EventRow, SqliteStore

WAIT_S = 20.0


def row(user_id: str, n: int) -> EventRow:
    return (user_id, f"i{n % 7}", 1, 1e9 + n, None, None, None, None, f"{user_id}-{n}", None)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(tmp_path / "s.db") as found:
        yield found


@pytest.fixture
def ledger(store: SqliteStore) -> Iterator[Ledger]:
    found = Ledger(store)
    found.start()
    yield found
    found.stop()


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_who_is_told_finds_the_event_in_the_memory(ledger: Ledger) -> None:
    found: list[int] = []
    done = threading.Event()

    def told(_outcome: module.Outcome) -> None:
        found.append(len(ledger.memory.of("u").items))
        if len(found) == 50:
            done.set()

    for n in range(50):
        ledger.hand_over([row("u", n)], told)
    assert done.wait(WAIT_S)
    assert all(have >= place + 1 for place, have in enumerate(found))
    assert found[-1] == 50


def test_rows_of_others_are_read_once_between_own_ones(
    ledger: Ledger, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.002)  # idle threads look all the time
    with SqliteStore(store.path) as other:
        for n in range(60):
            ledger.submit([row("own", n)]).result(WAIT_S)
            other.append([row("other", n)])
    until(lambda: len(ledger.memory.of("other").items) >= 60)
    assert len(ledger.memory.of("other").items) == len(ledger.memory.of("own").items) == 60
    assert ledger.row == 120


def test_a_look_at_others_rows_counts_none_that_are_on_their_way(
    ledger: Ledger, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit is done, its rows are not handed on yet, and the other thread has time to look."""
    monkeypatch.setattr(module, "LOOK_S", 0.002)
    ledger.submit([row("u", 0)]).result(WAIT_S)  # the look that waited before has ended
    append = store.append

    def slow(rows: list[EventRow]) -> object:
        done = append(rows)
        time.sleep(0.1)
        return done

    monkeypatch.setattr(store, "append", slow)
    ledger.submit([row("u", 1)]).result(WAIT_S)
    time.sleep(0.05)
    assert len(ledger.memory.of("u").items) == 2


def test_catching_up_waits_for_what_was_written(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    remember = ledger._remember
    begun = threading.Event()

    def slow(*given: object) -> None:
        begun.set()
        time.sleep(0.1)
        remember(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger, "_remember", slow)
    ledger.submit([row("u", 0)])
    assert begun.wait(WAIT_S)
    assert len(ledger.memory.of("u").items) == 0
    ledger.catch_up()
    assert len(ledger.memory.of("u").items) == 1


def test_what_the_memory_could_not_take_is_read_from_the_disk_with_the_next(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add_all = ledger.memory.add_all

    def fail(*_given: object) -> None:
        raise ValueError("refused by a test")

    monkeypatch.setattr(ledger.memory, "add_all", fail)
    assert ledger.submit([row("u", 0)]).result(WAIT_S) == [True]
    assert "could not be taken into the memory" in caplog.text
    monkeypatch.setattr(ledger.memory, "add_all", add_all)
    assert ledger.submit([row("u", 1)]).result(WAIT_S) == [True]
    assert len(ledger.memory.of("u").items) == 2


def test_what_is_to_be_done_afterwards_is_done_after_telling(ledger: Ledger) -> None:
    order: list[str] = []
    done = threading.Event()
    ledger.afterwards = lambda: (order.append("afterwards"), done.set())[0]
    ledger.hand_over([row("u", 0)], lambda _outcome: order.append("told"))
    assert done.wait(WAIT_S)
    assert order == ["told", "afterwards"]


def test_events_wait_until_the_memory_has_them_and_too_many_are_refused(
    ledger: Ledger, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 10)
    remember, go_on = ledger._remember, threading.Event()

    def slow(*given: object) -> None:
        assert go_on.wait(WAIT_S)
        remember(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger, "_remember", slow)
    first = ledger.submit([row("u", n) for n in range(8)])
    until(lambda: store.last_row() == 8)
    with pytest.raises(NotReadyError, match="too many events wait to be written"):
        ledger.submit([row("u", n) for n in range(8, 11)])
    go_on.set()
    assert first.result(WAIT_S) == [True] * 8
    assert ledger.submit([row("u", n) for n in range(8, 18)]).result(WAIT_S) == [True] * 10


def test_catching_up_does_not_overtake_what_is_on_its_way(
    ledger: Ledger, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit is done, and its rows are not handed on yet."""
    append, committed = store.append, threading.Event()

    def slow(rows: list[EventRow]) -> object:
        done = append(rows)
        committed.set()
        time.sleep(0.1)
        return done

    monkeypatch.setattr(store, "append", slow)
    ledger.submit([row("u", 0)])
    assert committed.wait(WAIT_S)
    ledger.catch_up()
    assert len(ledger.memory.of("u").items) == 1
