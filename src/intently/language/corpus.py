"""A corpus of unlabelled text: catalogue, behaviour written as text, and any files the user gives.

Nothing is kept in memory but eight bytes a distinct text: each pass reads the sources anew. What a text is
worth is decided by its content alone. One hash of it (case and white space apart) says whether it was there
before, another whether it is held out, so the held-out part stays the same whatever else the corpus holds,
and no text is in both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from intently.data import Dataset
from intently.errors import InputError
from intently.language.behaviour import BehaviourWriter
from intently.language.catalogue import catalogue_text
from intently.language.corpus_files import texts_of
from intently.schema import BoolArray

PARTS: Final = ("train", "held_out")
FEWEST_TEXTS: Final = 10
FEWEST_WORDS: Final = 20

_BATCH: Final = 4096

HashArray = NDArray[np.uint64]


@dataclass(frozen=True)
class Source:
    """Where texts come from; `read()` starts anew each time."""

    name: str
    read: Callable[[], Iterable[str]]


@dataclass(frozen=True)
class CorpusFacts:
    """What one pass over a corpus found. fingerprint: of its distinct texts, whatever their order."""

    texts: int
    held_out: int
    duplicates: int
    empty: int
    characters: int
    sources: dict[str, int]  # distinct texts that each one was the first to bring
    fingerprint: str


class Corpus:
    """Distinct texts of several sources, in order, with a held-out part.

    held_out: share of the texts that is never trained on. Raises InputError for a share out of range.
    """

    def __init__(self, sources: Sequence[Source], *, held_out: float = 0.05) -> None:
        if not 0.0 < held_out < 0.5:
            raise InputError(f"held_out must lie between 0 and 0.5, got {held_out}", field="held_out")
        if not sources:
            raise InputError("a corpus needs at least one source", hint="give files with --corpus")
        self.sources, self.held_out = tuple(sources), held_out

    def texts(self, part: str) -> Iterator[str]:
        """One pass over 'train' or 'held_out'; white space is made single blanks.

        Raises InputError for another part and for a file that cannot be read.
        """
        if part not in PARTS:
            raise InputError(f"a corpus has the parts {', '.join(PARTS)}, not {part!r}")
        for _, texts, new, held in self._passed():
            keep = new & (held == (part == "held_out"))
            yield from (texts[row] for row in np.flatnonzero(keep))

    @cached_property
    def facts(self) -> CorpusFacts:
        """Counts of everything; reads all sources once.

        Raises InputError for a corpus that is empty or says nothing (fewer than 10 distinct texts or 20
        distinct words), and for one whose held-out part is empty.
        """
        brought = dict.fromkeys((source.name for source in self.sources), 0)
        texts = held_out = duplicates = empty = characters = 0
        digest, words = np.uint64(0), set[str]()
        for name, batch, new, held in self._passed():
            filled = np.fromiter((bool(text) for text in batch), bool, len(batch))
            empty += int((~filled).sum())
            duplicates += int((filled & ~new).sum())
            for row in np.flatnonzero(new):
                characters += len(batch[row])
                digest ^= _hashes([batch[row]])[0][0]
                if len(words) < FEWEST_WORDS:
                    words.update(_pieces(batch[row]))
            brought[name] += int(new.sum())
            texts += int(new.sum())
            held_out += int((new & held).sum())
        found = CorpusFacts(texts, held_out, duplicates, empty, characters, brought, f"{int(digest):016x}")
        _check(found, words)
        return found

    def _passed(self) -> Iterator[tuple[str, list[str], BoolArray, BoolArray]]:
        """(source, texts, which are new, which are held out), a batch at a time."""
        seen = _Seen()
        for source in self.sources:
            stream = iter(source.read())
            while batch := [_clean(text) for text in islice(stream, _BATCH)]:
                identity, lot = _hashes(batch)
                filled = np.fromiter((bool(text) for text in batch), bool, len(batch))
                yield source.name, batch, seen.new(identity, filled), lot < self._limit

    @property
    def _limit(self) -> np.uint64:
        return np.uint64(int(self.held_out * 2**64))


def text_source(texts: Sequence[str], name: str = "texts") -> Source:
    """Texts that are in memory already."""
    return Source(name, lambda: texts)


def file_source(path: Path, column: str = "") -> Source:
    """A file of the user's; see `texts_of`."""
    return Source(path.name, lambda: texts_of(path, column))


def catalogue_source(dataset: Dataset) -> Source:
    """What is known of every item."""
    return Source("catalogue", lambda: catalogue_text(dataset))


def behaviour_source(dataset: Dataset, *, max_events: int = 16) -> Source:
    """What every user of `dataset` did last, as text; cut the shop with `as_of` to keep the future out."""

    def read() -> Iterator[str]:
        writer = BehaviourWriter(dataset, max_events=max_events)
        for user in range(dataset.n_users):
            yield from writer.write([user])

    return Source("behaviour", read)


class _Seen:
    """Which hashes were there before: sorted arrays, merged when they grow alike (8 bytes a hash)."""

    def __init__(self) -> None:
        self.sorted: list[HashArray] = []

    def new(self, hashes: HashArray, of: BoolArray) -> BoolArray:
        """For each hash whether it comes for the first time; only rows of `of` count."""
        fresh = np.zeros(len(hashes), bool)
        distinct, first = np.unique(hashes[of], return_index=True)
        known = np.zeros(len(distinct), bool)
        for part in self.sorted:
            at = np.minimum(np.searchsorted(part, distinct), len(part) - 1)
            known |= part[at] == distinct
        fresh[np.flatnonzero(of)[first[~known]]] = True
        self._add(distinct[~known])
        return fresh

    def _add(self, hashes: HashArray) -> None:
        if len(hashes):
            self.sorted.append(hashes)
        while len(self.sorted) > 1 and 2 * len(self.sorted[-1]) > len(self.sorted[-2]):
            last, before = self.sorted.pop(), self.sorted.pop()
            self.sorted.append(np.sort(np.concatenate([before, last])))


def _hashes(texts: Sequence[str]) -> tuple[HashArray, HashArray]:
    """(identity, lot) of each text: two independent 64-bit hashes of its words."""
    digests = [
        hashlib.blake2b(text.casefold().encode("utf-8", "replace"), digest_size=16).digest() for text in texts
    ]
    both = np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _clean(text: str) -> str:
    return " ".join(text.split())


def _pieces(text: str) -> list[str]:
    """Words, or letters where a language has no blanks."""
    words = text.casefold().split()
    return list(text) if len(words) == 1 and not text.isascii() else words


def _check(facts: CorpusFacts, words: set[str]) -> None:
    if facts.texts < FEWEST_TEXTS or len(words) < FEWEST_WORDS:
        raise InputError(
            f"the corpus says too little: {facts.texts} distinct texts, {len(words)} distinct words; "
            f"{facts.duplicates} texts were said before and {facts.empty} are empty; needed are at least "
            f"{FEWEST_TEXTS} texts and {FEWEST_WORDS} words",
            hint="give more text with --corpus",
        )
    if facts.held_out == 0 or facts.held_out == facts.texts:
        raise InputError(
            f"of {facts.texts} distinct texts {facts.held_out} are held out; both parts need some",
            hint="give more text, or a larger held-out share",
        )
