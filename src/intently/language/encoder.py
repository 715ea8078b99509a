"""`TextEncoder`: texts to unit vectors, with any transformers folder, from a cache where possible."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from intently import progress
from intently.cache import VectorCache, default_cache, text_key
from intently.cores import cores
from intently.errors import InputError, MissingExtraError
from intently.language import static
from intently.language.fast import RECIPE, FastModel, Sheet
from intently.language.folder import ModelFolder, open_folder
from intently.language.static import StaticModel, StaticSheet, StaticTable
from intently.language.tokens import batches as batches
from intently.language.tokens import framed, open_tokenizer, plain_ids
from intently.schema import SPEEDS, FloatArray, IntArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from intently.language.exact import Forward, SentenceModule

FAITHFUL = 0.985
"""`auto` takes the fast way when its vectors' mean cosine to the exact ones is at least this."""

_WORTH_EXPORTING = 1000  # texts; fewer are encoded sooner than a graph is exported
_SAMPLE = 64
_CHUNK = 2048  # texts between two commits to the cache
_BATCH_TOKENS = 512  # what stays in a core's own cache; measured in benchmarks/encode.py
_CHARACTERS_A_TOKEN = 32


class TextEncoder:
    """Reads texts with a pre-trained model.

    folder: a transformers or sentence-transformers folder; default: the bundled English model.
    speed: "exact" (torch, fp32), "fast" (ONNX Runtime, int8), "fastest" (a vector for each token, fitted
        to the texts first seen, when there are enough of them; static.py) or "auto": fast when it was
        measured to be faithful on the texts at hand, and when there are enough to be worth the export.
    cache: folder of the vectors and of what was exported or fitted; default: the user's cache folder.
    threads: cores to use, 0: all.

    Raises InputError for a folder or an option that cannot be used, ArtifactError for a damaged file,
    MissingExtraError when a package is not installed.
    """

    def __init__(
        self, folder: Path | None = None, *, speed: str = "auto", cache: Path | None = None, threads: int = 0
    ) -> None:
        if speed not in SPEEDS:
            raise InputError(f"unknown speed {speed!r}; allowed: {', '.join(SPEEDS)}", field="speed")
        if threads < 0:
            raise InputError(f"threads must be 0 (all) or more, got {threads}", field="threads")
        self.folder: ModelFolder = open_folder(folder)
        self.speed = speed
        self.threads = threads or cores()
        self.cache = default_cache() if cache is None else Path(cache)

    @property
    def size(self) -> int:
        """Length of a vector."""
        return self.folder.size

    @property
    def bundled(self) -> bool:
        """Whether this is the English model that comes with Intently."""
        return self.folder.bundled

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything in the folder that changes a vector."""
        return self.folder.fingerprint

    @property
    def fidelity(self) -> Sheet | StaticSheet | None:
        """How faithful the fast (or the fastest) way was found to be; None before it was measured."""
        return self._static_model.read_sheet() if self.speed == "fastest" else self._fast_model.read_sheet()

    def with_cache(self, cache: Path) -> Self:
        """The same encoder with another cache folder."""
        other = copy.copy(self)
        other.cache = Path(cache)
        for kept in ("_fast_forward", "_static"):
            other.__dict__.pop(kept, None)
        return other

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """(n, size) float32, unit length; zeros for a text that is empty or all white space.

        Equal texts are encoded once, and texts that were ever encoded with this model come from the
        cache. What is longer than the model reads is cut at its end.
        """
        prepared = [self._prepare(text) for text in texts]
        distinct = list(dict.fromkeys(text for text in prepared if text))
        place = {text: row for row, text in enumerate(distinct)}
        vectors = self._lookup(distinct)
        out = np.zeros((len(prepared), self.size), np.float32)
        filled = [row for row, text in enumerate(prepared) if text]
        out[filled] = vectors[[place[prepared[row]] for row in filled]]
        return out

    def ready(self) -> None:
        """Load all that reading a text takes that is not cached, so that the first one does not wait."""
        texts = [self._prepare("ready")]
        self._compute(texts, self._way(texts))

    # -- inside --------------------------------------------------------------------------------

    def _prepare(self, text: str) -> str:
        """What the tokenizer gets; '' for a text without anything in it."""
        if not isinstance(text, str):
            raise InputError(f"texts must be str, got {type(text).__name__}")
        cut = text[: _CHARACTERS_A_TOKEN * self.folder.max_tokens]
        cut = cut.encode("utf-8", "replace").decode("utf-8").strip()  # a lone surrogate becomes '?'
        if self.folder.lower:
            cut = cut.lower()
        return self.folder.prompt + cut if cut else ""

    def _lookup(self, texts: list[str]) -> FloatArray:
        """Vectors of distinct prepared texts, (n, size): cached ones, then the rest in chunks."""
        vectors = np.zeros((len(texts), self.size), np.float32)
        if not texts:
            return vectors
        way = self._way(texts)
        if way == "fastest":  # computed sooner than it is read from a disk
            for start in range(0, len(texts), _CHUNK):
                vectors[start : start + _CHUNK] = self._compute(texts[start : start + _CHUNK], way)
            return vectors
        name = RECIPE if way == "fast" else way
        cache = VectorCache(self._home / f"{name}.db", self.size)
        keys = [text_key(text) for text in texts]
        found = cache.get(keys)
        missing = []
        for row, key in enumerate(keys):
            if key in found:
                vectors[row] = found[key]
            else:
                missing.append(row)
        missing.sort(key=lambda row: len(texts[row]))  # chunks of similar length
        if not missing:
            return vectors
        with progress.track(f"encoding texts ({way})", total=len(missing)) as advance:
            for start in range(0, len(missing), _CHUNK):
                rows = missing[start : start + _CHUNK]
                vectors[rows] = self._compute([texts[row] for row in rows], way)
                cache.put([keys[row] for row in rows], vectors[rows])
                advance(len(rows))
        return vectors

    def _compute(self, texts: list[str], way: str) -> FloatArray:
        """Unit vectors without the cache, (n, size)."""
        if way == "fastest":
            return self._static.vectors(self._plain_ids(texts))
        ids = [np.asarray(e.ids, np.int64) for e in self._tokenizer.encode_batch(texts)]
        lengths = np.fromiter((len(i) for i in ids), np.int32, len(ids))
        out = np.zeros((len(texts), self.size), np.float32)
        forward = self._fast_forward if way == "fast" else self._exact_forward

        def one(rows: IntArray) -> None:
            block = np.full((len(rows), int(lengths[rows].max())), self.folder.pad_id, np.int64)
            mask = np.zeros_like(block)
            for line, row in enumerate(rows):
                block[line, : lengths[row]] = ids[row]
                mask[line, : lengths[row]] = 1
            out[rows] = forward(block, mask)

        with self._one_core_each(way), ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(one, batches(lengths, _BATCH_TOKENS)))
        return out

    def _one_core_each(self, way: str) -> AbstractContextManager[None]:
        """The fast graph always takes one core a call; torch has to be told."""
        if way == "fast":
            return nullcontext()
        from intently.language.exact import one_thread_a_batch

        return one_thread_a_batch()

    def _way(self, texts: list[str]) -> str:
        """Which way to encode these distinct texts; exports and measures the fast one when needed."""
        if self.speed == "exact":
            return "exact"
        if self.speed == "fastest":
            if "_static" in self.__dict__ or self._static_model.read_sheet() is not None:
                return "fastest"
            if len(texts) >= static.LEAST:
                self._distil(texts)
                return "fastest"
            progress.note(f"fewer than {static.LEAST} texts teach no static vectors: encoded the exact way")
            return "exact"
        return self._faithful_way(texts)

    def _faithful_way(self, texts: list[str]) -> str:
        """exact or fast, for the speeds fast and auto."""
        sheet = self._fast_model.read_sheet()
        if self.speed != "fast":
            if find_spec("onnxruntime") is None or (sheet is None and find_spec("onnx") is None):
                return "exact"
            if sheet is None and len(texts) < _WORTH_EXPORTING:
                return "exact"
        loaded = "_fast_forward" in self.__dict__  # then the file was checked, and is not read again
        if sheet is None or not (loaded or self._fast_model.intact(sheet)):
            if sheet is not None:
                progress.note(f"{self._fast_model.graph} is missing or damaged; exporting it again")
            sheet = self._export(texts)
        if self.speed != "fast" and sheet.fidelity < FAITHFUL:
            return "exact"
        return "fast"

    def _export(self, texts: list[str]) -> Sheet:
        """Export the graph and measure it against the exact way on a sample of `texts`."""
        self.__dict__.pop("_fast_forward", None)
        sha256 = self._fast_model.export(self._module)
        step = max(1, len(texts) // _SAMPLE)
        sample = texts[::step][:_SAMPLE]
        cosines = (self._compute(sample, "fast") * self._compute(sample, "exact")).sum(axis=1)
        sheet = Sheet(sha256, float(cosines.mean()), float(cosines.min()), len(sample))
        self._fast_model.write_sheet(sheet)
        progress.note(
            f"exported {self.folder.path.name} to int8: mean cosine {sheet.fidelity:.4f} to the exact "
            f"vectors on {sheet.n_texts} texts"
        )
        return sheet

    def _distil(self, texts: list[str]) -> None:
        """Fit a table of token vectors to a sample of `texts`; keep it with its fidelity."""
        sample = texts[:: -(-len(texts) // static.FIT)]
        teacher = self._faithful_way(texts)
        with progress.track("teaching static vectors", total=3) as advance:
            exact = self._compute(sample, teacher)
            advance(2)
            table, measured = static.distil(
                self._plain_ids(sample),
                exact,
                lambda tokens: self._alone(tokens, teacher),
                self._module.input_embeddings(),
            )
            sheet = self._static_model.write(table, measured)
        progress.note(
            f"static vectors of {self.folder.path.name}: mean cosine {sheet.fidelity:.3f} to the {teacher} "
            f"ones on {sheet.n_texts} other texts; {sheet.neighbours:.0%} of the ten nearest stay"
        )

    def _plain_ids(self, texts: list[str]) -> list[list[int]]:
        return plain_ids(self._tokenizer, texts, self.folder.prompt)

    def _alone(self, tokens: IntArray, way: str) -> FloatArray:
        """The vectors of single tokens, with the prompt and the special tokens around them: (n, size)."""
        blocks = framed(self._tokenizer, tokens, self.folder.prompt)
        forward = self._fast_forward if way == "fast" else self._exact_forward
        step = max(1, _BATCH_TOKENS // blocks.shape[1])
        parts = [blocks[start : start + step] for start in range(0, len(blocks), step)]
        with self._one_core_each(way), ThreadPoolExecutor(self.threads) as pool:
            return np.concatenate(list(pool.map(lambda part: forward(part, np.ones_like(part)), parts)))

    @property
    def _home(self) -> Path:
        return self.cache / self.folder.fingerprint[:16]

    @property
    def _fast_model(self) -> FastModel:
        return FastModel(self._home)

    @property
    def _static_model(self) -> StaticModel:
        return StaticModel(self._home)

    @cached_property
    def _static(self) -> StaticTable:
        return StaticTable.load(self._static_model.path)

    @cached_property
    def _fast_forward(self) -> Forward:
        return self._fast_model.forward()

    @cached_property
    def _module(self) -> SentenceModule:
        try:
            from intently.language.exact import load_module
        except ImportError as error:
            raise MissingExtraError(str(error.name), "train") from error
        return load_module(self.folder)

    @cached_property
    def _exact_forward(self) -> Forward:
        module = self._module
        from intently.language.exact import exact_forward

        return exact_forward(module)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return open_tokenizer(self.folder)
