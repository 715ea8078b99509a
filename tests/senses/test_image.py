"""The real network on real and drawn pictures: it sees what it is known to see, once for each picture."""

from __future__ import annotations

import shutil
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from intently.errors import ArtifactError, InputError, MissingExtraError
from intently.nn.efficientnet import EfficientNetLite0
from intently.senses import ImageEncoder, image, weights
from intently.senses.pictures import pixels_of
from tiny_pictures import draw

ADMIRAL = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
MILITARY_UNIFORM = 652  # of the thousand classes of ImageNet


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> ImageEncoder:
    return ImageEncoder(cache=tmp_path_factory.mktemp("vectors"))


def test_the_network_recognises_a_photograph(encoder: ImageEncoder) -> None:
    known = torch.load(weights.package_file(), weights_only=True)
    network = EfficientNetLite0().eval()
    network.load_state_dict({name: value for name, value in known.items() if not name.startswith("_fc.")})
    pixels = torch.from_numpy((pixels_of(ADMIRAL).transpose(2, 0, 1)[None].astype(np.float32) - 127) / 128)
    with torch.inference_mode():
        seen = network(pixels)
        chances = (seen @ known["_fc.weight"].T + known["_fc.bias"]).softmax(1)[0]
    assert int(chances.argmax()) == MILITARY_UNIFORM
    assert float(chances.max()) > 0.4
    root = np.sqrt(seen.numpy()[0])
    [vector] = encoder.encode([ADMIRAL])  # through the exported graph
    np.testing.assert_allclose(vector, root / np.linalg.norm(root), atol=1e-4)


def test_pictures_of_one_kind_lie_closer_than_others(encoder: ImageEncoder, tmp_path: Path) -> None:
    files = [draw(tmp_path / f"{kind}-{seed}.png", kind, seed) for kind in (0, 1) for seed in range(6)]
    vectors = encoder.encode(files)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    alike = vectors @ vectors.T
    same = np.equal.outer(np.arange(12) // 6, np.arange(12) // 6)
    assert alike[same].min() > alike[~same].max()


def test_size_and_kind_of_file_matter_little(encoder: ImageEncoder, tmp_path: Path) -> None:
    with Image.open(ADMIRAL) as photograph:
        photograph.resize((photograph.width // 2, photograph.height // 2)).save(tmp_path / "half.png")
    whole, half, other = encoder.encode([ADMIRAL, tmp_path / "half.png", draw(tmp_path / "x.png", 0, 1)])
    assert whole @ half > 0.95 > 0.7 > whole @ other


def test_a_picture_is_read_once_by_its_content(
    encoder: ImageEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr(image, "pixels_of", lambda file: (read.append(file.name), pixels_of(file))[1])
    first = draw(tmp_path / "first.png", 0, 77)
    copied = Path(shutil.copy(first, tmp_path / "copied.png"))
    one, none, two = encoder.encode([first, None, copied])
    assert np.array_equal(one, two)
    assert not none.any()
    assert len(read) == 1
    again = ImageEncoder(cache=encoder.cache).encode([copied])
    assert len(read) == 1
    assert np.array_equal(again[0], one)
    draw(first, 1, 77)  # another picture of the same name
    assert not np.allclose(encoder.encode([first])[0], one)


def test_a_file_that_is_no_picture_costs_only_itself(
    encoder: ImageEncoder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from intently import progress

    (tmp_path / "bad.jpg").write_text("no picture")
    files = [draw(tmp_path / "good.png", 0, 3), tmp_path / "bad.jpg", tmp_path / "gone.jpg"]
    progress.show()
    try:
        vectors = encoder.encode(files)
    finally:
        progress.show(False)
    assert vectors.any(axis=1).tolist() == [True, False, False]
    said = capsys.readouterr().err
    assert "pictures: 2 of 3 cannot be read, gone.jpg: No such file or directory" in said


def test_a_damaged_graph_is_exported_again_and_strange_weights_are_refused(
    encoder: ImageEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = encoder.encode([ADMIRAL])
    graph = encoder.cache / weights.RECIPE / "network.onnx"
    graph.write_bytes(graph.read_bytes()[:-1000])
    (graph.parent / "vectors.db").unlink()
    fresh = ImageEncoder(cache=encoder.cache, threads=1)
    np.testing.assert_array_equal(fresh.encode([ADMIRAL]), before)

    monkeypatch.setattr(weights, "SHA256", "0" * 64)
    with pytest.raises(ArtifactError, match="damaged or not the known model"):
        weights.graph(tmp_path)
    assert weights.graph(graph.parent) == graph  # exported before: the package is not needed
    monkeypatch.setattr(weights, "PACKAGE", "not_installed_at_all")
    with pytest.raises(MissingExtraError, match="a network for pictures"):
        weights.graph(tmp_path)
    assert weights.graph(graph.parent) == graph


def test_a_number_of_threads_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(InputError, match="threads"):
        ImageEncoder(threads=-1)
