"""Where a figure came from: one JSON line a figure, with commit, machine, date and command.

    from record import record
    record("next_item", {"model": "linear", "recall@10": 0.078})

appends to benchmarks/results/next_item.jsonl. `tables.py` makes the README's tables from these files.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"


def record(question: str, row: Mapping[str, Any], path: Path | None = None) -> dict[str, Any]:
    """Append `row` with its provenance to results/<question>.jsonl (or `path`) and return the line."""
    if not re.fullmatch(r"[a-z0-9_]+", question):
        raise ValueError(f"a question is lower-case letters, digits and _, got {question!r}")
    full = dict(row) | provenance()
    target = path or RESULTS / f"{question}.jsonl"
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(full, ensure_ascii=False, allow_nan=False) + "\n")
    return full


def provenance() -> dict[str, str]:
    """commit (with + when tracked files differ), machine, python, date (UTC) and command."""
    return {
        "commit": commit(),
        "machine": machine(),
        "python": platform.python_version(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command(sys.argv),
    }


def commit() -> str:
    """Short hash of the checkout, `+` behind it when source files differ; 'unknown' outside git."""
    short = _git("rev-parse", "--short=12", "HEAD")
    if not short:
        return "unknown"
    return short + ("+" if _git("status", "--porcelain", "--untracked-files=no", "--", "src") else "")


def machine() -> str:
    """Processor, usable cores, memory and system; nothing that names the owner."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{_processor()}, {cores} cores, {memory_gb:.0f} GB, {platform.system()} {platform.machine()}"


def command(argv: Sequence[str]) -> str:
    """The command line with every path reduced to its last component.

    >>> command(["/a/b/next_item.py", "--data", "/c/beauty", "--table=/d/x.csv", "--models", "popular"])
    'next_item.py --data beauty --table=x.csv --models popular'
    """
    return " ".join(_last_component(word) for word in argv)


def _last_component(word: str) -> str:
    option, sign, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return option + sign + (value.rstrip("/").rsplit("/", 1)[-1] if "/" in value else value)


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown processor"
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.machine()


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=HERE, capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
