"""A process that publishes when told, and dies by SIGKILL where told.

    python publisher.py ARTIFACTS

reads a line a publication from stdin and answers with a line:

    count        publish and promote; answers "steps NAME NAME ...", the file operations that this took
    step K       the same in a fork that kills itself before its K-th file operation
    after S      the same in a fork that is killed after S seconds
    whole        the same in a fork that lives
                 each answers "killed" or "done"

A step is a call of open, write, fsync, rename and the like that the publishing code makes; what polars and
safetensors write inside is reached by `after`. Importing takes a second and a fork none, so it forks.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE.parent / "serving"))

from served import FACTS, grocery, repeat  # noqa: E402

from intently import artifact  # noqa: E402

OPERATIONS = frozenset(
    ("open", "write", "fsync", "rename", "replace", "mkdir", "chmod", "rmdir", "unlink", "flock", "close")
)


class Steps:
    """Counts file operations; at the `fatal`-th one the process is gone."""

    def __init__(self, fatal: int = -1) -> None:
        self.fatal = fatal
        self.seen: list[str] = []

    def __call__(self, frame: FrameType, event: str, called: Any) -> None:
        name, code = getattr(called, "__name__", ""), frame.f_code
        if code.co_name == "_abandoned" or code.co_filename.endswith("shutil.py"):
            return  # sweeping up after earlier kills is not counted: or every step would move
        if event == "c_call" and name in OPERATIONS:
            self.seen.append(name)
            if len(self.seen) == self.fatal:
                os.kill(os.getpid(), signal.SIGKILL)


def publish(root: Path, steps: Steps | None, begins: Callable[[], object] = lambda: None) -> None:
    """The grocery's repeat model, published and promoted by the code that `train` uses."""
    shop = grocery()
    model = repeat(shop)
    begins()
    if steps is not None:
        sys.setprofile(steps)
    folder = artifact.publish(root, model, shop, FACTS | {"stage": "quick"}, "# a test's model\n")
    artifact.promote(root, folder.name)
    sys.setprofile(None)


def forked(root: Path, steps: Steps | None, after_s: float | None) -> str:
    """One publication in a fork; how it ended."""
    ready, begun = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(ready)
            publish(root, steps, lambda: os.write(begun, b"!"))
        except BaseException as error:  # the fork must end here, whatever happens
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            os._exit(1)
        os._exit(0)
    os.close(begun)
    os.read(ready, 1)
    if after_s is not None:
        time.sleep(after_s)
        os.kill(pid, signal.SIGKILL)
    os.close(ready)
    _pid, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return "killed"
    return "done" if os.WEXITSTATUS(status) == 0 else "failed"


def main() -> None:
    """Serve publications until stdin ends."""
    root = Path(sys.argv[1])
    for line in sys.stdin:
        what, _, value = line.strip().partition(" ")
        if what == "count":
            reading, writing = os.pipe()
            if os.fork() == 0:
                steps = Steps()
                publish(root, steps)
                os.write(writing, " ".join(steps.seen).encode())
                os._exit(0)
            os.close(writing)
            answer = f"steps {os.read(reading, 65536).decode()}"
            os.close(reading)
            os.wait()
        elif what == "step":
            answer = forked(root, Steps(int(value)), None)
        else:
            answer = forked(root, None, float(value) if what == "after" else None)
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
