"""A back-up of a running shop gives the same answers when restored, and a damaged one is refused."""

from __future__ import annotations

import random
import subprocess
import sys
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest
from served import RUN, running

from intently.backup import back_up, restore
from intently.errors import InputError
from intently.store import SqliteStore


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-c", RUN, *map(str, words)]
    return subprocess.run(call, capture_output=True, text=True, check=False)


def test_a_shop_backed_up_while_events_come_in_answers_the_same_when_restored(
    simple_home: Path, tmp_path: Path
) -> None:
    file, copy = tmp_path / "shop.tar", tmp_path / "copy"
    (tmp_path / "mine.toml").write_text('target = "purchase"\n')
    sent, stop = [0], threading.Event()
    with running(simple_home) as service:
        expected = service.ids("u003", 10)

        def send() -> None:
            while not stop.is_set():
                event: dict[str, Any] = {"user_id": "busy", "item_id": "i001", "event": "view"}
                event["event_id"] = f"b{sent[0]}"
                assert service.client.post("/v1/events", json=event).status_code == 200
                sent[0] += 1

        thread = threading.Thread(target=send)
        thread.start()
        while sent[0] < 20:
            threading.Event().wait(0.01)
        config = tmp_path / "mine.toml"
        done = command("backup", "--home", simple_home, "--out", file, "--config", config)
        atleast = 20
        stop.set()
        thread.join(30)
    assert done.returncode == 0, done.stderr
    assert "MB, as of 20" in done.stdout
    done = command("restore", file, "--home", copy)
    assert done.returncode == 0, done.stderr
    assert (copy / "intently.toml").read_text() == 'target = "purchase"\n'
    with running(copy) as service:
        assert service.ids("u003", 10) == expected
        total = service.client.get("/v1/users/busy/history").json()["total"]
        assert atleast <= total <= sent[0]
    with SqliteStore(copy / "store.db") as store:
        assert store.counts().events == 30 * 60 + total


def test_a_damaged_back_up_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    home, file, copy = tmp_path / "home", tmp_path / "shop.tar", tmp_path / "copy"
    with SqliteStore(home / "store.db") as store:
        store.add_events([{"user_id": "u", "item_id": "i", "event": "view", "time_s": 1.7e9}])
    (home / "artifacts").mkdir()
    (home / "artifacts" / "live.json").write_text("{}")
    (home / "notes.txt").write_text("x" * 700)
    assert back_up(home, file).files == 3
    whole = file.read_bytes()
    draw = random.Random(0)
    damaged = [whole[:size] for size in (0, 100, len(whole) // 2, whole.rindex(b"manifest.json"))]
    used = len(whole.rstrip(b"\0"))
    for _ in range(150):
        at = draw.randrange(used)
        damaged.append(whole[:at] + bytes([whole[at] ^ (1 << draw.randrange(8))]) + whole[at + 1 :])
    unnoticed = 0
    for bad in damaged:
        file.write_bytes(bad)
        if not refused(file, copy):  # a bit of a header that says nothing of what a file holds
            unnoticed += 1
            assert contents(copy) == contents(home)
            subprocess.run(["rm", "-r", copy], check=True)
        assert not copy.exists()
        assert not list(tmp_path.glob(".copy*"))
    assert unnoticed < len(damaged) // 10
    file.write_bytes(whole)
    assert restore(file, copy).files == 3


def refused(file: Path, copy: Path) -> bool:
    try:
        restore(file, copy)
    except InputError as error:
        return "damaged" in str(error)
    return False


def contents(home: Path) -> list[Any]:
    with SqliteStore(home / "store.db") as store:
        events = store.events().rows()
    return [events, (home / "notes.txt").read_bytes(), (home / "artifacts" / "live.json").read_bytes()]


def test_what_would_leave_the_folder_is_refused(tmp_path: Path) -> None:
    for name in ("../out.txt", "/out.txt"):
        file = tmp_path / "bad.tar"
        with tarfile.open(file, "w") as tar:
            (tmp_path / "x").write_text("x")
            tar.add(tmp_path / "x", arcname=name)
        with pytest.raises(InputError, match="is damaged"):
            restore(file, tmp_path / "copy")
        assert not (tmp_path / "out.txt").exists()


def test_nothing_is_written_over(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "home" / "store.db"):
        pass
    with pytest.raises(InputError, match="no shop in"):
        back_up(tmp_path / "nowhere", tmp_path / "a.tar")
    back_up(tmp_path / "home", tmp_path / "a.tar")
    with pytest.raises(InputError, match="exists already"):
        back_up(tmp_path / "home", tmp_path / "a.tar")
    with pytest.raises(InputError, match="is not empty"):
        restore(tmp_path / "a.tar", tmp_path / "home")
    assert command("restore", tmp_path / "a.tar", "--home", tmp_path / "home").returncode == 2
