"""The fastest way: static vectors close to the exact ones, the same every time, never chosen unasked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_folder import WORDS

from intently.errors import ArtifactError
from intently.language import TextEncoder, static
from intently.language.static import StaticModel, StaticTable, bag, distil, shared_neighbours
from intently.schema import FloatArray, IntArray


def texts(n: int, seed: int = 0) -> list[str]:
    """Distinct titles of two to five of the tiny model's words."""
    random = np.random.default_rng(seed)
    made = {" ".join(random.choice(WORDS, random.integers(2, 6))) for _ in range(3 * n)}
    return sorted(made)[:n]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static, "LEAST", 100)


def test_what_adds_up_is_found_again() -> None:
    random = np.random.default_rng(0)
    truth = random.standard_normal((40, 16)).astype(np.float32)
    ids = [random.integers(0, 30, 6).tolist() for _ in range(600)]
    sums = np.asarray(bag(ids, 40) @ truth)
    exact = (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)

    def noisy(tokens: IntArray) -> FloatArray:
        noise = np.random.default_rng(1).standard_normal(truth.shape).astype(np.float32)
        return np.asarray((truth + 0.5 * noise)[tokens], np.float32)

    table, measured = distil(ids, exact, noisy, truth)
    assert measured["fidelity"] > 0.97
    assert measured["neighbours"] > 0.6
    assert measured["n_texts"] == 75
    again, _ = distil(ids, exact, noisy, truth)
    assert (table.table == again.table).all()
    assert np.linalg.norm(table.vectors([[0, 1], []]), axis=1) == pytest.approx([1, 1], abs=1e-5)


def test_neighbours_that_are_shared_are_counted() -> None:
    angles = np.array([0.0, 0.1, 0.3, 2.0])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert shared_neighbours(rows, rows[:, ::-1].copy(), k=2) == 1.0  # a mirror keeps all
    assert shared_neighbours(rows, rows[[0, 1, 3, 2]], k=1) == 0.5
    assert shared_neighbours(rows[:1], rows[:1]) == 1.0


@pytest.mark.usefixtures("few")
def test_static_vectors_are_close_cached_and_said_to_be(tiny: Path, tmp_path: Path) -> None:
    known, unseen = texts(400), texts(60, seed=9)
    encoder = TextEncoder(tiny, speed="fastest", cache=tmp_path / "c")
    assert encoder.fidelity is None
    vectors = encoder.encode(known)
    exact = TextEncoder(tiny, speed="exact", cache=tmp_path / "e").encode(known)
    assert (vectors * exact).sum(axis=1).mean() > 0.95
    assert encoder.fidelity is not None
    assert 0.9 < encoder.fidelity.fidelity <= 1
    other = TextEncoder(tiny, speed="fastest", cache=tmp_path / "c").encode(unseen[:1] + known[:3])
    assert other[1:] == pytest.approx(vectors[:3], abs=1e-2)  # a table on disk is in half precision
    fresh = TextEncoder(tiny, speed="fastest", cache=tmp_path / "c2").encode(known)
    assert (fresh == vectors).all()


def test_few_texts_are_encoded_exactly_and_auto_is_never_static(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = texts(50)
    exact = TextEncoder(tiny, speed="exact", cache=tmp_path / "e").encode(some)
    assert (TextEncoder(tiny, speed="fastest", cache=tmp_path / "c").encode(some) == exact).all()
    monkeypatch.setattr(static, "LEAST", 10)
    TextEncoder(tiny, speed="fastest", cache=tmp_path / "c").encode(texts(60, seed=1))
    assert (TextEncoder(tiny, cache=tmp_path / "c").encode(some) == exact).all()


@pytest.mark.usefixtures("few")
def test_a_damaged_table_is_fitted_again_and_never_read(tiny: Path, tmp_path: Path) -> None:
    known = texts(200)
    first = TextEncoder(tiny, speed="fastest", cache=tmp_path / "c").encode(known)
    path = next((tmp_path / "c").rglob("static*.safetensors"))
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    assert StaticModel(path.parent).read_sheet() is None
    assert (TextEncoder(tiny, speed="fastest", cache=tmp_path / "c").encode(known) == first).all()
    path.write_bytes(b"x")
    with pytest.raises(ArtifactError, match="is damaged"):
        StaticTable.load(path)


@pytest.mark.usefixtures("few")
def test_a_fitted_table_needs_no_torch(tiny: Path, tmp_path: Path) -> None:
    known = texts(200)
    TextEncoder(tiny, speed="fastest", cache=tmp_path / "c").encode(known)
    code = (
        "import sys; from pathlib import Path\n"
        "sys.modules['torch'] = sys.modules['onnxruntime'] = None\n"
        "from intently.language import TextEncoder\n"
        f"one = TextEncoder(Path({str(tiny)!r}), speed='fastest', cache=Path({str(tmp_path / 'c')!r}))\n"
        f"print(one.encode([{known[0]!r}]).shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(1, 32)"
