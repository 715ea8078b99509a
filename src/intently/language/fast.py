"""The fast way: ONNX Runtime with int8 weights and activations (quantise.py).

The graph is exported from the exact module once and kept beside the vectors with a sheet (JSON) of its
SHA-256 and its measured fidelity: the mean cosine to the exact vectors on a sample of the shop's own texts.
Reading it back needs neither torch nor transformers.
"""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from intently.cache import sha256_of
from intently.errors import MissingExtraError
from intently.nn.session import one_core
from intently.schema import FloatArray, LongArray

if TYPE_CHECKING:
    from intently.language.exact import Forward, SentenceModule

RECIPE = "int8-2"
"""Changes whenever the same folder would give another graph; part of the file names."""


@dataclass(frozen=True)
class Sheet:
    """What is known of an exported graph. fidelity, worst: cosine to exact, mean and minimum."""

    sha256: str
    fidelity: float
    worst: float
    n_texts: int


class FastModel:
    """The graph of one model folder in `home`; exported by `export`, used by `forward`."""

    def __init__(self, home: Path) -> None:
        self.graph = home / f"{RECIPE}.onnx"
        self.sheet = home / f"{RECIPE}.json"

    def read_sheet(self) -> Sheet | None:
        """The sheet, or None when there is none or it cannot be read."""
        try:
            return Sheet(**json.loads(self.sheet.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write_sheet(self, sheet: Sheet) -> None:
        """Write it whole or not at all."""
        draft = self.sheet.with_suffix(f".{os.getpid()}.draft")
        draft.write_text(json.dumps(asdict(sheet), indent=1), encoding="utf-8")
        os.replace(draft, self.sheet)

    def intact(self, sheet: Sheet) -> bool:
        """Whether the graph on disk is the one that the sheet describes."""
        return self.graph.exists() and sha256_of(self.graph) == sheet.sha256

    def export(self, module: SentenceModule) -> str:
        """Write the int8 graph of `module` whole or not at all; its SHA-256.

        Raises MissingExtraError without onnx.
        """
        try:
            import torch

            from intently.language.quantise import quantise
        except ImportError as error:
            raise MissingExtraError(str(error.name), "train") from error
        self.graph.parent.mkdir(parents=True, exist_ok=True)
        ids = torch.tensor([[1, 2, 3, 0], [1, 2, 0, 0]])
        mask = (ids > 0).long()
        axes = {"ids": {0: "batch", 1: "length"}, "mask": {0: "batch", 1: "length"}, "vectors": {0: "batch"}}
        with tempfile.TemporaryDirectory(dir=self.graph.parent) as drafts, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            full, small = Path(drafts) / "full.onnx", Path(drafts) / "small.onnx"
            with torch.inference_mode(), module.plain_attention():
                torch.onnx.export(
                    module,
                    (ids, mask),
                    str(full),
                    dynamo=False,  # its graph runs faster than the new exporter's
                    input_names=["ids", "mask"],
                    output_names=["vectors"],
                    dynamic_axes=axes,
                    opset_version=17,
                )
            quantise(full, small)
            os.replace(small, self.graph)
        return sha256_of(self.graph)

    def forward(self) -> Forward:
        """A function from int64 ids and mask, (batch, length), to float32 unit vectors.

        Each call uses one core; callers run several at once.
        """
        session = one_core(self.graph)

        def run(ids: LongArray, mask: LongArray) -> FloatArray:
            vectors: FloatArray = session.run(None, {"ids": ids, "mask": mask})[0]
            return vectors

        return run
