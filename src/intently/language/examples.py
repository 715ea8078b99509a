"""Texts with their classes, and how they are parted into what is learned from, tuned on and tested on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from intently import progress
from intently.errors import InputError
from intently.schema import IntArray, LongArray


@dataclass(frozen=True)
class Examples:
    """texts (and, for pairs, the texts beside them), the class of each, and a group to report it by."""

    texts: list[str]
    labels: IntArray  # (n,) places in the list of names
    others: list[str] | None = None
    groups: list[str] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Sequence[int] | IntArray | LongArray) -> Examples:
        """The examples of these rows, in this order."""
        chosen = [int(row) for row in rows]
        return Examples(
            [self.texts[row] for row in chosen],
            self.labels[chosen],
            None if self.others is None else [self.others[row] for row in chosen],
            None if self.groups is None else [self.groups[row] for row in chosen],
        )

    def keys(self) -> list[str]:
        """What makes two examples the same: their text, without case and white space."""
        others = self.others or [""] * len(self)
        both = zip(self.texts, others, strict=True)
        return ["\t".join("".join(part.casefold().split()) for part in pair) for pair in both]


@dataclass(frozen=True)
class Parts:
    """Learned from, tuned on (early stopping, threshold, temperature), tested on; classes by name."""

    train: Examples
    validation: Examples
    test: Examples
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            if not len(getattr(self, name)):
                raise InputError(f"the {name} part has no examples", hint="give more labelled texts")
        if len(self.names) < 2 or len(np.unique(self.train.labels)) < 2:
            only = ", ".join(self.names[:1])
            raise InputError(
                f"there is a single class ({only}): nothing to tell apart", hint="give at least two labels"
            )


def numbered(labels: Sequence[object]) -> tuple[IntArray, tuple[str, ...]]:
    """Labels of any kind to places in the sorted list of their names.

    >>> numbered(["b", "a", "b"])
    (array([1, 0, 1], dtype=int32), ('a', 'b'))
    """
    words = [str(label).strip() for label in labels]
    names = tuple(sorted(set(words)))
    place = {name: row for row, name in enumerate(names)}
    return np.array([place[word] for word in words], np.int32), names


def parted(
    examples: Examples, names: tuple[str, ...], *, test: float = 0.2, validation: float = 0.1, seed: int = 0
) -> Parts:
    """Three parts, each with every class in proportion; `validation` is a share of what is not tested.

    A text that is in the test part is taken out of the others, one of the validation part out of the
    training part: near-equal texts (case, white space) count as equal. Classes of fewer than three
    examples are left out, since they cannot be in all parts; a note says so.
    """
    for name, share in (("test", test), ("validation", validation)):
        if not 0.0 < share < 1.0:
            raise InputError(f"{name} must be a share between 0 and 1, got {share}", field=name)
    examples, names = _frequent(examples, names)
    rng = np.random.default_rng(seed)
    rest, tested = _cut(examples.labels, np.arange(len(examples)), test, rng)
    learned, tuned = _cut(examples.labels, rest, validation, rng)
    keys = examples.keys()
    seen = {keys[row] for row in tested}
    tuned = np.array([row for row in tuned if keys[row] not in seen], np.int64)
    seen |= {keys[row] for row in tuned}
    before = len(learned)
    learned = np.array([row for row in learned if keys[row] not in seen], np.int64)
    if before > len(learned):
        progress.note(f"{before - len(learned)} training texts are also in a held-back part and are left out")
    return Parts(examples.take(learned), examples.take(tuned), examples.take(tested), names)


def _frequent(examples: Examples, names: tuple[str, ...]) -> tuple[Examples, tuple[str, ...]]:
    counts = np.bincount(examples.labels, minlength=len(names))
    kept = np.flatnonzero(counts >= 3)
    rare = [names[at] for at in np.flatnonzero((counts > 0) & (counts < 3))]
    if len(kept) < 2:
        raise InputError(
            f"a classifier needs two classes of at least three texts each, got {len(kept)} such",
            hint="give more labelled texts, or another label column",
        )
    if rare:
        shown = ", ".join(rare[:5])
        progress.note(f"{len(rare)} classes of fewer than three texts are left out: {shown}")
    if len(kept) == len(names):
        return examples, names
    place = np.full(len(names), -1, np.int32)
    place[kept] = np.arange(len(kept))
    rows = np.flatnonzero(place[examples.labels] >= 0)
    chosen = examples.take(rows)
    return replace(chosen, labels=place[chosen.labels]), tuple(names[at] for at in kept)


def _cut(
    labels: IntArray, rows: LongArray, share: float, rng: np.random.Generator
) -> tuple[LongArray, LongArray]:
    """(kept, cut off): of every class a share, at least one example."""
    off: list[LongArray] = []
    for label in np.unique(labels[rows]):
        own = rng.permutation(rows[labels[rows] == label])
        off.append(own[: max(1, round(share * len(own)))])
    cut = np.sort(np.concatenate(off))
    return np.setdiff1d(rows, cut), cut
