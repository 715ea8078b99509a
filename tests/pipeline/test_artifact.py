"""An artifact appears whole, is what was published, or is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from intently import artifact
from intently.errors import ArtifactError
from intently.models.popular import Popular
from tiny_shops import checkerboard


@pytest.fixture
def published(tmp_path: Path) -> Path:
    shop = checkerboard()
    return artifact.publish(tmp_path, Popular().fit(shop), shop, {"stage": "full"}, "# card\n")


def test_what_is_loaded_answers_like_what_was_published(published: Path) -> None:
    shop = checkerboard()
    loaded = artifact.load(published)
    ours = Popular().fit(shop).top_k(shop.histories(), 5)
    np.testing.assert_array_equal(loaded.model.top_k(shop.histories(), 5).items, ours.items)
    assert loaded.items.ids == shop.items.ids
    assert loaded.manifest["stage"] == "full"
    assert loaded.version == published.name


def test_every_flipped_bit_is_refused(published: Path) -> None:
    files = sorted(p for p in published.rglob("*") if p.is_file())
    assert len(files) == 7
    rng = np.random.default_rng(0)
    for path in files:
        whole = path.read_bytes()
        for _ in range(5):
            damaged = bytearray(whole)
            damaged[int(rng.integers(len(whole)))] ^= 1 << int(rng.integers(8))
            path.write_bytes(bytes(damaged))
            named = r"manifest\.json" if path.name.startswith("manifest") else path.name
            with pytest.raises(ArtifactError, match=rf"{named} is changed|no readable manifest|has format"):
                artifact.load(published)
        path.write_bytes(whole)
    artifact.load(published)


def test_a_figure_changed_in_the_manifest_is_refused(published: Path) -> None:
    said = published / "manifest.json"
    said.write_text(said.read_text().replace('"stage": "full"', '"stage": "fuxl"'))
    with pytest.raises(ArtifactError, match=r"manifest.json is changed"):
        artifact.verify(published)
    (published / "manifest.sha256").unlink()
    with pytest.raises(ArtifactError, match=r"manifest.sha256 is missing"):
        artifact.verify(published)


def test_a_folder_of_an_earlier_release_is_read(published: Path) -> None:
    said = published / "manifest.json"
    said.write_text(said.read_text().replace('"format": 2', '"format": 1'))
    (published / "manifest.sha256").unlink()
    assert artifact.load(published).manifest["stage"] == "full"


def test_truncated_missing_and_added_files_are_refused(published: Path) -> None:
    items = published / "items.parquet"
    whole = items.read_bytes()
    items.write_bytes(whole[:-1])
    with pytest.raises(ArtifactError, match=r"items.parquet is changed"):
        artifact.load(published)
    items.unlink()
    with pytest.raises(ArtifactError, match=r"items.parquet is missing"):
        artifact.load(published)
    items.write_bytes(whole)
    (published / "extra").write_text("x")
    with pytest.raises(ArtifactError, match="extra is not published"):
        artifact.load(published)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": {}}', '{"files": {}, "format": 99}'])
def test_a_broken_manifest_is_refused(published: Path, text: str) -> None:
    (published / "manifest.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"no readable manifest|has format 99"):
        artifact.load(published)


def test_a_failed_publication_leaves_nothing_behind(tmp_path: Path) -> None:
    shop = checkerboard()
    with pytest.raises(TypeError, match="not JSON serializable"):
        artifact.publish(tmp_path, Popular().fit(shop), shop, {"bad": object()}, "")
    assert list(tmp_path.iterdir()) == []


def test_promotion_and_roll_back_move_one_pointer(tmp_path: Path) -> None:
    shop = checkerboard()
    first, second = (artifact.publish(tmp_path, Popular().fit(shop), shop, {}, "") for _ in range(2))
    assert artifact.live(tmp_path) is None
    artifact.promote(tmp_path, first.name)
    artifact.promote(tmp_path, second.name)
    assert artifact.live(tmp_path) == second
    assert artifact.roll_back(tmp_path) == first.name
    assert artifact.live(tmp_path) == first
    with pytest.raises(ArtifactError, match="no earlier version"):
        artifact.roll_back(tmp_path)
    assert artifact.versions(tmp_path) == [first.name, second.name]


def test_roll_back_passes_over_what_was_damaged_or_removed(tmp_path: Path) -> None:
    shop = checkerboard()
    made = [artifact.publish(tmp_path, Popular().fit(shop), shop, {}, "") for _ in range(4)]
    for folder in made:
        artifact.promote(tmp_path, folder.name)
    (made[2] / "items.parquet").write_bytes(b"")
    shutil.rmtree(made[1])
    assert artifact.roll_back(tmp_path) == made[0].name
    for folder in (made[0], made[3]):
        artifact.promote(tmp_path, folder.name)
    (made[0] / "README.md").unlink()
    with pytest.raises(ArtifactError, match="no earlier version to go back to that is whole"):
        artifact.roll_back(tmp_path)
    assert artifact.live(tmp_path) == made[3]


def test_only_a_published_version_can_be_promoted(tmp_path: Path) -> None:
    for name in ("v9", "../elsewhere", "", "."):
        with pytest.raises(ArtifactError, match="no version"):
            artifact.promote(tmp_path, name)


def test_a_damaged_pointer_is_named(tmp_path: Path) -> None:
    (tmp_path / "live.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"live.json is damaged"):
        artifact.live(tmp_path)


def test_the_manifest_holds_a_hash_of_every_file(published: Path) -> None:
    manifest = json.loads((published / "manifest.json").read_text())
    on_disk = {p.relative_to(published).as_posix() for p in published.rglob("*") if p.is_file()}
    assert set(manifest["files"]) == on_disk - {"manifest.json", "manifest.sha256"}
    assert not [name for name in on_disk if name.endswith((".pkl", ".pickle", ".pt", ".bin"))]
