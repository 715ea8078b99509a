"""Events survive kills, a failing disk and every order of sending: on a real service, really killed.

INTENTLY_EVENTS and INTENTLY_KILLS make it as long as a release wants; benchmarks/reliability_events.py does.
"""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

import pytest
from event_faults import (
    Link,
    count,
    ended,
    event,
    faulty,
    has_gcc,
    killed,
    sent_thrice,
    stored,
    syncs_before_answers,
)
from served import running

EVENTS = int(os.environ.get("INTENTLY_EVENTS", "600"))
KILLS = int(os.environ.get("INTENTLY_KILLS", "2"))

MAY_SKIP = not os.environ.get("CI")  # scripts/tracer.sh installs both where it may
needs_strace = pytest.mark.skipif(
    MAY_SKIP and shutil.which("strace") is None, reason="strace is not installed"
)
needs_gcc = pytest.mark.skipif(
    MAY_SKIP and not has_gcc(), reason="gcc is not installed: no failing disk can be made"
)


def test_killed_while_events_come_in_nothing_acknowledged_is_missing(tmp_path: Path) -> None:
    told = killed(tmp_path, KILLS, EVENTS)
    assert told.kills == KILLS
    assert len(told.acknowledged) == EVENTS // 4 * 4
    assert (told.missing, told.duplicates) == (0, 0)


@needs_strace
def test_a_sync_comes_before_every_acknowledgement(tmp_path: Path) -> None:
    n = min(EVENTS // 10, 200)
    assert syncs_before_answers(tmp_path, n) == (n, n)


@needs_gcc
def test_what_a_failing_disk_refuses_is_not_acknowledged_and_reading_goes_on(tmp_path: Path) -> None:
    acknowledged, refused = [], []
    with faulty(tmp_path, tmp_path) as (service, fault):
        link = Link(service.port)
        for order, status in (("w28", 507), ("w5", 503), ("s5", 503), ("w28", 507)):
            for n in range(10):
                name = f"good-{len(acknowledged)}-{n}"
                assert link.send(event(name))[0] == 200
                acknowledged.append(name)
            fault.write_text(order)
            for n in range(3):
                refused.append(f"bad-{len(refused)}-{n}")
                found, answer = link.send(event(refused[-1]))
                assert found == status == answer["status"]
                many = {"events": [event(f"many-{len(refused)}-{n}-{k}") for k in range(3)]}
                assert link.send(many)[0] == status
            assert service.client.get("/v1/users/writer/history").json()["total"] == len(acknowledged)
            assert service.recommend("writer", 3)["items"]
            health = service.client.get("/healthz").json()
            assert health["status"] == "degraded"
            assert any("cannot be stored" in problem for problem in health["problems"])
            fault.write_text("")
        assert link.send(event("after"))[1]["accepted"] == 1
        assert "cannot be stored" not in service.client.get("/healthz").text
        assert stored(tmp_path) == [*acknowledged, "after"]
        for name in refused:
            assert link.send(event(name))[1]["accepted"] == 1
        link.close()
        service.kill()
    assert sorted(stored(tmp_path)) == sorted([*acknowledged, "after", *refused])


def test_a_file_that_may_not_grow_refuses_events_and_takes_them_once_it_may(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        link = Link(service.port)
        assert link.send(event("first"))[0] == 200
        pid = service.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        size = (tmp_path / "store.db-wal").stat().st_size
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, before[1]))
        assert {link.send(event(f"full-{n}"))[0] for n in range(5)} <= {503, 507}
        assert service.client.get("/v1/users/writer/history").json()["total"] == 1
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        assert [link.send(event(f"full-{n}"))[1]["accepted"] for n in range(5)] == [1] * 5
        link.close()
    assert stored(tmp_path) == ["first", *(f"full-{n}" for n in range(5))]


def test_sent_three_times_in_any_order_across_a_restart_each_counts_once(tmp_path: Path) -> None:
    told = sent_thrice(tmp_path, EVENTS)
    assert (told.stored, told.stored_ids, told.accepted) == (EVENTS, EVENTS, EVENTS)
    assert told.duplicates == 2 * EVENTS
    assert told.accepted + told.duplicates + told.rejected == told.sent
    assert count(tmp_path) == EVENTS


def test_a_service_that_is_told_to_end_answers_what_was_begun_and_loses_nothing(tmp_path: Path) -> None:
    told = ended(tmp_path)
    assert (told.missing, told.duplicates, told.unanswered) == (0, 0, 0)
