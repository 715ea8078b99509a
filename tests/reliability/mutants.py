"""Each promise of the reliability tests has been seen to fail: mutants of the source, and what catches them.

    python tests/reliability/mutants.py            # all of them
    python tests/reliability/mutants.py artifacts  # those of mutants_artifacts.py
    python tests/reliability/mutants.py in-place   # those with this in their name

A file mutants_<room>.py beside this one holds a list MUTANTS. For each, src/ is copied aside, the text is
replaced, and the named tests are run on the copy: the mutant is caught when they fail, and the command ends
with 1 when one survives. test_mutants.py keeps the list in step with the source.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
HERE = Path(__file__).parent
CAUGHT = 1
"""pytest's exit code when tests ran and failed; an error of collection is another one."""


@dataclass(frozen=True)
class Mutant:
    """One fault put into the source.

    file: under src/intently. before: text that stands there exactly once. after: what takes its place.
    tests: node ids, from the repository's root, of which at least one must fail.
    """

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The file that is changed."""
        return ROOT / "src" / "intently" / self.file


def rooms() -> dict[str, list[Mutant]]:
    """The lists by room: mutants_artifacts.py holds those of `artifacts`."""
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))
    sys.modules.setdefault("mutants", sys.modules[__name__])  # one class, also when this is the main file
    names = sorted(path.stem for path in HERE.glob("mutants_*.py"))
    return {name.removeprefix("mutants_"): list(import_module(name).MUTANTS) for name in names}


def caught(mutant: Mutant) -> bool:
    """Whether its tests fail on the changed source."""
    with tempfile.TemporaryDirectory() as aside:
        source = Path(shutil.copytree(ROOT / "src", Path(aside) / "src"))
        file = source / "intently" / mutant.file
        text = file.read_text(encoding="utf-8")
        assert text.count(mutant.before) == 1, (
            f"{mutant.name}: the text stands {text.count(mutant.before)} times"
        )
        file.write_text(text.replace(mutant.before, mutant.after), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *mutant.tests]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(source)},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode not in (0, CAUGHT):
        raise SystemExit(
            f"{mutant.name}: the tests could not be run\n{done.stdout[-2000:]}{done.stderr[-500:]}"
        )
    return done.returncode == CAUGHT


def main() -> None:
    """Run what was asked for; 1 when a mutant survives."""
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    every = rooms()
    chosen = every.get(asked) or [m for room in every.values() for m in room if asked in m.name]
    survived = []
    for mutant in chosen:
        found = caught(mutant)
        print(f"{'caught  ' if found else 'SURVIVED'}  {mutant.name}", flush=True)
        if not found:
            survived.append(mutant.name)
    print(f"{len(chosen) - len(survived)} of {len(chosen)} caught")
    raise SystemExit(1 if survived or not chosen else 0)


if __name__ == "__main__":
    main()
