"""A linear layer after the pooling is read, run, exported and kept, as sentence-transformers lays it out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_folder import make_folder

from intently.errors import ArtifactError, InputError
from intently.language import TextEncoder
from intently.language.dense import Dense, write
from intently.language.folder import open_folder
from intently.language.whitening import levelling, whitened, whitening

TEXTS = ["green tea", "black tea", "steel spoon", "silver fork", "hand soap"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "model")


def layer(size: int, **given: object) -> Dense:
    random = np.random.default_rng(3)
    weight = random.normal(size=(5, size)).astype(np.float32)
    return Dense(weight, random.normal(size=5).astype(np.float32), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [{}, {"on_unit": True}, {"activation": "Tanh"}])
def test_vectors_go_through_the_layer(folder: Path, tmp_path: Path, given: dict[str, object]) -> None:
    before = open_folder(folder)
    plain = TextEncoder(folder, speed="exact", cache=tmp_path / "a").encode(TEXTS)
    one = layer(before.size, **given)
    write(folder, one)
    after = open_folder(folder)
    assert after.size == 5
    assert after.fingerprint != before.fingerprint
    found = TextEncoder(folder, speed="exact", cache=tmp_path / "b").encode(TEXTS)
    assert found.shape == (5, 5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    if given == {"on_unit": True}:
        wanted = plain @ one.weight.T + one.bias
        np.testing.assert_allclose(found, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), atol=1e-5)
    fast = TextEncoder(folder, speed="fast", cache=tmp_path / "c").encode(TEXTS)
    assert (fast * found).sum(axis=1).min() > 0.95


def test_whitening_by_a_layer_is_whitening_by_hand() -> None:
    rows = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32) @ np.diag([9, 1, 1, 1, 1, 0.1])
    shift, bend = whitening(rows.astype(np.float32))
    by_layer = torch.nn.functional.linear(
        torch.from_numpy(rows.astype(np.float32)), torch.from_numpy(bend.T), torch.from_numpy(-shift @ bend)
    )
    np.testing.assert_allclose(by_layer.numpy(), whitened(rows.astype(np.float32)), atol=1e-3)


def test_half_a_whitening_takes_half_of_the_spread_and_none_only_centres() -> None:
    rows = np.random.default_rng(1).normal(size=(40_000, 3)).astype(np.float32) @ np.diag([9.0, 4.0, 1.0]) + 5
    rows = rows.astype(np.float32)
    for strength, ratio in ((0.0, 9.0), (0.5, 3.0), (1.0, 1.0)):
        spread = whitened(rows, strength).std(axis=0)
        assert spread[0] / spread[2] == pytest.approx(ratio, rel=0.03)
    np.testing.assert_allclose(whitened(rows, 0.0).mean(axis=0), 0.0, atol=1e-3)


def test_levelling_makes_gaps_as_wide_in_every_direction_whatever_the_vectors_do() -> None:
    rng = np.random.default_rng(2)
    gaps = (rng.normal(size=(40_000, 3)) @ np.diag([8.0, 2.0, 1.0])).astype(np.float32)
    bend = levelling(gaps, np.ones(len(gaps), np.float32))
    spread = (gaps @ bend).std(axis=0)
    np.testing.assert_allclose(spread / spread[0], 1.0, rtol=0.03)
    heavy = np.where(np.arange(len(gaps)) < 20_000, 1.0, 0.0).astype(np.float32)
    wider = np.concatenate([gaps[:20_000], 100 * gaps[20_000:]])
    alone = levelling(gaps[:20_000], np.ones(20_000, np.float32))
    np.testing.assert_allclose(levelling(wider, heavy), alone, rtol=1e-2, atol=1e-4)
    np.testing.assert_array_equal(levelling(np.zeros((5, 3), np.float32), np.ones(5, np.float32)), np.eye(3))


def test_a_layer_that_cannot_be_used_is_named(folder: Path) -> None:
    write(folder, layer(7))
    with pytest.raises(ArtifactError, match="the Dense layer takes 7 numbers"):
        open_folder(folder)
    write(folder, layer(8))
    config = folder / "2_Dense" / "config.json"
    config.write_text(json.dumps({"activation_function": "torch.nn.modules.activation.GELU"}))
    with pytest.raises(InputError, match="asks for GELU; allowed: Identity, Tanh"):
        open_folder(folder)
    config.write_text("{")
    with pytest.raises(ArtifactError, match="2_Dense is damaged"):
        open_folder(folder)
    write(folder, layer(8))
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([*modules, modules[-2]]))
    with pytest.raises(InputError, match="asks for 2 Dense layers"):
        open_folder(folder)
