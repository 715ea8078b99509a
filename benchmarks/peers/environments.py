"""The virtual environments of the peers: one each, as they do not fit beside each other or beside us.

torch must come as a build for the processor. Before anything is fetched, pip is asked what it would
install; if that holds a package of CUDA (5 GB), nothing is installed and the error says what to do.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from intently.errors import InputError, IntentlyError

TORCH = "torch>=2.8,<2.14"
GPU = ("nvidia-", "triton", "cuda-")


@dataclass(frozen=True)
class Peer:
    """A library: its script beside this file, what it can run, what is installed."""

    script: str
    variants: tuple[str, ...]
    requirements: tuple[str, ...]


PEERS = {
    "rectools": Peer("rectools_sasrec.py", ("esasrec", "sasrec_ss"), ("rectools[torch]==0.19.0", TORCH)),
    "implicit": Peer("implicit_models.py", ("bpr", "als", "knn"), ("implicit==0.7.3",)),
    # recbole 1.2.1 calls what numpy 2 and pandas 3 no longer have, and imports pkg_resources through ray
    "recbole": Peer(
        "recbole_sasrec.py", ("sasrec",), ("recbole==1.2.1", TORCH, "numpy<2", "pandas<2.3", "setuptools<81")
    ),
}


def ready(peer: str, folder: Path) -> Path:
    """The Python of a peer's environment below `folder`, made when it is missing or of other versions.

    Raises InputError when pip would fetch packages of CUDA, IntentlyError when pip fails.
    """
    home = (folder / f"env-{peer}").resolve()
    python = home / "bin" / "python"
    stamp = home / "requirements.txt"
    wanted = "\n".join(PEERS[peer].requirements) + "\n"
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"making the environment of {peer} ...", file=sys.stderr, flush=True)
    home.parent.mkdir(parents=True, exist_ok=True)
    _call([sys.executable, "-m", "venv", "--clear", str(home)], peer)
    planned = _planned(python, peer)
    heavy = sorted(name for name in planned if name.startswith(GPU))
    if heavy:
        raise InputError(
            f"{peer} would pull {', '.join(heavy[:3])} and {max(len(heavy) - 3, 0)} more packages of CUDA",
            hint="point pip at an index with torch builds for the processor",
        )
    _call([str(python), "-m", "pip", "install", "--quiet", *PEERS[peer].requirements], peer)
    stamp.write_text(wanted)
    return python


def _planned(python: Path, peer: str) -> list[str]:
    """Names of the packages that pip would install."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        words = ["install", "--quiet", "--dry-run", "--report", str(report), *PEERS[peer].requirements]
        _call([str(python), "-m", "pip", *words], peer)
        found = json.loads(report.read_text())["install"]
    return [str(each["metadata"]["name"]).lower() for each in found]


def _call(command: list[str], peer: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise IntentlyError(f"the environment of {peer} cannot be made: {last}")
