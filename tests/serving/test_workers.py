"""`intently serve --workers 2`: one address, two processes; one that dies is replaced, none is left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from served import RUN, running
from several import settle_in, soon


def children(pid: int) -> list[int]:
    """Processes that answer: the supervisor's own helper is not one."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
                if "resource_tracker" not in Path(f"/proc/{child}/cmdline").read_text():
                    found.append(int(child))
    return sorted(found)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_workers_answer_as_one_and_are_replaced(tmp_path: Path, database: str, redis: str) -> None:
    options = settle_in(tmp_path, database, redis)
    with running(tmp_path, *options, "--workers", "2") as service:
        both = children(service.process.pid)
        assert len(both) == 2
        for n in range(10):
            event = {"user_id": "ann", "item_id": "i001", "event": "click", "event_id": f"e{n}"}
            told = service.client.post("/v1/events", json=event)
            assert told.json()["accepted"] == 1
        os.kill(both[0], signal.SIGKILL)
        soon(
            lambda: len(children(service.process.pid)) == 2 and both[0] not in children(service.process.pid),
            20,
        )
        soon(lambda: service.client.get("/v1/users/ann/history").json()["total"] == 10, 20)
        both = children(service.process.pid)
    for pid in both:
        soon(lambda pid=pid: not alive(pid))


def test_no_worker_outlives_the_command(tmp_path: Path, database: str, redis: str) -> None:
    options = settle_in(tmp_path, database, redis)
    with running(tmp_path, *options, "--workers", "2") as service:
        both = children(service.process.pid)
        service.kill()
        for pid in both:
            soon(lambda pid=pid: not alive(pid), 20)


def test_what_keeps_workers_from_beginning_is_said_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUN, "serve", "--home", str(tmp_path), "--port", "0", "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "several workers need `redis`" in done.stderr
    assert "Traceback" not in done.stderr
