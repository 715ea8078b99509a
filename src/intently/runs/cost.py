"""What a run takes from the machine."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Cost:
    """Seconds of all cores and of ended child processes, seconds of the clock, peak in 2 ** 20 bytes."""

    cpu_s: float
    wall_s: float
    peak_mb: float


class Meter:
    """Counts from when it is made.

    own_peak: forget the process's earlier peak of memory, so that one process can measure many trainings
    (Linux; elsewhere the peak is that of the process so far). What else reads the peak of this process then
    sees the later one too, so only a process that does nothing but train asks for it.
    """

    def __init__(self, *, own_peak: bool = False) -> None:
        self.own_peak = own_peak and _forget_peak()
        self.began_s, self.began_cpu_s = time.monotonic(), _cpu_s()

    def read(self) -> Cost:
        """The cost until now."""
        return Cost(
            cpu_s=round(_cpu_s() - self.began_cpu_s, 2),
            wall_s=round(time.monotonic() - self.began_s, 2),
            peak_mb=round(_own_peak_mb() if self.own_peak else _peak_mb(), 1),
        )


def _cpu_s() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def _peak_mb() -> float:
    """The largest of this process and of each child that has ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    per_mb = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kilobytes elsewhere
    return max(used.ru_maxrss for used in both) / per_mb


def _forget_peak() -> bool:
    try:
        CLEAR.write_text("5", encoding="ascii")
        return _own_peak_mb() > 0
    except OSError:
        return False


def _own_peak_mb() -> float:
    lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(found[0]) / 1024 if found else 0.0
