"""`ImageEncoder`: pictures to unit vectors, from a cache where possible."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from intently import progress
from intently.cache import VectorCache, default_cache, sha256_of
from intently.cores import cores
from intently.errors import InputError
from intently.nn.inference import unit
from intently.nn.session import one_core
from intently.schema import FloatArray
from intently.senses import weights
from intently.senses.pictures import SIDE, pixels_of

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

SIZE: Final = 1280
_CHUNK: Final = 64  # pictures between two commits to the cache
_MIDDLE, _WIDTH = np.float32(127), np.float32(128)  # the network reads (pixel - 127) / 128


class ImageEncoder:
    """Reads pictures with EfficientNet-Lite0 (nn/efficientnet.py) on the processor, in fp32.

    A vector is the square root of what the network's last layer gives, at unit length, so that the cosine of
    two pictures is the Bhattacharyya coefficient of their features (Arandjelovic and Zisserman 2012, who do
    so with SIFT): a feature that shouts does not drown the others.

    cache: folder of the vectors and of the exported network; default: the user's cache folder.
    threads: cores to use, 0: all.

    Raises MissingExtraError when a package is not installed, ArtifactError for damaged weights.
    """

    size = SIZE

    def __init__(self, *, cache: Path | None = None, threads: int = 0) -> None:
        if threads < 0:
            raise InputError(f"threads must be 0 (all) or more, got {threads}", field="threads")
        self.threads = threads or cores()
        self.cache = default_cache() if cache is None else Path(cache)

    def encode(self, files: Sequence[Path | None]) -> FloatArray:
        """(n, size) float32, unit length; zeros for None and for a file that is no picture.

        Equal pictures are read once, and those that were ever read come from the cache. How many files could
        not be read is noted, with the first one's name and reason.
        """
        given = list(dict.fromkeys(file for file in files if file is not None))
        wrong: dict[Path, str] = {}
        keys = {file: key for file in given if (key := self._key(file, wrong)) is not None}
        store = VectorCache(self._home / "vectors.db", SIZE)
        known = store.get(list(set(keys.values())))
        missing = {key: file for file, key in keys.items() if key not in known}
        with progress.track("reading pictures", total=len(missing)) as advance:
            waiting = list(missing.items())
            for start in range(0, len(waiting), _CHUNK):
                some = waiting[start : start + _CHUNK]
                fresh = self._read(some, wrong)
                if fresh:
                    store.put(list(fresh), np.stack(list(fresh.values())))
                known |= fresh
                advance(len(some))
        if wrong:
            file, reason = next(iter(wrong.items()))
            progress.note(f"pictures: {len(wrong)} of {len(given)} cannot be read, {file.name}: {reason}")
        out = np.zeros((len(files), SIZE), np.float32)
        for row, named in enumerate(files):
            if named is not None and (vector := known.get(keys.get(named, b""))) is not None:
                out[row] = vector
        return out

    def ready(self) -> None:
        """Load the network, so that the first picture that is not cached does not wait for it."""
        self._session.run(None, {"pictures": np.zeros((1, 3, SIDE, SIDE), np.float32)})

    # -- inside --------------------------------------------------------------------------------

    @staticmethod
    def _key(file: Path, wrong: dict[Path, str]) -> bytes | None:
        try:
            return bytes.fromhex(sha256_of(file))
        except OSError as error:
            wrong[file] = str(error.strerror)
            return None

    def _read(self, some: list[tuple[bytes, Path]], wrong: dict[Path, str]) -> dict[bytes, FloatArray]:
        """Vectors of pictures that are not in the cache, by their keys; what is none goes to `wrong`."""
        session = self._session

        def one(named: tuple[bytes, Path]) -> dict[bytes, FloatArray]:
            key, file = named
            try:
                pixels = pixels_of(file)
            except InputError as error:
                wrong[file] = error.message
                return {}
            block = (pixels.transpose(2, 0, 1)[None].astype(np.float32) - _MIDDLE) / _WIDTH
            seen: FloatArray = session.run(None, {"pictures": block})[0]
            return {key: unit(np.sqrt(seen))[0]}

        with ThreadPoolExecutor(self.threads) as pool:  # one a call: it stays in a core's cache
            return {key: vector for found in pool.map(one, some) for key, vector in found.items()}

    @property
    def _home(self) -> Path:
        return self.cache / weights.RECIPE

    @cached_property
    def _session(self) -> InferenceSession:
        """The network; several threads call it."""
        return one_core(weights.graph(self._home))
