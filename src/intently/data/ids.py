"""Outside ids (strings) to dense integers and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from intently.errors import UnknownIdError
from intently.schema import IntArray


class IdMap:
    """A frozen two-way map; position in `ids` is the dense id.

    >>> ids = IdMap(["b", "a"])
    >>> ids.index("a"), ids[0], "c" in ids
    (1, 'b', False)
    """

    def __init__(self, ids: Iterable[str]) -> None:
        self.ids: tuple[str, ...] = tuple(ids)
        self._index = {name: position for position, name in enumerate(self.ids)}

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> str:
        return self.ids[index]

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def get(self, name: str, default: int = -1) -> int:
        """Dense id, or `default` for a stranger."""
        return self._index.get(name, default)

    def index(self, name: str) -> int:
        """Dense id; raises UnknownIdError for a stranger."""
        found = self._index.get(name)
        if found is None:
            raise UnknownIdError(f"unknown id {name[:80]!r}", hint="ids are compared as text")
        return found

    def indices(self, names: Sequence[str]) -> IntArray:
        """Dense ids, -1 for strangers."""
        return np.fromiter((self._index.get(name, -1) for name in names), np.int32, len(names))

    def names(self, indices: Sequence[int] | IntArray) -> list[str]:
        """Outside ids of dense ids."""
        return [self.ids[int(index)] for index in indices]

    def frame(self, name: str) -> pl.DataFrame:
        """Two columns: `name` (the outside id) and `index`."""
        index = pl.Series("index", np.arange(len(self.ids), dtype=np.int32))
        return pl.DataFrame([pl.Series(name, self.ids, dtype=pl.String), index])
