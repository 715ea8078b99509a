"""What is done to artifacts under load: kills while they are published, damage, swaps.

Used by test_artifacts_under_load.py with small numbers and by benchmarks/reliability_artifacts.py with the
numbers that a release is held to.
"""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from served import Running

from intently import artifact
from intently.errors import ArtifactError

PUBLISHER = Path(__file__).parent / "publisher.py"


class Publisher:
    """The process of publisher.py."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def tell(self, words: str) -> str:
        """Its answer to one line."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        assert answer.partition(" ")[0] in ("steps", "killed", "done"), (words, answer)
        return answer


@contextmanager
def publisher(root: Path) -> Iterator[Publisher]:
    """A process that publishes into `root` when told."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, str(PUBLISHER), str(root)], stdin=pipe, stdout=pipe, text=True
    )
    try:
        yield Publisher(process)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def unservable(root: Path) -> list[str]:
    """What cannot be answered from: the live version, any version that appeared, the pointer itself."""
    found = []
    try:
        folder = artifact.live(root)
        if folder is not None:
            artifact.load(folder)
    except ArtifactError as error:
        found.append(str(error))
    for version in artifact.versions(root):
        try:
            artifact.verify(root / version)
        except ArtifactError as error:
            found.append(str(error))
    return found


def moments(n: int, steps: list[str], longest_s: float, seed: int = 0) -> list[str]:
    """`n` moments to die at: where bytes or names are about to change, at other steps, and at any time."""
    rng = random.Random(seed)
    changing = [i for i, name in enumerate(steps, 1) if name in ("write", "rename", "replace")]
    others = [i for i in range(1, len(steps) + 1) if i not in changing]
    rng.shuffle(others)
    chosen = [f"step {i}" for i in (changing + others)[: max(n - n // 10, 1)]]
    return chosen + [f"after {rng.uniform(0, longest_s):.4f}" for _ in range(n - len(chosen))]


def damages(folder: Path, flips: int, cuts: int, seed: int = 0) -> Iterator[tuple[Path, bytes, str]]:
    """(file, its bytes with one bit flipped or its end cut off, what was done).

    Every second flip is in a file drawn evenly, the others in a byte drawn evenly over the folder, so that
    small files are met as well as large ones.
    """
    rng = random.Random(seed)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = [path.stat().st_size for path in files]
    for i in range(flips):
        path = rng.choice(files) if i % 2 else rng.choices(files, sizes)[0]
        whole = bytearray(path.read_bytes())
        place, bit = rng.randrange(len(whole)), rng.randrange(8)
        whole[place] ^= 1 << bit
        yield path, bytes(whole), f"bit {bit} of byte {place} of {path.name}"
    for i in range(cuts):
        path = files[i % len(files)]
        whole = bytearray(path.read_bytes())
        keep = 0 if i < len(files) else rng.randrange(len(whole))
        yield path, bytes(whole[:keep]), f"{path.name} cut to {keep} bytes"


@contextmanager
def damaged(path: Path, said: bytes) -> Iterator[None]:
    """The file with other bytes, for a while."""
    whole = path.read_bytes()
    path.write_bytes(said)
    try:
        yield
    finally:
        path.write_bytes(whole)


def swap(service: Running, version: str) -> httpx.Response:
    """Promote over HTTP."""
    return service.client.post(f"/v1/models/{version}:promote", json={})


def lists(service: Running, users: list[str], n: int = 5) -> list[list[str]]:
    """What these users are answered."""
    return [service.ids(user, n) for user in users]


class Askers:
    """Threads that ask over sockets of their own until told to stop; every answer is judged."""

    def __init__(self, address: str, users: list[str], n_threads: int, n: int = 5) -> None:
        self._address, self._users, self._n = address, users, n
        self._stop = threading.Event()
        self.failed: list[str] = []
        self.versions: set[str] = set()
        self.answers = 0
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(n_threads)]

    def __enter__(self) -> Askers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, seed: int) -> None:
        rng = random.Random(seed)
        with httpx.Client(base_url=self._address, timeout=30, trust_env=False) as client:
            while not self._stop.is_set():
                user = rng.choice(self._users)
                try:
                    answer = client.get(f"/v1/recommendations/{user}?n={self._n}")
                    self._judge(answer.status_code, answer.json())
                except httpx.HTTPError as error:
                    self.failed.append(type(error).__name__)

    def _judge(self, status: int, said: dict[str, Any]) -> None:
        self.answers += 1
        if status != 200 or len(said["items"]) != self._n or said["degraded"]:
            self.failed.append(f"{status}: {said}"[:400])
        self.versions.add(said.get("model_version", ""))
