"""The house rules that a tool can hold."""

from __future__ import annotations

import doctest
import subprocess
import sys
from importlib import import_module, metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WORKED = [p for p in sorted((ROOT / "src").rglob("*.py")) if ">>> " in p.read_text(encoding="utf-8")]


def test_no_file_is_longer_than_500_lines() -> None:
    files = [p for folder in ("src", "tests", "benchmarks") for p in (ROOT / folder).rglob("*.py")]
    assert len(files) > 10
    long = {str(p.relative_to(ROOT)): n for p in files if (n := len(p.read_text().splitlines())) > 500}
    assert not long


@pytest.mark.parametrize("file", WORKED, ids=lambda file: file.stem)
def test_the_examples_in_the_docstrings_hold(file: Path) -> None:
    found = doctest.testmod(import_module(".".join(file.relative_to(ROOT / "src").with_suffix("").parts)))
    assert found.attempted
    assert found.failed == 0


def test_nothing_pulled_the_cuda_packages() -> None:
    names = {(d.metadata["Name"] or "").lower() for d in metadata.distributions()}
    assert "polars" in names
    assert not {n for n in names if n.startswith("nvidia-") or n in {"torchvision", "torchaudio", "timm"}}


def test_import_and_help_load_no_torch() -> None:
    code = (
        "import sys, intently, intently.cli, intently.data, intently.models\n"
        "heavy = {'torch', 'transformers', 'lightgbm', 'onnxruntime', 'pandas'} & set(sys.modules)\n"
        "raise SystemExit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nothing_reads_pickle_or_runs_code_of_a_model() -> None:
    words = ("pickle", "joblib.load", "torch.load(", "trust_remote_code=True", "yaml.load(")
    tensors_alone = 'torch.load(source, map_location="cpu", weights_only=True)'  # docs/adr/0007
    for path in (ROOT / "src").rglob("*.py"):
        text = path.read_text()
        if path.name == "weights.py":
            assert text.index("!= SHA256") < text.index(tensors_alone)
            text = text.replace(tensors_alone, "")
        assert not [w for w in words if f"import {w}" in text or (w in text and "(" in w)], path
