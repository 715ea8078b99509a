"""The shop's rules on disk: one JSON file, written whole or not at all, read again when it changed.

Two processes may write (the service and the command line): each takes the file's lock, reads what is
there, and writes it with the next version. Readers take no lock, for the file is replaced in one step.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
from pydantic import ValidationError

from intently.errors import InputError, StoreError, UnknownIdError
from intently.serving.rules.faults import shown
from intently.serving.rules.rule import Rule

FORMAT: Final = 1
MOST_RULES: Final = 1000
LOOK_S: Final = 0.05
"""How soon what another process wrote is seen."""
DAMAGED: Final = "the rules cannot be read; the ones before go on"


@dataclass(frozen=True, slots=True)
class Edition:
    """All rules as of one writing, in the order in which they were made."""

    version: int
    rules: tuple[Rule, ...]

    def get(self, rule_id: str) -> Rule:
        """The rule; raises UnknownIdError."""
        for rule in self.rules:
            if rule.id == rule_id:
                return rule
        raise UnknownIdError("no rule of this id", hint="GET /v1/rules lists them", field="id")


class RuleFile:
    """`current()` is what holds; `trouble` says when the file could not be read."""

    def __init__(self, path: Path, look_s: float = LOOK_S) -> None:
        self.path = path
        self._every_s = look_s
        self.trouble = ""
        self._writing, self._reading = threading.Lock(), threading.Lock()
        self._look_s = 0.0
        self._seen: tuple[int, int, int] | None = None
        self._edition = Edition(0, ())

    def current(self) -> Edition:
        """The rules now: a look at the file's date every LOOK_S, and a reading only where it changed."""
        now_s = time.monotonic()
        if now_s < self._look_s:
            return self._edition
        self._look_s = now_s + self._every_s
        if self._stamp() != self._seen:
            with self._reading:  # or an earlier reading could end after a later one
                self._read(self._stamp())
        return self._edition

    def add(self, rule: Rule, created_at: str) -> Rule:
        """Store a new rule, its id made from its name where it has none; InputError for one that is taken."""

        def added(rules: list[Rule]) -> Rule:
            taken = {one.id for one in rules}
            if rule.id in taken:
                hint = f"PUT /v1/rules/{rule.id} changes it"
                raise InputError(f"there is a rule {shown(rule.id)} already", hint=hint, field="id")
            if len(rules) >= MOST_RULES:
                raise InputError(f"a shop has {MOST_RULES} rules at most", hint="delete what has ended")
            made = rule.model_copy(
                update={"id": rule.id or free_id(rule.name, taken), "created_at": created_at}
            )
            rules.append(made)
            return made

        return self._change(added)

    def replace(self, rule_id: str, rule: Rule) -> Rule:
        """Store a rule in the place of the one of this id; raises UnknownIdError."""

        def replaced(rules: list[Rule]) -> Rule:
            place = _place(rules, rule_id)
            kept = {"id": rule_id, "created_at": rules[place].created_at}
            rules[place] = rule.model_copy(update=kept)
            return rules[place]

        return self._change(replaced)

    def remove(self, rule_id: str) -> Rule:
        """Take a rule out; raises UnknownIdError."""
        return self._change(lambda rules: rules.pop(_place(rules, rule_id)))

    def _change(self, change: Callable[[list[Rule]], Rule]) -> Rule:
        with self._locked():
            with self._reading:
                self._read(self._stamp())
            edition = self._edition
            if self.trouble:
                hint = f"repair or remove {self.path.name} in the shop's folder"
                raise StoreError("the rules cannot be changed while their file cannot be read", hint=hint)
            rules = list(edition.rules)
            made = change(rules)
            self._write(Edition(edition.version + 1, tuple(rules)))
            with self._reading:
                self._read(self._stamp())
            return made

    def _stamp(self) -> tuple[int, int, int] | None:
        """What changes whenever the file does; None where there is none."""
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_ino, stat.st_size

    def _read(self, seen: tuple[int, int, int] | None) -> None:
        """Take in the file; one that cannot be used changes nothing but `trouble`."""
        self._seen = seen
        if seen is None:
            self._edition, self.trouble = Edition(self._edition.version, ()), ""
            return
        try:
            said = orjson.loads(self.path.read_bytes())
            if said["format"] != FORMAT:
                raise ValueError(f"format {said['format']}, this release reads {FORMAT}")
            rules = tuple(Rule.model_validate(one) for one in said["rules"])
            self._edition, self.trouble = Edition(int(said["version"]), rules), ""
        except (OSError, ValueError, KeyError, TypeError, ValidationError):
            self.trouble = DAMAGED

    def _write(self, edition: Edition) -> None:
        rules = [rule.model_dump(exclude_defaults=True) for rule in edition.rules]
        said = {"format": FORMAT, "version": edition.version, "rules": rules}
        aside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        try:
            with aside.open("wb") as file:
                file.write(orjson.dumps(said, option=orjson.OPT_INDENT_2))
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, self.path)
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise StoreError(f"the rules could not be written: {error.strerror}") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone in this process and among all of this machine."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._writing, self.path.with_name(f"{self.path.name}.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def free_id(name: str, taken: set[str]) -> str:
    """An id from a name.

    >>> free_id("No sale items!", {"no-sale-items"}), free_id("清仓", set())
    ('no-sale-items-2', 'rule')
    """
    stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:48] or "rule"
    found, n = stem, 1
    while found in taken:
        n += 1
        found = f"{stem}-{n}"
    return found


def _place(rules: list[Rule], rule_id: str) -> int:
    for place, rule in enumerate(rules):
        if rule.id == rule_id:
            return place
    raise UnknownIdError("no rule of this id", hint="GET /v1/rules lists them", field="id")
