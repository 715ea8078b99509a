"""Faults in publishing, checking and swapping models."""

from __future__ import annotations

from mutants import Mutant

_TESTS = "tests/reliability/test_artifacts_under_load.py"
_DAMAGE = (f"{_TESTS}::test_a_damaged_version_is_never_taken_and_the_old_one_goes_on",)
_SYNC = (f"{_TESTS}::test_everything_is_synced_before_it_gets_its_name",)
_KILLS = (f"{_TESTS}::test_killed_at_any_step_of_a_publication_what_is_live_can_be_served",)
_SWAPS = (f"{_TESTS}::test_swaps_under_load_fail_no_request",)

MUTANTS = [
    Mutant(
        "artifact: no file is compared with the manifest",
        "artifact.py",
        "        if expected.get(name) != found.get(name):",
        "        if False:",
        _DAMAGE,
    ),
    Mutant(
        "artifact: the manifest itself is not checked",
        "artifact.py",
        "    if version != UNSEALED and hash",
        "    if False and hash",
        _DAMAGE,
    ),
    Mutant(
        "artifact: nothing is synced before it is shown",
        "artifact.py",
        '        for path in (*sorted(aside.rglob("*")), aside):\n            _sync(path)\n',
        "",
        _SYNC,
    ),
    Mutant(
        "artifact: the folder's own entries are not synced",
        "artifact.py",
        '(*sorted(aside.rglob("*")), aside)',
        'sorted(aside.rglob("*"))',
        _SYNC,
    ),
    Mutant(
        "artifact: the pointer is replaced before it is synced",
        "artifact.py",
        '    _sync(aside)\n    aside.replace(root / "live.json")\n',
        '    aside.replace(root / "live.json")\n    _sync(root / "live.json")\n',
        _SYNC,
    ),
    Mutant(
        "artifact: the pointer is written in place",
        "artifact.py",
        '    aside = root / ".live.json"\n',
        '    aside = root / "live.json"\n',
        _KILLS,
    ),
    Mutant(
        "artifact: a version is written where it is read",
        "artifact.py",
        '_ASIDE: Final = ".writing-"',
        '_ASIDE: Final = "writing-"',
        _KILLS,
    ),
    Mutant(
        "artifact: what a kill left is never swept",
        "artifact.py",
        "            if _abandoned(left):",
        "            if False:",
        _KILLS,
    ),
    Mutant(
        "artifact: what another process still writes is swept",
        "artifact.py",
        "            if _abandoned(left):",
        "            if True:",
        (f"{_TESTS}::test_what_a_killed_publication_left_is_swept_but_not_what_another_still_writes",),
    ),
    Mutant(
        "swap: the pointer moves before the version was checked",
        "serving/state/model.py",
        "            standing = self._loaded(version)\n            artifact.promote(self._root, version)\n",
        "            artifact.promote(self._root, version)\n            standing = self._loaded(version)\n",
        _DAMAGE,
    ),
    Mutant(
        "swap: no model answers while the next one is loaded",
        "serving/state/model.py",
        "            standing = self._loaded(version)\n            artifact.promote(self._root, version)\n",
        "            self.current = None\n"
        "            standing = self._loaded(version)\n            artifact.promote(self._root, version)\n",
        _SWAPS,
    ),
    Mutant(
        "swap: a promotion waits for the next look at the pointer",
        "serving/state/model.py",
        "            artifact.promote(self._root, version)\n            return self._take(standing)\n",
        "            artifact.promote(self._root, version)\n            return standing\n",
        _SWAPS,
    ),
    Mutant(
        "start: a damaged live version leaves the shop without a model",
        "serving/state/model.py",
        "                if self.current is None:\n                    self._fall_back()\n",
        "",
        (f"{_TESTS}::test_with_a_damaged_live_version_a_start_answers_from_the_one_before",),
    ),
    Mutant(
        "roll-back: the version that is live is loaded again",
        "serving/state/model.py",
        "        for version in artifact.history(self._root)[1:]:",
        "        for version in artifact.history(self._root):",
        (f"{_TESTS}::test_a_roll_back_answers_the_same_lists_as_before",),
    ),
]
