"""How a shop's items become vectors: their texts by a language model, their pictures by a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
import polars as pl

from intently import progress
from intently.config import Settings
from intently.errors import InputError, MissingExtraError
from intently.schema import FloatArray

if TYPE_CHECKING:
    from intently.language import TextEncoder
    from intently.senses import ImageEncoder, Joined


class ItemReader:
    """Reads items into the space that a catalogue spans.

    vectors: (n_items, d) float32 of the catalogue that it was made from, unit length, zeros for an item
    without anything to read. Pictures count where `settings.pictures` names their folder and enough of them
    are there; texts always do.
    """

    def __init__(self, texts: TextEncoder, settings: Settings) -> None:
        self._texts, self._settings = texts, settings
        self._pictures: ImageEncoder | None = None
        self._joined: Joined | None = None
        self.vectors: FloatArray = np.zeros((0, texts.size), np.float32)

    @classmethod
    def of(cls, table: pl.DataFrame, settings: Settings) -> Self:
        """The reader of this catalogue, `item_table` of a shop, and its vectors.

        Raises MissingExtraError when no language model is installed, ArtifactError for a damaged one,
        InputError for a folder of pictures that is none.
        """
        from intently.language import TextEncoder, choose_encoder
        from intently.language.catalogue import texts_of

        texts, cache = texts_of(table), settings.home / "vectors"
        encoder = TextEncoder(choose_encoder(texts, settings), speed=settings.speed, cache=cache)
        reader = cls(encoder, settings)
        said, seen = encoder.encode(texts), reader._look(table)
        reader.vectors = said if reader._joined is None else reader._joined.vectors(said, seen)
        return reader

    def read(self, table: pl.DataFrame) -> FloatArray:
        """(n, d): further items in the same space."""
        from intently.language.catalogue import texts_of

        said = self._texts.encode(texts_of(table))
        return said if self._joined is None else self._joined.vectors(said, self._seen(table))

    def ready(self) -> None:
        """Load the models now, not when the first further item comes."""
        self._texts.ready()
        if self._joined is not None and self._pictures is not None:
            self._pictures.ready()

    # -- inside --------------------------------------------------------------------------------

    def _look(self, table: pl.DataFrame) -> FloatArray:
        """(n, 1280) vectors of the catalogue's pictures; learns what joins them with the texts."""
        from intently.senses import ImageEncoder, Joined
        from intently.senses.pictures import names_of

        named = sum(bool(name) for name in names_of(table))
        folder = self._settings.pictures
        if folder is None:
            if named:
                progress.note(f"{named} items name a picture: set `pictures` to the folder to have them read")
            return np.zeros((table.height, 0), np.float32)
        if not folder.is_dir():
            raise InputError(f"no folder of pictures at {folder}", hint="check `pictures`", field="pictures")
        self._pictures = ImageEncoder(cache=self._settings.home / "vectors")
        try:
            seen = self._seen(table)
        except MissingExtraError as error:
            progress.note(f"pictures are not read: {error}")
            return np.zeros((table.height, 0), np.float32)
        shown = int(seen.any(axis=1).sum())
        self._joined = Joined.learned(seen)
        used = "read with the texts" if self._joined is not None else "too few to be of use"
        progress.note(f"pictures: {shown} of {table.height} items have one, {named} name one: {used}")
        return seen

    def _seen(self, table: pl.DataFrame) -> FloatArray:
        from intently.senses import PictureFolder
        from intently.senses.pictures import names_of

        assert self._pictures is not None
        assert self._settings.pictures is not None
        folder = PictureFolder(self._settings.pictures)
        return self._pictures.encode([folder.find(name) if name else None for name in names_of(table)])
