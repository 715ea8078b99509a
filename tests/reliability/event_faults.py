"""What is done to events on their way to the disk: kills while they come in, syncs watched, a failing disk.

Used by test_events_under_faults.py with small numbers and by benchmarks/reliability_events.py with the
numbers that a release is held to.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from served import Running, running

from intently.store import SqliteStore

FAULT_C = Path(__file__).with_name("faulty_disk.c")


def event(event_id: str, user_id: str = "writer") -> dict[str, Any]:
    return {
        "user_id": user_id,
        "item_id": f"i{zlib.crc32(event_id.encode()) % 20:03d}",
        "event": "click",
        "event_id": event_id,
    }


def stored(home: Path) -> list[str]:
    """The event ids in the store, in order of arrival, read past all of Intently's own code."""
    db = sqlite3.connect(home / "store.db")
    try:
        rows = db.execute("SELECT event_id FROM events WHERE event_id IS NOT NULL ORDER BY row").fetchall()
    finally:
        db.close()
    return [row[0] for row in rows]


class Link:
    """A keep-alive connection that sends events one by one."""

    def __init__(self, port: int) -> None:
        self._link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def send(self, body: Any) -> tuple[int, dict[str, Any]]:
        """Status and answer; raises OSError or HTTPException when the service went away."""
        headers = {"content-type": "application/json"}
        self._link.request("POST", "/v1/events", json.dumps(body), headers)
        answer = self._link.getresponse()
        return answer.status, json.loads(answer.read())

    def close(self) -> None:
        self._link.close()


GONE = (OSError, http.client.HTTPException, ValueError)
"""What a client sees of a service that was killed: also half an answer."""


@dataclass
class Kept:
    """What writers were told, and what is there."""

    sent: int = 0
    kills: int = 0
    acknowledged: set[str] = field(default_factory=set)
    missing: int = 0
    duplicates: int = 0
    unanswered: int = 0


def killed(home: Path, kills: int, n_events: int, writers: int = 4, seed: int = 0) -> Kept:
    """Writers send events of their own, and again what was not acknowledged, while the service is killed.

    Each life of the service lasts until a share of the events was acknowledged and a few milliseconds more.
    """
    draw, told = random.Random(seed), Kept()
    waiting = [[f"w{writer}-{n}" for n in range(n_events // writers)] for writer in range(writers)]
    for life in range(kills + 1):
        goal = n_events if life == kills else n_events * (life + 1) // (kills + 1)
        with running(home) as service:
            threads = [threading.Thread(target=_write, args=(service.port, ids, told)) for ids in waiting]
            for thread in threads:
                thread.start()
            while life < kills and len(told.acknowledged) < goal and any(t.is_alive() for t in threads):
                time.sleep(0.001)
            if life < kills:
                time.sleep(draw.random() * 0.02)
                service.kill()
                told.kills += 1
            for thread in threads:
                thread.join(120)
    found = stored(home)
    told.missing = len(told.acknowledged - set(found))
    told.duplicates = len(found) - len(set(found))
    return told


def _write(port: int, ids: list[str], told: Kept) -> None:
    """Send until all are acknowledged or the service is gone; `ids` keeps what was not."""
    link = Link(port)
    try:
        while ids:
            told.sent += 1
            status, answer = link.send(event(ids[-1]))
            if status == 200 and answer["accepted"] + answer["duplicates"] == 1:
                told.acknowledged.add(ids.pop())
    except GONE:
        return
    finally:
        link.close()


# -- a sync before every acknowledgement ---------------------------------------------------------

SYNCED = re.compile(r"(?:fsync|fdatasync)(?:\([^)]*\)| resumed>\))\s*= 0")
ASKED = re.compile(r"(?:read|recvfrom|recvmsg)(?:\(| resumed>).*POST /v1/events")
ANSWERED = re.compile(r"(?:write|writev|sendto|sendmsg)\(.*HTTP/1\.1 200 OK")


def syncs_before_answers(home: Path, n_events: int) -> tuple[int, int]:
    """How many of n answers to single events came after a sync of their own, and how many answers came.

    strace writes what the kernel was asked, of all threads, in the order in which it stopped them.
    """
    trace = home / "strace.txt"
    with running(home) as service:
        link = Link(service.port)
        link.send(event("before the trace"))
        calls = "trace=fsync,fdatasync,read,recvfrom,recvmsg,write,writev,sendto,sendmsg"
        command = ["strace", "-f", "-qq", "-s", "64", "-e", calls, "-e", "signal=none", "-o", str(trace)]
        with subprocess.Popen([*command, "-p", str(service.process.pid)]) as tracer:
            while not _traced(service.process.pid):
                assert tracer.poll() is None, "strace ended: may it trace here?"
                time.sleep(0.02)
            for n in range(n_events):
                status, answer = link.send(event(f"traced-{n}"))
                assert (status, answer["accepted"]) == (200, 1)
            tracer.send_signal(signal.SIGINT)
            tracer.wait(30)
        link.close()
    synced, good, answers = False, 0, 0
    for line in trace.read_text(errors="replace").splitlines():
        if ASKED.search(line):
            synced = False  # a late sync of the event before is no sync of this one
        elif SYNCED.search(line):
            synced = True
        elif ANSWERED.search(line):
            good, answers, synced = good + synced, answers + 1, False
    return good, answers


def _traced(pid: int) -> bool:
    """Whether every thread of a process has a tracer."""
    tasks = list(Path(f"/proc/{pid}/task").iterdir())
    return all("TracerPid:\t0\n" not in (task / "status").read_text() for task in tasks)


# -- a disk that fails ---------------------------------------------------------------------------


@contextmanager
def faulty(home: Path, scratch: Path) -> Iterator[tuple[Running, Path]]:
    """A service whose write-ahead log is on a disk that fails when told.

    The file holds what to do: "w28" refuses writes with errno 28 (ENOSPC), "s5" syncs with errno 5 (EIO),
    nothing lets all through.
    """
    library, order = scratch / "faulty_disk.so", scratch / "fault"
    order.write_text("")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, FAULT_C, "-ldl"], check=True)
    with running(home, env={"LD_PRELOAD": str(library), "FAULT_FILE": str(order)}) as service:
        yield service, order


def has_gcc() -> bool:
    return shutil.which("gcc") is not None


# -- sent three times, shuffled ------------------------------------------------------------------


@dataclass
class Counted:
    """Sums over all answers, and what is stored."""

    sent: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    stored: int = 0
    stored_ids: int = 0


def sent_thrice(home: Path, n_events: int, seed: int = 0) -> Counted:
    """Every event three times in batches of all sizes, in any order, some unusable, across a restart."""
    draw, told = random.Random(seed), Counted()
    every = [event(f"e{n}", f"u{n % 97}") for n in range(n_events)] * 3
    draw.shuffle(every)
    for place in range(0, len(every), 50):
        every.insert(place, {"user_id": "u", "item_id": "i", "event": "explode"})
    half = len(every) // 2
    for part in (every[:half], every[half:]):
        with running(home) as service:
            link = Link(service.port)
            while part:
                size = min(draw.choice((1, 1, 3, 20, 200)), len(part))
                batch, part = part[:size], part[size:]
                status, answer = link.send(batch[0] if size == 1 else {"events": batch})
                told.sent += size
                if status == 422:
                    told.rejected += len(answer["errors"])
                    continue
                assert status == 200, answer
                told.accepted += answer["accepted"]
                told.duplicates += answer["duplicates"]
                told.rejected += answer["rejected"]
            link.close()
    found = stored(home)
    told.stored, told.stored_ids = len(found), len(set(found))
    return told


def ended(home: Path, writers: int = 8) -> Kept:
    """SIGTERM while writers send: what was taken in is answered for, and every answer holds.

    unanswered: events that are stored, and whose sender got no answer.
    """
    told = Kept()
    broken: set[str] = set()
    stop = threading.Event()

    def write(name: str) -> None:
        link = Link(service.port)
        n = 0
        while not stop.is_set():
            n += 1
            try:
                link.send(event(f"{name}-{n}"))
            except ConnectionRefusedError:
                return
            except GONE:  # closed between two requests, or while one was carried out: the store knows
                broken.add(f"{name}-{n}")
                link.close()
                continue
            told.acknowledged.add(f"{name}-{n}")

    with running(home) as service:
        threads = [threading.Thread(target=write, args=(f"t{n}",)) for n in range(writers)]
        for thread in threads:
            thread.start()
        while len(told.acknowledged) < 20 * writers:
            time.sleep(0.002)
        service.process.terminate()
        assert service.process.wait(60) == 0
        stop.set()
        for thread in threads:
            thread.join(60)
    found = stored(home)
    told.unanswered = len(broken & set(found))
    told.missing = len(told.acknowledged - set(found))
    told.duplicates = len(found) - len(set(found))
    return told


def count(home: Path) -> int:
    with SqliteStore(home / "store.db") as store:
        return store.counts().events
